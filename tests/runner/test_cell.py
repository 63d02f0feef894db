"""Cells through the store: reuse, retry, force, full disks, and parents that are killed in the middle."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weightbench.errors import StoreError
from weightbench.rows import Row, Status
from weightbench.runner import Limits, run_cell
from weightbench.store import Store

Run = Callable[..., Row]
LIMITS = Limits(120, 2 << 30)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def run(store: Store, targets: Path) -> Run:
    def call(name: str, cell: dict[str, object] | None = None, *, into: Store = store, **more: object) -> Row:
        more.setdefault("limits", LIMITS)
        return run_cell(
            {"target": name} if cell is None else cell,
            f"misbehaving:{name}",
            into,
            python_path=[targets],
            **more,
        )  # type: ignore[arg-type]

    return call


def _runs(log: Path) -> int:
    return len(log.read_text().split())


def test_a_row_holds_what_was_measured(run: Run, store: Store) -> None:
    row = run("measured")
    assert row.status is Status.OK
    assert row.result == {"ratio": 1.5, "n": 3, "psnr": math.inf, "exact": True}
    assert row.tensors == ({"name": "w", "nbytes": 12},)
    assert row.cell == {"target": "measured"}
    assert row.artifacts == (f"artifacts/{row.id}/plots/a.txt",)
    assert (store.root / row.artifacts[0]).read_text() == "picture"
    assert row.started < row.finished
    assert row.started.endswith("+00:00")
    assert row.seconds > 0
    assert row.environment["libraries"]
    assert store.get(row.id) == row
    assert list((store.root / "work").iterdir()) == []


def test_done_rows_are_reused_unless_forced(run: Run, tmp_path: Path) -> None:
    cell: dict[str, object] = {"log": str(tmp_path / "log")}
    first = run("count_runs", cell)
    assert run("count_runs", dict(reversed(cell.items()))) == first
    assert _runs(tmp_path / "log") == 1
    forced = run("count_runs", cell, force=True)
    assert forced.result == {"runs": 2}
    assert run("count_runs", cell) == forced


def test_the_argument_is_not_part_of_the_identity(run: Run, tmp_path: Path) -> None:
    first = run("count_runs", {"seed": 1}, argument={"log": str(tmp_path / "a")})
    assert run("count_runs", {"seed": 1}, argument={"log": str(tmp_path / "b")}) == first
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("target", "status", "again"),
    [
        ("raise_error", Status.FAILED, True),
        ("segfault", Status.FAILED, True),
        ("skip", Status.SKIPPED, False),
        ("skip_for_now", Status.SKIPPED, True),
        ("violate", Status.VIOLATED, False),
    ],
)
def test_what_runs_again(run: Run, store: Store, target: str, status: Status, again: bool) -> None:
    row = run(target)
    assert row.status is status
    assert store.get(row.id) == row
    assert (run(target) != row) is again


def test_a_failure_gives_way_to_a_success(run: Run) -> None:
    cell: dict[str, object] = {"a": 1}
    assert run("raise_error", cell).status is Status.FAILED
    assert run("measured", cell).status is Status.OK
    assert run("raise_error", cell).status is Status.OK


def test_limits_make_rows(run: Run, store: Store) -> None:
    row = run("sleep", limits=Limits(1.0, 2 << 30))
    assert store.get(row.id) == row
    assert row.status is Status.TIMEOUT
    row = run("memory_numpy", limits=Limits(120, 200 << 20))
    assert row.status is Status.OOM
    assert row.peak_memory_bytes > 200 << 20
    assert row.error is not None
    assert "in memory_numpy" in str(row.error["output"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "must return a mapping"),
        ({"result": {}, "more": 1}, "nothing else"),
        ({"result": [1]}, "result must be a mapping"),
        ({"result": {}, "tensors": [1]}, "tensors must be"),
        ({"result": {}, "artifacts": ["../../../etc/passwd"]}, "artifacts must be"),
        ({"result": {}, "artifacts": ["missing.png"]}, "did not write: missing.png"),
    ],
)
def test_a_cell_that_returns_something_else_has_failed(run: Run, value: object, reason: str) -> None:
    row = run("echo", {"value": "x"}, argument=value if value is not None else [])
    assert row.status is Status.FAILED
    assert reason in row.reason


def test_what_dead_runs_left_is_cleared(run: Run, store: Store) -> None:
    work = store.root / "work"
    (work / "dead-1234").mkdir(parents=True)
    (work / "dead-1234" / "archive.bin").write_bytes(b"x")
    (work / "dead-1234.lock").touch()
    run("measured")
    assert list(work.iterdir()) == []


@pytest.fixture
def tiny_store(tmp_path: Path) -> Iterator[Store]:
    """A store on a file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield Store(folder / "results")
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_cell_that_fills_the_disk_makes_a_row_on_that_disk(run: Run, tiny_store: Store) -> None:
    finished = run("measured", into=tiny_store)
    row = run("fill_disk", into=tiny_store)
    assert row.status is Status.FAILED
    assert row.reason.startswith("no space left on device")
    assert tiny_store.get(row.id) == row
    assert tiny_store.get(finished.id) == finished
    assert list((tiny_store.root / "work").iterdir()) == []
    # Nor can the answer be written: it comes another way.
    row = run("fill_disk_and_return", into=tiny_store)
    assert row.status is Status.FAILED
    assert row.reason.startswith("no space left on device")


def test_a_disk_full_from_the_start_is_said_and_mended(run: Run, tiny_store: Store) -> None:
    finished = run("measured", into=tiny_store)
    ballast = tiny_store.root / "ballast"
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=4096"], capture_output=True, check=False)
    with pytest.raises(StoreError, match="free some space") as caught:
        run("echo", {"a": 1}, argument={"result": {}}, into=tiny_store)
    assert caught.value.errno == errno.ENOSPC
    ballast.unlink()
    assert run("echo", {"a": 1}, argument={"result": {}}, into=tiny_store).status is Status.OK
    assert list(tiny_store.rows(pytest.fail)) == sorted(tiny_store.rows(), key=lambda row: row.id)
    assert tiny_store.get(finished.id) == finished


def _sweep(root: Path, targets: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, str(targets / "sweep.py"), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_sweep_goes_on_where_it_was(
    tmp_path: Path, targets: Path, gone: Callable[[list[int]], bool], number: signal.Signals
) -> None:
    root = tmp_path / "results"
    root.mkdir()
    sweep = _sweep(root, targets)
    _wait_for(root / "pids")
    family = [int(pid) for pid in (root / "pids").read_text().split()]
    before = {path: path.stat().st_mtime_ns for path in Store(root).files()}
    assert len(before) == 2
    os.kill(sweep.pid, number)
    output, errors = sweep.communicate(timeout=60)
    assert output.split() == ["ok", "ok"]
    assert gone(family), "a child outlived its sweep"
    assert ("KeyboardInterrupt" in errors) is (number is signal.SIGINT)

    (root / "go").touch()
    again = _sweep(root, targets)
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert output.split() == ["ok"] * 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (root / "log").read_text().split() == ["0", "1", "2", "2", "3"]
    assert list((root / "work").iterdir()) == []
    assert len(list(Store(root).rows(pytest.fail))) == 4


def test_sweeps_over_one_store_at_once_run_no_cell_twice(tmp_path: Path, targets: Path) -> None:
    root = tmp_path / "results"
    root.mkdir()
    (root / "go").touch()
    for sweep in [_sweep(root, targets) for _ in range(3)]:
        output, errors = sweep.communicate(timeout=120)
        assert output.split() == ["ok"] * 4, errors
    assert (root / "log").read_text().split() == ["0", "1", "2", "3"]  # no cell ran twice
    assert len(list(Store(root).rows(pytest.fail))) == 4
    assert list((root / "work").iterdir()) == []
    for path in Store(root).files():
        json.loads(path.read_text())
