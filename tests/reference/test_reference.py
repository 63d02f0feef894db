"""Frozen tables: equal rows, equal bytes; read like a store, never written to, never misread."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from weightbench import results
from weightbench.compare.__main__ import main as compare
from weightbench.errors import EmptyStoreError, FrozenError, StoreError
from weightbench.reference import freeze, main
from weightbench.rows import Row, Status
from weightbench.store import Store, identity
from weightbench.table import build_table, read_cells, read_tables


def make(
    seed: int, status: Status = Status.OK, ratio: object = 1.5, cpu: str = "A", load: float = 0.0
) -> Row:
    cell = {
        "codec": {"name": "elf", "version": 3, "bound": 1e-3},
        "model": {"name": f"m{seed}", "revision": f"sha256:{seed}", "dtype": None},
        "workload": {"kind": "single"}, "granularity": {"kind": "tensor"}, "dedup": False,
        "measure": {"name": "smoke"}, "eval": {"mode": "none"},
    }  # fmt: skip
    environment = {
        "cpu": {"model": cpu, "mhz": load}, "memory": {"total_bytes": 1, "available_bytes": seed},
        "git": {"revision": "abc", "dirty": False}, "load": {"1min": load},
    }  # fmt: skip
    error = None if status in (Status.OK, Status.SKIPPED) else {"type": "E", "message": "m", "traceback": "t"}
    return Row(
        identity(cell), cell, status, result={"sizes": {"ratio": ratio, "stored_bytes": 10}}, error=error,
        environment=environment, tensors=({"name": "w", "ratio": ratio}, {"name": "x", "list": [1]}),
        started="s", finished=f"2026-01-0{seed + 1}", reason="" if status is Status.OK else "because",
    )  # fmt: skip


def store(root: Path, *rows: Row) -> Path:
    for row in rows:
        Store(root).put(row, force=True)
    return root


@pytest.fixture
def live(tmp_path: Path) -> Path:
    statuses = (Status.OK, Status.SKIPPED, Status.VIOLATED, Status.FAILED, Status.TIMEOUT, Status.OOM)
    rows = [make(seed, status, load=seed) for seed, status in enumerate(statuses)]
    return store(tmp_path / "live", *rows, make(6, ratio=2, cpu="B"))


def test_frozen_rows_are_those_of_the_store(live: Path, tmp_path: Path) -> None:
    out = tmp_path / "frozen"
    assert main(["freeze", str(live), "--out", str(out), "--command", "one", "--command", "two"]) == 0
    kept = [make(0).id, make(1, Status.SKIPPED).id, make(2, Status.VIOLATED).id, make(6).id]
    expected = results.cells(live).drop(columns="error.traceback")
    expected = expected[expected["id"].isin(kept)].reset_index(drop=True).dropna(axis=1, how="all")
    got = results.cells(out)
    pd.testing.assert_frame_equal(got, expected[list(got.columns)])
    assert set(expected.columns) == set(got.columns)
    assert sorted(results.tensors(out)["id"].unique()) == sorted(kept)
    assert list(results.cells(out, columns=["cell.model.name", "id", "nowhere"])) == ["cell.model.name", "id"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["statuses"] == {"ok": 2, "skipped": 1, "violated": 1}
    assert manifest["commands"] == ["one", "two"]
    assert [entry["id"] for entry in manifest["cells"]] == sorted(kept)
    entry = next(entry for entry in manifest["cells"] if entry["id"] == make(6).id)
    assert entry["title"] == "elf(bound=0.001) on m6, granularity tensor"
    assert (entry["codec_version"], entry["model_revision"], entry["ratio"]) == (3, "sha256:6", 2)
    assert manifest["environments"][entry["environment"]]["cpu"] == {"model": "B"}
    assert len(manifest["environments"]) == 2
    assert manifest["git"] == [{"revision": {"dirty": False, "revision": "abc"}, "cells": 4}]


def test_equal_rows_are_equal_bytes(live: Path, tmp_path: Path) -> None:
    def frozen(name: str, *sources: Path) -> list[bytes]:
        freeze(sources, tmp_path / name)
        return [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]

    first = frozen("a", live)
    assert len(first) == 3
    for path in reversed(Store(live).files()):  # other files of the same content, in other places
        path.rename(path.with_suffix(".x"))
        path.write_bytes(path.with_suffix(".x").read_bytes())
    assert frozen("b", live) == first
    assert frozen("b", tmp_path / "b") == first
    one, other = (
        store(tmp_path / "1", make(0), make(2, Status.VIOLATED)),
        store(tmp_path / "2", make(6, ratio=2, cpu="B")),
    )
    store(other, make(1, Status.SKIPPED, load=1), make(0, ratio=7.0))  # of make(0) the first store's counts
    store(one, make(2, Status.VIOLATED, load=2))
    freeze([one], tmp_path / "c")
    assert frozen("c", tmp_path / "c", other) == first


def test_what_was_changed_is_refused(live: Path, tmp_path: Path) -> None:
    out = tmp_path / "frozen"
    freeze([live], out)
    for name in ("cells.parquet", "tensors.parquet", "manifest.json"):
        whole = (out / name).read_bytes()
        other = whole[:50] + b"x" + whole[51:]
        for damage in (b"", whole[:-9], other if name != "manifest.json" else b"[]"):
            (out / name).write_bytes(damage)
            with pytest.raises(FrozenError, match=r"python -m weightbench\.reference freeze"):
                read_tables(out)
        if name != "manifest.json":  # without it there is neither a frozen folder nor a row
            (out / name).unlink()
            with pytest.raises(FrozenError, match="cannot be read"):
                read_tables(out)
        (out / name).write_bytes(whole)
    assert read_cells(out).num_rows == 4
    (out / "manifest.json").write_bytes(whole.replace(b"frozen/1", b"frozen/2"))
    with pytest.raises(FrozenError, match="frozen/2"):
        results.cells(out)
    manifest = json.loads(whole)
    for damaged in ({**manifest, "cells": manifest["cells"][:1]}, {**manifest, "environments": []}):
        (out / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(FrozenError):
            freeze([out], tmp_path / "other")


def test_nothing_is_written_beside_frozen_tables(live: Path, tmp_path: Path) -> None:
    out = tmp_path / "frozen"
    freeze([live], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for write in (lambda: Store(out).put(make(9)), lambda: build_table(out)):
        with pytest.raises(FrozenError, match="WEIGHTBENCH_RESULTS"):
            write()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "cells").symlink_to(live / "cells")
    with pytest.raises(FrozenError, match="another folder"):
        read_tables(out)
    with pytest.raises(EmptyStoreError, match="--out"):
        freeze([live], live)
    assert main(["freeze", str(tmp_path / "none"), "--out", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        freeze([live], tmp_path / "file" / "below")


@pytest.mark.parametrize("columns", [None, ["cell.model.name", "result.sizes.ratio"]])
def test_several_stores_in_one_frame(live: Path, tmp_path: Path, columns: list[str] | None) -> None:
    out, own = tmp_path / "frozen", store(tmp_path / "own", make(0, ratio=9), make(7, ratio="text"))
    freeze([live], out)
    roots: list[str | Path] = [own, tmp_path / "empty", str(out)]
    frame = results.cells(roots, columns=columns)
    assert list(frame["store"]) == [str(own)] * 2 + [str(out)] * 3
    assert sorted(frame["cell.model.name"]) == ["m0", "m1", "m2", "m6", "m7"]
    by_name = frame.set_index("cell.model.name")["result.sizes.ratio"]
    assert by_name["m0"] == "9"  # one of the columns is text, so all is
    assert columns is None or list(frame) == ["store", *columns]
    assert "stamp" not in frame
    polars = results.cells(roots, "polars", columns=columns)
    assert isinstance(polars, pl.DataFrame)
    assert polars["store"].to_list() == list(frame["store"])
    tensors = results.tensors(roots)
    assert tensors.groupby("store").size().to_dict() == {str(own): 4, str(out): 6}
    assert list(results.cells([own])["store"]) == [str(own)] * 2
    with pytest.raises(EmptyStoreError, match="run a cell first"):
        results.cells([tmp_path / "empty", tmp_path / "none"])


def test_compare_reads_frozen_tables(live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "frozen"
    freeze([live], out)
    assert compare([str(out), str(live)]) == 0
    (out / "cells.parquet").write_bytes(b"PAR1")
    assert compare([str(out), str(live)]) == 2
    assert "SHA-256 differs" in capsys.readouterr().err
