"""The store under everything that happens to files."""

import dataclasses
import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from weightbench import rows
from weightbench.errors import DamagedRowError, SchemaError, StoreError
from weightbench.rows import Row, Status, done
from weightbench.store import Store, identity, write_atomically


def make(seed: int = 0, status: Status = Status.OK, **more: object) -> Row:
    cell = {"codec": {"name": "elf", "bound": 1e-3}, "seed": seed}
    row = Row(
        identity(cell), cell, status, result={"ratio": 1.5, "psnr": float("inf")}, tensors=({"name": "w"},)
    )
    return dataclasses.replace(row, **more)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    row = make(
        error={"type": "E", "traceback": "line\n"},
        environment={"load": [0.5]},
        artifacts=("artifacts/a.png",),
    )
    assert store.get(row.id) is None
    assert list(store.rows()) == []
    assert store.put(row) == row
    assert store.get(row.id) == row
    assert list(store.rows()) == [row]
    assert [path.name for path in store.files()] == [f"{row.id}.json"]


def test_done_rows_stay_and_failures_give_way(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for status in (Status.FAILED, Status.TIMEOUT, Status.OOM):
        assert store.put(make(status=status)).status is status
    kept = store.put(make(seconds=1.0))
    assert store.put(make(status=Status.FAILED)) == kept
    assert store.put(make(seconds=2.0)) == kept
    assert store.get(kept.id) == kept
    assert store.put(make(seconds=2.0), force=True).seconds == 2.0
    assert store.put(make(status=Status.FAILED), force=True).status is Status.FAILED


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (make(), True),
        (make(status=Status.VIOLATED), True),
        (make(status=Status.SKIPPED), True),
        (make(status=Status.SKIPPED, lasting=False), False),
        (make(status=Status.FAILED), False),
        (make(status=Status.TIMEOUT), False),
        (make(status=Status.OOM), False),
    ],
)
def test_done(row: Row, expected: bool) -> None:
    assert done(row) is expected


DAMAGE = {
    "empty": lambda text: b"",
    "cut": lambda text: text[: len(text) // 2],
    "garbage": lambda text: os.urandom(500),
    "list": lambda text: b"[]",
    "nan": lambda text: text.replace(b"1.5", b"NaN"),
    "other cell": lambda text: text.replace(b'"seed":0', b'"seed":1'),
    "field gone": lambda text: text.replace(b'"seconds"', b'"minutes"'),
    "wrong type": lambda text: text.replace(b'"seconds":0.0', b'"seconds":"0"'),
    "no schema": lambda text: text.replace(b'"schema":1', b'"schema":true'),
    "status": lambda text: text.replace(b'"ok"', b'"fine"'),
    "artifact": lambda text: text.replace(b'"artifacts":[]', b'"artifacts":["../../x"]'),
    "deep": lambda text: b'{"a":' * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_rows_are_reported_and_left_out(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path)
    bad, good = store.put(make(0)), store.put(make(1))
    path = store.path(bad.id)
    damaged = DAMAGE[kind](path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    seen: list[DamagedRowError] = []
    assert list(store.rows(seen.append)) == [good]
    assert len(seen) == 1
    assert path.name in str(seen[0])
    assert store.get(bad.id, seen.append) is None
    # It counts as not there, so the cell can simply run again.
    assert store.put(bad) == bad
    assert store.get(bad.id) == bad


def test_a_row_under_another_name_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = store.put(make(0))
    store.path(row.id).rename(store.path(make(1).id))
    seen: list[DamagedRowError] = []
    assert list(store.rows(seen.append)) == []
    assert len(seen) == 1


def test_damage_is_logged_by_default(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    store.path(store.put(make()).id).write_bytes(b"{")
    assert list(store.rows()) == []
    assert "damaged" in caplog.text


def test_a_newer_schema_is_refused_not_misread(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = store.put(make())
    data = json.loads(store.path(row.id).read_text())
    store.path(row.id).write_text(json.dumps(data | {"schema": 2, "a new field": 1}))
    for attempt in (lambda: store.get(row.id), lambda: list(store.rows()), lambda: store.put(row)):
        with pytest.raises(SchemaError, match="upgrade weightbench"):
            attempt()


def test_an_older_schema_is_lifted_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    row = store.put(make())
    monkeypatch.setattr(rows, "SCHEMA", 2)
    with pytest.raises(SchemaError, match="force=true"):
        store.get(row.id)
    monkeypatch.setitem(rows.MIGRATIONS, 1, lambda data: data | {"reason": "lifted"})
    lifted = store.get(row.id)
    assert lifted is not None
    assert (lifted.schema, lifted.reason) == (2, "lifted")


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    for bad in ("../../etc/passwd", "", "a" * 63, "A" * 64):
        with pytest.raises(StoreError, match="identity"):
            Store(tmp_path).get(bad)
    with pytest.raises(StoreError, match="identity"):
        Store(tmp_path).put(dataclasses.replace(make(), id="0" * 64))


def _no_leftovers(store: Store) -> bool:
    return not [path for path in store.cells.rglob("*") if path.name.endswith(".tmp")]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_state(tiny_disk: Path) -> None:
    store = Store(tiny_disk)
    kept, retried = store.put(make(0)), store.put(make(1, Status.FAILED))
    (tiny_disk / "ballast").write_bytes(b"x" * (200 << 10))
    big = tuple({"name": "w" * 1000, "index": i} for i in range(200))
    for row in (make(1, tensors=big), make(2, tensors=big), make(0, tensors=big)):
        with pytest.raises(StoreError, match="free some space") as caught:
            store.put(row, force=True)
        assert caught.value.errno == errno.ENOSPC
    assert sorted(store.rows(), key=lambda row: row.status) == sorted(
        [kept, retried], key=lambda row: row.status
    )
    assert _no_leftovers(store)
    (tiny_disk / "ballast").unlink()
    assert store.put(make(1, tensors=big)).tensors == big


def _put_with_small_files(root: str, queue: "multiprocessing.SimpleQueue[object]") -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        Store(Path(root)).put(make(1, tensors=tuple({"name": "w" * 100} for _ in range(100))))
    except StoreError as error:
        queue.put(error.errno)


def test_a_write_that_stops_half_way_leaves_the_old_state(tmp_path: Path) -> None:
    """As a full disk, for a user who may not mount one: the file-size limit cuts the write short."""
    store = Store(tmp_path)
    row = store.put(make(1, Status.FAILED))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_put_with_small_files, args=(str(tmp_path), queue))
    process.start()
    process.join()
    assert queue.get() == errno.EFBIG
    assert list(store.rows()) == [row]
    assert _no_leftovers(store)


def _put_many(root: str, worker: int) -> None:
    store = Store(Path(root))
    for seed in range(30):
        store.put(make(seed, Status.FAILED if worker % 2 else Status.OK, seconds=float(worker)))


def test_processes_that_race_keep_every_done_row(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_put_many, args=(str(tmp_path), worker)) for worker in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = list(Store(tmp_path).rows(pytest.fail))
    assert len(found) == 30
    assert {row.status for row in found} == {Status.OK}
    assert _no_leftovers(Store(tmp_path))


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
