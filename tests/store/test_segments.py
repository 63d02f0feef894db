"""The journal and the small files: what changed is found without looking at every file, whoever dies when."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from weightbench import journal, segments
from weightbench.rows import Row, Status
from weightbench.store import Store, identity
from weightbench.table import build_table, read_cells, read_tables


def make(seed: int, ratio: object = 1.5, **more: object) -> Row:
    cell = {"codec": {"name": "elf"}, "seed": seed}
    row = Row(identity(cell), cell, Status.OK, result={"ratio": ratio}, tensors=({"name": "w"},) * 2)
    return dataclasses.replace(row, **more)  # type: ignore[arg-type]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often all row files were looked at."""
    times: list[int] = []
    real = Store.entries
    monkeypatch.setattr(Store, "entries", lambda self: [times.append(1), real(self)][1])  # type: ignore[func-returns-value]
    return times


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose tables count as large, up to date."""
    monkeypatch.setattr("weightbench.table._LARGE", 5)
    monkeypatch.setattr("weightbench.table._SHARE", 2)
    for seed in range(8):
        Store(tmp_path).put(make(seed))
    build_table(tmp_path)
    return tmp_path


def _seeds(root: Path) -> list[int]:
    tables = read_tables(root)
    cells = read_cells(root, ["id", "cell.seed"])
    assert tables.cells["id"].to_pylist() == cells["id"].to_pylist() == sorted(cells["id"].to_pylist())
    twice = [id_ for id_ in cells["id"].to_pylist() for _ in range(2)]
    assert tables.tensors["id"].to_pylist() == twice
    assert tables.tensors["index"].to_pylist() == [0, 1] * cells.num_rows
    return sorted(cells["cell.seed"].to_pylist())


def _files(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in root.glob("*.parquet")}


def _glob(root: Path) -> list[int]:
    """What a user of DuckDB sees."""
    query = f"select \"cell.seed\" from read_parquet('{root}/cells*.parquet', union_by_name=true) order by 1"
    return [seed for (seed,) in duckdb.sql(query).fetchall()]


def test_a_new_row_is_written_beside(large: Path, looked: list[int]) -> None:
    before = _files(large)
    assert sorted(before) == ["cells.parquet", "tensors.parquet"]
    Store(large).put(make(20, ratio="text where numbers were"))
    looked.clear()
    assert _seeds(large) == [*range(8), 20]
    build_table(large)
    assert {name: _files(large)[name] for name in before} == before
    assert sorted(_files(large)) == [
        "cells.new.parquet",
        "cells.parquet",
        "tensors.new.parquet",
        "tensors.parquet",
    ]
    assert _seeds(large) == _glob(large) == [*range(8), 20]
    Store(large).put(make(20, ratio=7), force=True)  # one that is in the small file
    Store(large).put(make(21))
    assert _seeds(large) == [*range(8), 20, 21]
    build_table(large)
    assert {name: _files(large)[name] for name in before} == before
    assert _seeds(large) == _glob(large) == [*range(8), 20, 21]
    assert looked == []
    for seed in range(22, 25):  # the small one has grown beyond its share
        Store(large).put(make(seed))
    build_table(large)
    assert sorted(_files(large)) == sorted(before)
    assert _seeds(large) == _glob(large) == [*range(8), *range(20, 25)]
    assert looked == []


def test_a_row_of_the_large_file_is_never_in_both(large: Path, looked: list[int]) -> None:
    Store(large).put(make(20))
    build_table(large)
    Store(large).put(make(3, ratio=9.0), force=True)
    assert 9.0 in read_cells(large)["result.ratio"].to_pylist()
    looked.clear()
    build_table(large)
    assert looked == []
    assert _seeds(large) == _glob(large) == [*range(8), 20]
    Store(large).path(make(3).id).unlink()
    Store(large).path(make(20).id).unlink()
    assert _seeds(large) == [0, 1, 2, 4, 5, 6, 7]
    build_table(large)
    assert _seeds(large) == _glob(large) == [0, 1, 2, 4, 5, 6, 7]


def test_files_that_do_not_belong_together_are_not_read(large: Path) -> None:
    Store(large).put(make(20))
    build_table(large)
    small = {path: path.read_bytes() for path in large.glob("*.new.parquet")}
    Store(large).put(make(0, ratio=2), force=True)
    build_table(large)
    for path, data in small.items():  # as if the small files of other large ones had stayed
        path.write_bytes(data)
    assert _seeds(large) == [*range(8), 20]
    Store(large).put(make(21))
    assert _seeds(large) == [*range(8), 20, 21]
    build_table(large)
    assert _seeds(large) == _glob(large) == [*range(8), 20, 21]
    (large / "tensors.new.parquet").write_bytes(b"PAR1")  # half of a pair
    assert _seeds(large) == [*range(8), 20, 21]
    (large / "tensors.parquet").unlink()
    assert _seeds(large) == [*range(8), 20, 21]
    build_table(large)
    assert _seeds(large) == [*range(8), 20, 21]


BREAKS = {
    "another program": lambda folder: (folder / "notes").touch(),
    "journal gone": lambda folder: (folder / journal.JOURNAL).unlink(),
    "journal cut": lambda folder: os.truncate(folder / journal.JOURNAL, 100),
    "garbage": lambda folder: (folder / journal.JOURNAL).write_bytes(os.urandom(4000)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_without_a_whole_journal_every_file_is_looked_at(large: Path, looked: list[int], what: str) -> None:
    store = Store(large)
    mark = journal.mark(store.cells)
    assert mark is not None
    time.sleep(journal.TICK_S)
    store.put(make(20))
    BREAKS[what](store.cells)
    time.sleep(journal.TICK_S)
    store.put(make(21))
    looked.clear()
    assert journal.since(store.cells, mark) is None
    assert _seeds(large) == [*range(8), 20, 21]
    assert looked
    build_table(large)
    looked.clear()
    store.put(make(22))
    assert _seeds(large) == [*range(8), 20, 21, 22]
    assert looked == []


def test_rows_of_the_journal_are_all_that_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert journal.mark(store.cells) is None
    store.put(make(0))
    time.sleep(journal.TICK_S)
    mark = journal.mark(store.cells)
    assert mark is not None
    assert journal.since(store.cells, mark) == set()
    time.sleep(journal.TICK_S)
    store.put(make(0))  # done already: nothing is written
    assert journal.since(store.cells, mark) == set()
    store.put(make(1))
    assert journal.since(store.cells, mark) == {make(1).id}
    middle = journal.mark(store.cells)
    time.sleep(journal.TICK_S)
    store.put(make(2))
    assert journal.since(store.cells, mark) == {make(1).id, make(2).id}
    assert middle is not None
    assert journal.since(store.cells, middle) == {make(2).id}
    os.utime(store.cells, (1e9, 1e9))  # a file system that counts whole seconds
    assert journal.mark(store.cells) is None
    assert journal.since(store.cells, mark) is None


def test_killed_between_a_row_and_its_line(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def killed(self: Path, target: Path) -> Path:
        real(self, target)
        os.kill(os.getpid(), signal.SIGKILL)
        return target

    monkeypatch.setattr(Path, "replace", killed)
    child = multiprocessing.get_context("fork").Process(target=Store(large).put, args=(make(20),))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    monkeypatch.setattr(Path, "replace", real)
    assert _seeds(large) == [*range(8), 20]
    Store(large).put(make(21))
    assert _seeds(large) == [*range(8), 20, 21]
    build_table(large)
    assert _seeds(large) == _glob(large) == [*range(8), 20, 21]


def _write(root: Path, seeds: range) -> None:
    for seed in seeds:
        Store(root).put(make(seed))
        build_table(root)


def test_many_writers_and_a_reader(large: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(large, range(n, n + 6))) for n in (100, 200, 300)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert set(range(8)) <= set(_seeds_loosely(large))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    expected = sorted([*range(8), *range(100, 106), *range(200, 206), *range(300, 306)])
    assert _seeds(large) == _glob(large) == expected


def _seeds_loosely(root: Path) -> Iterator[int]:
    seeds = read_cells(root, ["cell.seed"])["cell.seed"].to_pylist()
    assert len(set(seeds)) == len(seeds)
    yield from seeds


def test_a_writer_that_is_killed_leaves_tables_that_hold(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(large).put(make(20))
    build_table(large)
    Store(large).put(make(0, ratio=2), force=True)
    real, left = Path.replace, [2]
    for kill_at in (1, 2):
        left[0] = kill_at

        def killing(self: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)

        monkeypatch.setattr(Path, "replace", killing)
        child = multiprocessing.get_context("fork").Process(target=build_table, args=(large,))
        child.start()
        child.join()
        monkeypatch.setattr(Path, "replace", real)
        assert child.exitcode == -signal.SIGKILL
        assert len(set(_glob(large))) == len(_glob(large))
        assert _seeds(large) == [*range(8), 20]
    build_table(large)
    assert _seeds(large) == _glob(large) == [*range(8), 20]
    assert segments.opened(large)
