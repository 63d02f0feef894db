"""One call in a child process, with real children that do everything a native codec may do."""

import math
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from weightbench.errors import NotPlainError, RunnerError
from weightbench.rows import Status
from weightbench.runner import Limits, Outcome, Progress, run_in_child
from weightbench.runner.outcome import from_exit

MIB = 1 << 20
Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, targets: Path) -> Run:
    def call(name: str, argument: object = None, **more: object) -> Outcome:
        limits = Limits(
            timeout_s=float(str(more.pop("timeout_s", 120))),
            memory_bytes=int(str(more.pop("memory", 2048 * MIB))),
        )
        return run_in_child(
            f"misbehaving:{name}",
            argument,
            workdir=tmp_path,
            limits=limits,
            python_path=[targets],
            **more,  # type: ignore[arg-type]
        )

    return call


def _error(outcome: Outcome) -> dict[str, str]:
    assert outcome.error is not None
    return dict(outcome.error)  # type: ignore[arg-type]


def test_values_travel_both_ways(run: Run) -> None:
    value = {"a": [1, 2.5, None, True, "é\ud800"], "b": {"inf": -math.inf}, "big": 2**80}
    outcome = run("echo", value)
    assert (outcome.status, outcome.reason, outcome.error) == (Status.OK, "", None)
    assert outcome.value == value
    assert outcome.seconds > 0


def test_progress_arrives_in_order(run: Run) -> None:
    seen: list[Progress] = []
    assert run("progress", progress=seen.append).status is Status.OK
    assert seen[0] == Progress("encode", 1, 5, "tensors")
    assert [p.done for p in seen if p.message == "encode"] == [1, 2, 3, 4, 5]
    assert seen[-1].message == "schön"


def test_a_flood_of_progress_blocks_nobody(run: Run) -> None:
    seen: list[Progress] = []
    outcome = run("flood_progress", progress=seen.append)
    assert outcome.value == "done"
    assert seen


def test_an_error_in_the_callers_progress_ends_the_child(run: Run) -> None:
    def fail(update: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run("progress", progress=fail)


def test_exceptions_keep_their_traceback(run: Run) -> None:
    outcome = run("raise_error")
    assert outcome.status is Status.FAILED
    assert outcome.reason == "ValueError: the codec does not like this"
    assert "KeyError: 'inner'" in _error(outcome)["traceback"]
    assert "in raise_error" in _error(outcome)["traceback"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("raise_unprintable", "RudeError"),
        ("sys_exit", r"sys.exit\(3\)"),
        ("not_plain", r"result\.array"),
        ("no_such_function", "cannot be imported"),
        ("exit_quietly", "without a result"),
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("killed_from_outside", "SIGKILL"),
        ("dev_full", "no space left on device: .*Errno 28"),
    ],
)
def test_failures(run: Run, target: str, reason: str) -> None:
    outcome = run(target, 4)
    assert outcome.status is Status.FAILED
    assert re.search(reason, outcome.reason)


def test_a_crash_says_where_it_happened(run: Run) -> None:
    assert "in segfault" in _error(run("segfault"))["output"]


def test_skips_and_violations(run: Run) -> None:
    skipped = run("skip")
    assert (skipped.status, skipped.reason, skipped.lasting) == (
        Status.SKIPPED,
        "elf does not take bfloat16",
        True,
    )
    assert skipped.error is None
    assert run("skip_for_now").lasting is False
    violated = run("violate")
    assert (violated.status, violated.reason) == (Status.VIOLATED, "not bit-exact")
    assert "tensor" in _error(violated)["details"]


def test_garbage_on_its_streams_hurts_nothing(run: Run) -> None:
    assert run("garbage").value == "fine"
    assert run("close_streams").value == "quiet"
    output = _error(run("garbage_then_fail"))["output"]
    assert output.endswith("the last words\n")
    assert 60_000 < len(output) <= 64 * 1024


@pytest.mark.parametrize("target", ["sleep", "spin_in_c"])
def test_hanging_children_are_ended(run: Run, target: str) -> None:
    outcome = run(target, timeout_s=4)
    assert outcome.status is Status.TIMEOUT
    assert outcome.reason == "ran longer than its limit of 4 s"
    if target == "sleep":
        assert f"in {target}" in _error(outcome)["output"]


@pytest.mark.parametrize(
    "target", ["memory_numpy", "memory_one_array", "memory_threads", "memory_grandchild"]
)
def test_memory_bombs_end_as_oom(run: Run, target: str) -> None:
    outcome = run(target, memory=300 * MIB)
    assert outcome.status is Status.OOM
    assert "300 MiB" in outcome.reason
    assert outcome.peak_memory_bytes > 300 * MIB


def test_a_refused_allocation_is_oom(run: Run) -> None:
    outcome = run("memory_refused")
    assert outcome.status is Status.OOM
    assert "Unable to allocate" in outcome.reason


def test_only_touched_memory_counts(run: Run) -> None:
    # 600 MiB of a mapped file are read, and 64 GiB are reserved, under a limit of 300 MiB.
    assert run("memory_mapped", {"nbytes": 600 * MIB}, memory=300 * MIB).status is Status.OK
    reserved = run("memory_reserved", {"nbytes": 64 << 30}, memory=300 * MIB)
    # A kernel that never overcommits refuses the reservation itself.
    assert reserved.status is Status.OK or "Unable to allocate" in reserved.reason


@pytest.mark.parametrize("then", ["return", "crash", "hang"])
def test_nothing_outlives_a_child(
    run: Run, tmp_path: Path, gone: Callable[[list[int]], bool], then: str
) -> None:
    pids = tmp_path / "pids"
    outcome = run("family", {"pids": str(pids), "then": then}, timeout_s=120 if then != "hang" else 5)
    expected = {"return": Status.OK, "crash": Status.FAILED, "hang": Status.TIMEOUT}
    assert outcome.status is expected[then], outcome
    family = [int(pid) for pid in pids.read_text().split()]
    assert len(family) == 4
    assert gone(family)


def test_a_killed_guardian_takes_its_worker_along(
    run: Run, tmp_path: Path, gone: Callable[[list[int]], bool]
) -> None:
    outcome = run("kill_guardian", {"pids": str(tmp_path / "pids")})
    assert outcome.status is Status.FAILED
    assert "SIGKILL" in outcome.reason
    assert gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])


def test_the_child_imports_what_the_caller_imports(
    run: Run, monkeypatch: pytest.MonkeyPatch, targets: Path
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    value = run("search_path").value
    assert isinstance(value, dict)
    assert value["path"][:3] == [str(targets), str(Path.cwd()), str(Path("relative").absolute())]
    assert value["variable"] is None


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_stays_open(run: Run) -> None:
    run("echo")
    before = _descriptors()
    for target in ("echo", "segfault"):
        run(target)
    run("sleep", timeout_s=0.2)
    assert _descriptors() == before


def test_children_in_two_threads_do_not_disturb_each_other(tmp_path: Path, targets: Path) -> None:
    found: dict[str, Outcome] = {}

    def call(name: str) -> None:
        (tmp_path / name).mkdir()
        found[name] = run_in_child(
            f"misbehaving:{name}",
            7,
            workdir=tmp_path / name,
            limits=Limits(120, 2048 * MIB),
            python_path=[targets],
        )

    threads = [threading.Thread(target=call, args=(name,)) for name in ("echo", "segfault")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["echo"].value == 7
    assert found["segfault"].status is Status.FAILED


def test_environment_variables_reach_the_child(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "1")
    assert run("getenv", ["OUTER", "INNER"], env={"INNER": "2"}).value == ["1", "2"]


def test_bad_requests_are_refused_before_a_process_starts(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="module:function"):
        run_in_child("json.dumps", 1, workdir=tmp_path)
    with pytest.raises(NotPlainError):
        run_in_child("json:dumps", object(), workdir=tmp_path)
    with pytest.raises(ValueError, match="positive"):
        Limits(timeout_s=0)


@pytest.mark.parametrize("code", [-signal.SIGKILL, 137])
def test_kills_from_outside(code: int) -> None:
    def status(kernel: bool | None, near: bool) -> Status:
        return from_exit(code, "", kernel_killed=kernel, near_limit=near).status

    assert status(True, False) is Status.OOM  # the kernel's own killer
    assert status(False, True) is Status.OOM  # a memory guard in user space
    assert status(None, False) is Status.OOM  # nothing known: the likeliest
    assert status(False, False) is Status.FAILED  # a person, a scheduler


def test_native_out_of_memory_aborts_are_oom() -> None:
    output = "terminate called after throwing an instance of 'std::bad_alloc'\n"
    assert from_exit(-signal.SIGABRT, output, kernel_killed=False, near_limit=False).status is Status.OOM
    assert from_exit(-signal.SIGABRT, "assert", kernel_killed=False, near_limit=False).status is Status.FAILED
