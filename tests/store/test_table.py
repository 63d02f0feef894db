"""The Parquet tables and the frames: every engine sees the same numbers, however the rows came."""

import builtins
import dataclasses
import math
import os
import time
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from weightbench import results
from weightbench.errors import DamagedRowError, EmptyStoreError, MissingExtraError, SchemaError, StoreError
from weightbench.rows import Row, Status
from weightbench.store import Store, identity
from weightbench.table import build_table, read_cells, read_tables


def make(seed: int, result: dict[str, object] | None = None, **more: object) -> Row:
    cell = {"codec": {"name": "elf", "bound": 1e-3}, "seed": seed}
    tensors = ({"name": "w0", "nbytes": 4, "error": 0.5}, {"name": "w1", "nbytes": 8, "error": math.inf})
    result = {"ratio": 1.5, "encode": {"mbps": 2 + seed, "all": [1.0, 2.0]}} if result is None else result
    row = Row(identity(cell), cell, Status.OK, result=result, tensors=tensors, seconds=1.0)
    return dataclasses.replace(row, **more)  # type: ignore[arg-type]


def failed(seed: int) -> Row:
    error = {"type": "E", "message": "m", "traceback": "t", "output": "noise", "details": {"a": 1}}
    return make(seed, {}, status=Status.FAILED, reason="E: m", error=error, tensors=())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    for seed in range(3):
        store.put(make(seed))
    store.put(failed(3))
    return tmp_path


def test_pandas_polars_and_duckdb_agree(root: Path) -> None:
    path = build_table(root)
    frame = pd.read_parquet(path).sort_values("cell.seed")
    assert list(frame["cell.seed"]) == [0, 1, 2, 3]
    assert list(frame["status"]) == ["ok", "ok", "ok", "failed"]
    assert list(frame["result.encode.mbps"])[:3] == [2, 3, 4]
    assert frame["result.encode.all"].iloc[0] == "[1.0,2.0]"
    assert frame["error.type"].iloc[3] == "E"
    assert frame["error.details"].iloc[3] == '{"a":1}'
    assert "error.output" not in frame
    polars = pl.read_parquet(path).sort("cell.seed")
    assert polars["result.ratio"].to_list() == [1.5, 1.5, 1.5, None]
    ratios = duckdb.sql(f"select \"result.ratio\" from '{path}' where status = 'ok'").fetchall()
    assert ratios == [(1.5,)] * 3
    tensors = root / "tensors.parquet"
    joined = duckdb.sql(
        "select count(*), max(t.error), sum(t.nbytes) "
        f"from '{tensors}' t join '{path}' c using (id) where t.index = 1"
    )
    assert joined.fetchall() == [(3, math.inf, 24)]


def test_frames_in_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = results.cells(root)
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 4
    assert "stamp" not in frame
    assert not list(root.glob("*.parquet"))  # reading writes nothing
    assert isinstance(results.cells(root, "polars"), pl.DataFrame)
    assert len(results.tensors(root)) == 6
    assert results.tensors(root, engine="polars").columns == ["id", "index", "error", "name", "nbytes"]
    monkeypatch.setenv("WEIGHTBENCH_RESULTS", str(root))
    assert len(results.cells()) == 4
    monkeypatch.delenv("WEIGHTBENCH_RESULTS")
    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    with pytest.raises(EmptyStoreError, match=r"python run\.py"):
        results.cells()
    (root / "elsewhere" / "results").symlink_to(root)
    assert len(results.cells()) == 4


def test_frames_say_what_is_wrong(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="pandas or polars"):
        results.cells(root, "excel")  # type: ignore[call-overload]
    real = builtins.__import__

    def without_polars(name: str, *rest: object, **more: object) -> object:
        if name == "polars":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_polars)
    with pytest.raises(MissingExtraError, match="pip install"):
        results.cells(root, "polars")
    assert len(results.cells(root)) == 4


def _same(root: Path, tmp_path: Path) -> None:
    """The tables built step by step are those built at once, in the order of rows and columns too.

    Types may be wider: what widened them may have gone.
    """
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "cells").symlink_to(root / "cells")
    for expected, got in zip(read_tables(fresh), read_tables(root), strict=True):
        assert got.column_names == expected.column_names
        for name in got.column_names:
            assert list(map(_value, got[name].to_pylist())) == list(map(_value, expected[name].to_pylist()))
    (fresh / "cells").unlink()
    fresh.rmdir()


def _value(value: object) -> object:
    try:
        return float(str(value))  # 2, 2.0, "2" and "2.0" are one
    except ValueError:
        return str(value).lower() if isinstance(value, bool) else value


@pytest.fixture(params=["one file", "small files"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of few rows as they are, and as they would be of many."""
    if request.param == "small files":
        monkeypatch.setattr("weightbench.table._LARGE", 0)
        monkeypatch.setattr("weightbench.table._SHARE", 1)


@pytest.mark.usefixtures("files")
def test_step_by_step_is_the_same_as_at_once(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    store = Store(tmp_path)
    steps: list[Row] = [
        failed(0),
        make(1),
        make(2, {"ratio": 2, "new": {"column": True}}),  # an integer among floats
        make(3, {"new": {"column": "text among booleans"}}),
        make(4, {"new": {"column": 7}, "huge": 2**70}),
        failed(5),
        make(5),  # a failure retried
        make(0, {"a.b": 1, "a": {"b": 2}}),  # keys that would meet
        make(6, {"only": 1}),
        make(6, {}),  # a column that goes
        make(3, {"new": {"column": False}}),  # a column whose kinds shrink
        make(7, {"nothing": None, "empty": {}}, tensors=({"name": 5, "extra": [1]},)),
    ]
    for row in steps:
        store.put(row, force=True)
        _same(tmp_path, other)
        build_table(tmp_path)
        _same(tmp_path, other)
    store.path(make(4).id).unlink()
    _same(tmp_path, other)
    build_table(tmp_path)
    for path in store.files():
        path.unlink()
    _same(tmp_path, other)
    table = pq.read_table(tmp_path / "cells.parquet")
    assert {"result.a%2Eb", "result.a.b"} <= set(table.column_names)


def test_unchanged_rows_are_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_table(root)
    read: list[str] = []
    real = Store.get
    monkeypatch.setattr(Store, "get", lambda self, id_, *rest: read.append(id_) or real(self, id_, *rest))
    build_table(root)
    assert read == []
    Store(root).put(make(9))
    read.clear()
    build_table(root)
    assert read == [make(9).id]


def _age(folder: Path, seconds: int) -> None:
    """Give a folder an earlier time with a fraction of a second, as file systems do."""
    then = time.time_ns() // 1_000_000_000 * 1_000_000_000 - seconds * 1_000_000_000 + 123_456_789
    os.utime(folder, ns=(then, then))


def test_files_are_not_looked_at_while_their_folder_is_unchanged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    _age(store.cells, 10)
    path = build_table(root)
    written = path.stat().st_mtime_ns
    looked: list[int] = []
    real = Store.entries
    monkeypatch.setattr(Store, "entries", lambda self: looked.append(1) or real(self))
    assert read_cells(root).num_rows == 4
    assert read_cells(root, ["id"]).column_names == ["id"]
    build_table(root)
    assert (looked, path.stat().st_mtime_ns) == ([], written)
    store.put(make(9))  # a row that comes
    assert read_cells(root).num_rows == 5
    assert read_cells(root, ["cell.seed"])["cell.seed"].to_pylist().count(9) == 1
    build_table(root)
    store.put(make(9, {"ratio": 7.0}), force=True)  # one that is replaced
    assert 7.0 in read_cells(root, ["result.ratio"])["result.ratio"].to_pylist()
    build_table(root)
    store.path(make(9).id).unlink()  # one that goes
    assert read_cells(root).num_rows == 4
    looked.clear()
    read_cells(root)
    assert looked


def test_a_folder_with_a_coarse_time_is_looked_through(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(root / "cells", (1e9, 1e9))
    build_table(root)
    Store(root).put(make(9))
    os.utime(root / "cells", (1e9, 1e9))
    assert read_cells(root).num_rows == 5


def test_damaged_rows_are_reported_every_time(root: Path) -> None:
    path = Store(root).path(make(0).id)
    path.write_bytes(b"{")
    _age(root / "cells", 10)
    build_table(root)
    for _ in range(2):
        seen: list[DamagedRowError] = []
        assert read_cells(root, ["id"], seen.append).num_rows == 3
        assert len(seen) == 1


COLUMNS = ["result.ratio", "id", "cell.seed", "nowhere", "result.new", "result.ratio"]


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_some_columns_are_those_of_all(root: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightbench.table._BATCH", batch)
    if batch == 2:
        monkeypatch.setattr("weightbench.table._LARGE", 0)
        monkeypatch.setattr("weightbench.columns._FEW", 0)
    store = Store(root)

    def same() -> None:
        some, whole = read_cells(root, COLUMNS), read_tables(root).cells
        names = [name for name in dict.fromkeys(COLUMNS) if name in whole.column_names]
        assert some.column_names == names
        assert some.equals(whole.select(names))
        assert read_cells(root).equals(whole)

    same()
    build_table(root)
    same()
    store.put(make(10, {"ratio": 2, "new": 1}))
    store.put(make(11, {"ratio": 3, "new": 2}))
    for seed in range(20, 32):
        store.put(make(seed, {"ratio": seed}))
    same()
    store.put(make(12, {"ratio": "text", "new": False}))  # types change
    same()
    build_table(root)
    store.path(make(12).id).unlink()
    same()
    frame = results.cells(root, columns=["cell.seed", "result.ratio"])
    assert list(frame.columns) == ["cell.seed", "result.ratio"]
    assert results.cells(root, "polars", columns=["cell.seed"]).columns == ["cell.seed"]


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1", None])
def test_damaged_tables_are_made_anew(root: Path, content: bytes | None) -> None:
    path = build_table(root)
    expected = read_tables(root)
    if content is None:  # a pair that does not belong together
        Store(root).put(make(9))
        path.rename(root / "kept")
        build_table(root)
        (root / "kept").replace(path)
        Store(root).path(make(9).id).unlink()
    else:
        path.write_bytes(content)
    assert read_tables(root).cells.equals(expected.cells)
    assert read_tables(root).tensors.equals(expected.tensors)


def test_damaged_rows_are_reported_and_newer_ones_refused(root: Path) -> None:
    store = Store(root)
    (store.cells / "notes.json").write_text("{}")  # not a row's name
    path = store.path(make(0).id)
    path.write_bytes(path.read_bytes()[:100])
    seen: list[DamagedRowError] = []
    assert read_tables(root, seen.append).cells.num_rows == 3
    assert len(seen) == 1
    path = store.path(make(1).id)
    path.write_text(path.read_text().replace('"schema":1', '"schema":7'))
    with pytest.raises(SchemaError, match="upgrade"):
        read_tables(root)


def test_empty_store_and_unwritable_folder(tmp_path: Path) -> None:
    assert read_tables(tmp_path / "none").cells.num_rows == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        build_table(tmp_path / "file" / "below")
