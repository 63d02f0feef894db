"""Comparing runs: what is paired, what is a regression, the exit code, and the files that come out."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from weightbench.compare.__main__ import main
from weightbench.compare.changes import Change, Thresholds, changes
from weightbench.compare.overall import overall
from weightbench.compare.pairs import Pair
from weightbench.rows import Row, Status
from weightbench.store import Store, identity
from weightbench.table import build_table

Write = Callable[..., Path]


def speed(median: float, spread: float | None) -> dict[str, Any]:
    low, high = (None, None) if spread is None else (median * (1 - spread), median * (1 + spread))
    return {"share_of_memcpy_fresh": {"median": median, "ci_low": low, "ci_high": high}}


def cell(codec: str, version: int, model: str, **more: object) -> dict[str, Any]:
    return {
        "codec": {"name": codec, "version": version, "level": 3},
        "model": {"name": model, "revision": f"sha256:{model}", "dtype": None},
        "granularity": {"kind": "tensor"}, "workload": {"kind": "single"}, "dedup": False,
        "measure": {"name": "timing"}, "eval": {"mode": "lm_eval"}, **more,
    }  # fmt: skip


def result(
    size: int = 1000,
    encode: float = 0.5,
    decode: float = 1.0,
    accuracy: tuple[float, float] | None = None,
    spread: float | None = 0.01,
) -> dict[str, Any]:
    interval = None if accuracy is None else {"low": accuracy[0] - accuracy[1], "high": sum(accuracy)}
    task = {"task": "t", "metric": "acc", "higher_is_better": True}
    found = [] if accuracy is None else [{**task, "difference": accuracy[0], "interval": interval}]
    return {
        "sizes": {"stored_bytes": size},
        "speed": {
            "encode": speed(encode, spread), "decode": speed(decode, spread), "single_round": spread is None,
        },
        "error": {"bit_exact": accuracy is None},
        "evaluation": {"changes": found},
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(folder: str, what: dict[str, Any], values: dict[str, Any] | None = None, **more: Any) -> Path:
        row = Row(identity(what), what, more.pop("status", Status.OK), result=values or {}, **more)
        Store(tmp_path / folder).put(row)
        return tmp_path / folder

    return put


@pytest.fixture
def sides(write: Write) -> tuple[str, str]:
    """Three models with version 1 of a codec in a, and with version 2 in b."""
    for model in ("m", "n", "o"):
        a = write("a", cell("elf", 1, model), result())
        b = write("b", cell("elf", 2, model), result(size=990, decode=1.2))
    return str(a), str(b)


def test_versions_are_paired_and_nothing_is_worse(
    sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(sides) == 0
    said = capsys.readouterr().out
    assert "3 pairs; 0 cells only in A, 0 only in B" in said
    assert "6 improvements" in said  # size and decode
    assert "regression" not in said
    assert main(sides[::-1]) == 1
    assert "6 regressions" in capsys.readouterr().out
    assert main([*sides[::-1], "--threshold", "0.3", "--size-threshold", "0.02"]) == 0


@pytest.mark.parametrize(
    ("before", "after", "measure", "verdict"),
    [
        (result(), result(size=1001), "size", "same"),
        (result(), result(size=1002), "size", "regression"),
        (result(), result(encode=0.47), "encode", "regression"),
        (result(), result(encode=0.48), "encode", "same"),
        (result(), result(encode=0.30, spread=0.9), "encode", "same"),  # the interval holds no change
        (result(), result(encode=0.30, spread=None), "encode", "not judged"),
        (result(accuracy=(0.0, 0.01)), result(accuracy=(-0.02, 0.01)), "t acc", "regression"),
        (result(accuracy=(0.0, 0.01)), result(accuracy=(-0.01, 0.01)), "t acc", "same"),
        (result(), result(accuracy=(-0.02, 0.01)), "t acc", "regression"),  # A is bit-exact
        (result(accuracy=(-0.02, 0.01)), result(), "t acc", "improvement"),
    ],
)
def test_what_counts(
    write: Write, before: dict[str, Any], after: dict[str, Any], measure: str, verdict: str, tmp_path: Path
) -> None:
    a, b = write("a", cell("elf", 1, "m"), before), write("b", cell("elf", 1, "m"), after)
    code = main([str(a), str(b), "--format", "csv", "--out", str(tmp_path / "out.csv")])
    with (tmp_path / "out.csv").open() as file:
        (found,) = [line for line in csv.DictReader(file) if line["measure"] == measure]
    assert found["verdict"] == verdict
    assert code == (verdict == "regression")


def test_intervals_are_recovered_from_both() -> None:
    base = {"id": "x", "status": "ok", "result.sizes.stored_bytes": 10}
    share = "result.speed.encode.share_of_memcpy_fresh"
    a = {**base, f"{share}.median": 1.0, f"{share}.ci_low": 0.5, f"{share}.ci_high": 2.0}
    b = {**base, f"{share}.median": 3.0, f"{share}.ci_low": 3.0, f"{share}.ci_high": 3.0}
    (_, found) = changes(Pair(a, b), Thresholds())
    assert (found.change, found.low, found.high) == pytest.approx((3.0, 1.5, 6.0))
    (_, again) = changes(Pair(a, a), Thresholds())
    assert (again.low, again.high) == pytest.approx((0.5**2**0.5, 2**2**0.5))


def test_the_interval_over_pairs_covers(sides: tuple[str, str]) -> None:
    """Of 200 draws of 30 ratios about 1.1, some 95 % of the bootstrap's intervals hold 1.1."""
    rng = np.random.default_rng(3)
    empty = dict.fromkeys(("codec", "model", "dtype", "granularity", "workload", "options", "note"), "")
    held = 0
    for _ in range(200):
        ratios = np.exp(rng.normal(np.log(1.1), 0.2, 30))
        found = [
            Change(**empty, measure="encode", a=1, b=r, change=r, low=None, high=None, verdict="same",
                   id_a="", id_b="")
            for r in ratios
        ]  # fmt: skip
        (mean,) = overall(found[:30])
        assert mean.low is not None
        assert mean.high is not None
        held += mean.low <= 1.1 <= mean.high
    assert 175 <= held <= 198


def test_a_cell_that_is_lost_is_a_regression(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a", cell("elf", 1, "m"), result())
    write("a", cell("elf", 1, "n"), status=Status.FAILED)
    b = write("b", cell("elf", 1, "m"), status=Status.VIOLATED, reason="not bit-exact")
    write("b", cell("elf", 1, "n"), result())
    assert main([str(a), str(b)]) == 1
    assert "violated: not bit-exact" in capsys.readouterr().out


def test_selections_of_one_store(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    for codec, size in (("elf", 900), ("zstd", 1000)):
        for model in ("m", "n"):
            root = write("a", cell(codec, 1, model), result(size=size))
    build_table(root)
    for store in (str(root), str(root / "cells.parquet")):
        one, other = f"{store}@cell.codec.name=zstd", f"{store}@cell.codec.name=elf,cell.model.name=n"
        assert main([one, other]) == 0
        said = capsys.readouterr().out
        assert "1 pairs; 1 cells only in A, 0 only in B" in said
        assert "zstd → elf on n" in said
    # Rows that a pair cannot tell apart are named, not averaged.
    write("a", cell("elf", 2, "n"), result(size=1))
    assert main([str(root), str(root)]) == 2
    assert "cell.codec.version" in capsys.readouterr().err


def test_ignored_columns_pair_what_differs(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a", cell("elf", 1, "m", measure={"name": "timing"}), result())
    b = write("b", cell("elf", 1, "m", measure={"name": "paper"}), result())
    assert main([str(a), str(b)]) == 2
    assert "no cell is in both" in capsys.readouterr().err
    assert main([str(a), str(b), "--ignore", "cell.measure"]) == 0


def test_wrong_input_is_one_line_and_code_2(
    sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("no table")
    (tmp_path / "empty").mkdir()
    for arguments, word in (
        ([sides[0], "nowhere"], "there is no nowhere"),
        ([sides[0], str(tmp_path / "text")], "no Parquet file"),
        ([sides[0], str(tmp_path / "empty")], "is empty"),
        ([f"{sides[0]}@cell.codec.nme=elf", sides[1]], "did you mean cell.codec.name"),
        ([f"{sides[0]}@cell.codec.name", sides[1]], "after @"),
        ([f"{sides[0]}@cell.codec.name=zip", sides[1]], "none of 3 rows"),
        ([*sides, "--format", "parquet"], "--out"),
        ([*sides, "--out", "x"], "--format"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert word in line
    for bad in ([sides[0]], [*sides, "--threshold", "2"], [*sides, "--format", "xml"]):
        with pytest.raises(SystemExit) as caught:
            main(bad)
        assert caught.value.code == 2


def test_the_formats(write: Write, tmp_path: Path) -> None:
    a = write("a", cell("elf", 1, "a_b|c&d"), result())
    b = write("b", cell("zstd", 1, "a_b|c&d"), result(size=1100))
    sides = [f"{a}@cell.codec.name=elf", f"{b}@cell.codec.name=zstd"]
    out = tmp_path / "out"
    for name in ("csv", "parquet", "latex", "markdown"):
        assert main([*sides, "--format", name, "--out", str(out)]) == 1
        if name == "parquet":
            table = pq.read_table(out).to_pylist()
            assert [row["measure"] for row in table] == ["size", "encode", "decode"]
            assert table[0]["change"] == pytest.approx(1.1)
            assert table[0]["codec"] == "elf → zstd"
            continue
        text = out.read_text()
        assert "regression" in text
        if name == "csv":
            (first, *_) = csv.DictReader(text.splitlines())
            assert json.loads(first["options"]) == {"level": 3}
        elif name == "markdown":
            assert {line.replace(r"\|", "").count("|") for line in text.splitlines()} == {11}
        else:
            assert (
                r"elf $\to$ zstd & a\_b|c\&d & tensor & size & 1000 & 1100 & 1.1 &  &  & regression \\"
                in text
            )


def test_latex_compiles(write: Write, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    import subprocess

    a = write("a", cell("elf", 1, "a_b^~\\{}$%#&"), result())
    main([str(a), str(a), "--format", "latex", "--out", str(tmp_path / "t.tex")])
    text = (tmp_path / "t.tex").read_text()
    (tmp_path / "d.tex").write_text(f"\\documentclass{{article}}\\begin{{document}}{text}\\end{{document}}")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "d.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


def test_mlflow_gets_means_and_changes(
    sides: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "store").as_uri()
    assert main([*sides, "--mlflow", uri]) == 0
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("weightbench")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["size.mean"] == pytest.approx(0.99)
    assert run.data.metrics["regressions"] == 0
    assert run.data.params["speed"] == "0.05"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["changes.csv"]
    assert main([*sides, "--mlflow", "odd://"]) == 2


def test_without_mlflow_it_says_what_to_install(
    sides: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == "mlflow":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    assert main([*sides, "--mlflow", "file:x"]) == 2
    assert "pip install -c constraints.txt -e '.[mlflow]'" in capsys.readouterr().err
