"""Claims on cells: who waits, who takes over and when, and that nobody runs what another runs."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
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
from weightbench.runner.claims import LEASE_S, Holder, claimed, holder, running
from weightbench.store import Store, identity

CELL: dict[str, object] = {"a": 1}
ID = identity(CELL)
ELSEWHERE = Holder("far", "another kernel", 1, 1, "2026-01-01T00:00:00+00:00", 60.0, "t")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def path(store: Store) -> Path:
    folder = store.root / "claims"
    folder.mkdir(parents=True)
    return folder / f"{ID}.json"


def write(path: Path, claim: Holder) -> None:
    path.write_text(json.dumps(dataclasses.asdict(claim)))


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_claim_says_who_holds_it_and_goes(store: Store) -> None:
    assert running(store, ID) is None
    with claimed(store, ID, None) as written:
        assert written is None
        claim = holder(store.root / "claims" / f"{ID}.json")
        assert claim is not None
        assert (claim.pid, claim.lease_s) == (os.getpid(), LEASE_S)
        assert f"process {os.getpid()} on" in str(running(store, ID))
    assert running(store, ID) is None
    assert [file.name for file in (store.root / "claims").iterdir()] == [".lock"]


@pytest.mark.parametrize("untouched_s", [61.0, 1e6])
def test_an_expired_claim_of_another_machine_is_taken_over(
    store: Store, path: Path, untouched_s: float
) -> None:
    write(path, ELSEWHERE)
    age(path, untouched_s)
    assert running(store, ID) is None
    with claimed(store, ID, None, waiting=pytest.fail) as written:
        assert written is None
        assert holder(path) != ELSEWHERE


@pytest.mark.parametrize("clock", [0.0, -3600.0])
def test_a_claim_that_is_touched_is_waited_for(store: Store, path: Path, clock: float) -> None:
    write(path, ELSEWHERE)
    age(path, clock)  # a time ahead of ours is not expired either
    said: list[str] = []

    def waiting(text: str) -> None:
        said.append(text)
        age(path, 61.0)

    with claimed(store, ID, None, waiting=waiting):
        pass
    assert said == [f"waiting for {ELSEWHERE}, which runs this cell"]


GARBAGE = {
    "empty": b"",
    "bytes": b"\xff\x00",
    "list": b"[]",
    "deep": b"[" * 4000,
    "long": b" " * 5000 + b"{}",
    "fields": b'{"host":"a"}',
    "types": json.dumps(dataclasses.asdict(ELSEWHERE) | {"pid": "1"}).encode(),
    "lease": json.dumps(dataclasses.asdict(ELSEWHERE) | {"lease_s": 1e300}).encode(),
    "cut": json.dumps(dataclasses.asdict(ELSEWHERE)).encode()[:50],
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_claim_that_is_garbage_counts_for_one_lease(store: Store, path: Path, kind: str) -> None:
    path.write_bytes(GARBAGE[kind])
    said: list[str] = []

    def waiting(text: str) -> None:
        said.append(text)
        age(path, LEASE_S + 1)

    with claimed(store, ID, None, waiting=waiting):
        pass
    assert said == ["waiting for an unreadable claim, which runs this cell"]


def test_the_life_of_a_process_here_decides_not_the_lease(store: Store, path: Path) -> None:
    with claimed(store, ID, None):
        mine = holder(path)
    assert mine is not None
    process = subprocess.Popen(["sleep", "600"])
    ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    # A process with that number, but of another start, is another process.
    write(path, dataclasses.replace(mine, pid=process.pid, pid_started=ticks + 1))
    with claimed(store, ID, None, waiting=pytest.fail):
        pass
    write(path, dataclasses.replace(mine, pid=process.pid, pid_started=ticks))
    age(path, 1e6)

    def waiting(text: str) -> None:
        assert f"process {process.pid}" in text
        process.kill()

    with claimed(store, ID, None, waiting=waiting):
        pass
    process.wait()
    with claimed(store, ID, None, waiting=pytest.fail):
        pass


def test_a_claim_is_touched_while_it_is_held(store: Store, path: Path) -> None:
    with claimed(store, ID, None, lease_s=0.2):
        for _ in range(2):
            age(path, 1000)
            old = path.stat().st_mtime_ns
            wait_until(lambda old=old: path.stat().st_mtime_ns != old)  # type: ignore[misc]


def test_a_claim_that_was_taken_over_is_left_alone(store: Store, path: Path) -> None:
    with claimed(store, ID, None, lease_s=0.02):
        write(path, ELSEWHERE)
        age(path, 1000)
        old = path.stat().st_mtime_ns
        time.sleep(0.1)
        assert path.stat().st_mtime_ns == old
    assert holder(path) == ELSEWHERE


def row(status: Status, finished: str) -> Row:
    return Row(ID, CELL, status, started=finished, finished=finished, result={"nan": float("nan")})


@pytest.mark.parametrize("status", [Status.OK, Status.FAILED])
@pytest.mark.parametrize("force", [False, True])
def test_what_the_other_wrote_is_the_answer(
    store: Store, path: Path, targets: Path, status: Status, force: bool
) -> None:
    store.put(row(Status.FAILED, "1"))
    write(path, ELSEWHERE)

    def other(_: object) -> None:
        store.put(row(status, "2"))
        age(path, 61)

    got = run_cell(CELL, "misbehaving:sleep", store, force=force, progress=other, python_path=[targets])
    assert (got.status, got.finished) == (status, "2")
    # An old row is none: the cell runs.
    got = run_cell(CELL, "misbehaving:measured", store, force=True, python_path=[targets])
    assert got.status is Status.OK
    assert got.finished > "2"


def _hold(root: str, log: str, rounds: int) -> None:
    store = Store(Path(root))
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in range(rounds):
        # Each round begins with a claim that everybody may take over.
        with claimed(store, identity({"round": number}), None):
            os.write(handle, f"in {number} {os.getpid()}\n".encode())
            time.sleep(0.002)
            os.write(handle, f"out {number} {os.getpid()}\n".encode())


def test_many_that_take_over_at_once_hold_it_one_after_the_other(store: Store, path: Path) -> None:
    rounds, workers = 8, 4
    for number in range(rounds):
        stale = path.with_name(f"{identity({'round': number})}.json")
        write(stale, ELSEWHERE)
        age(stale, 1000)
    log = store.root / "log"
    log.touch()
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_hold, args=(str(store.root), str(log), rounds)) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for number in range(rounds):
        lines = [line.split() for line in log.read_text().splitlines() if line.split()[1] == str(number)]
        assert len(lines) == 2 * workers
        for entered, left in zip(lines[::2], lines[1::2], strict=True):
            assert (entered[0], left[0]) == ("in", "out")
            assert entered[2] == left[2]


def _sweep(root: Path, targets: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(targets / "sweep.py"), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_holder_is_succeeded_at_once(
    tmp_path: Path, targets: Path, gone: Callable[[list[int]], bool]
) -> None:
    """The first sweep hangs in its third cell, the second waits for that cell, and the first is killed."""
    root = tmp_path / "results"
    root.mkdir()
    first = _sweep(root, targets)
    wait_until((root / "pids").exists)
    second = _sweep(root, targets)
    assert second.stderr is not None
    assert f"waiting for process {first.pid} on" in second.stderr.readline()
    family = [int(pid) for pid in (root / "pids").read_text().split()]
    (root / "go").touch()
    first.send_signal(signal.SIGKILL)
    output, errors = second.communicate(timeout=60)
    assert output.split() == ["ok"] * 4, errors
    assert gone(family)
    first.communicate()
    assert (root / "log").read_text().split() == ["0", "1", "2", "2", "3"]
    assert [file.name for file in (root / "claims").iterdir()] == [".lock"]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Store]:
    """A store with one done row, whose file system takes no writes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    store = Store(folder / "results")
    store.put(Row(ID, CELL, Status.OK))
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield store
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_store_that_cannot_be_written(read_only: Store, targets: Path) -> None:
    assert run_cell(CELL, "misbehaving:sleep", read_only).status is Status.OK
    assert running(read_only, ID) is None
    with pytest.raises(StoreError, match="no claim could be made"):
        run_cell({"a": 2}, "misbehaving:measured", read_only, python_path=[targets], limits=Limits(60))
