"""The benchmark command: what it stores is complete and consistent, and its page renders."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weightcodecs import get_codec

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FIELDS = {
    *("family", "case", "contestant", "role", "options", "threads", "dtype", "elements", "raw_bytes"),
    *("coded_bytes", "payload_bytes", "ratio", "bits", "rounds", "encode_seconds", "decode_seconds"),
    *("encode_mb_s", "decode_mb_s", "against", "targets"),
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/codecs.py, where the packages of the extra are missing; sys.path is put back afterwards."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for package in ("zipnn", "openzl", "openzl.ext"):
        monkeypatch.setitem(sys.modules, package, None)
    spec = importlib.util.spec_from_file_location("benchmark_codecs", BENCHMARKS / "codecs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quick_run(command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored, page = tmp_path / "rows.json", tmp_path / "page.md"
    arguments = ["--quick", "--only", "zipnn,adapters", "--rounds", "2", "--store", str(stored)]
    assert command.main([*arguments, "--markdown", str(page)]) == 0
    printed = capsys.readouterr().out
    record = json.loads(stored.read_text())
    assert record["quick"]
    assert record["date"]
    assert record["environment"]["libraries"]["numpy"]
    rows = record["rows"]

    skipped = [row for row in rows if "skipped" in row]
    assert {row["contestant"] for row in skipped} == {
        "zipnn official",
        "openzl huffman",
        "openzl fse",
        "openzl generic",
    }
    assert all("pip install" in row["skipped"] for row in skipped)
    measured = [row for row in rows if "skipped" not in row]
    assert {row["threads"] for row in measured} == {1, 2}
    for row in measured:
        assert set(row) == FIELDS
        assert len(row["encode_seconds"]) == len(row["decode_seconds"]) == row["rounds"] == 2
        assert row["role"] == "memcpy" or row["ratio"] == row["raw_bytes"] / row["coded_bytes"]
        for side in row["against"].values():
            assert side["decode"]["q1"] <= side["decode"]["median"] <= side["decode"]["q3"]
    arrays = {case.name: case.values for case in command.FAMILIES["zipnn"](command.Scale(quick=True))}
    for row in measured:
        if row["family"] == "zipnn" and row["role"] == "ours":
            assert len(get_codec("zipnn", **row["options"]).encode(arrays[row["case"]])) == row["coded_bytes"]

    targets = [one for row in measured for one in row["targets"]]
    assert any("zstd library 3" in one["target"] for one in targets)
    for one in targets:
        limit = float(one["target"].split()[-1])
        assert one["met"] == (one["value"] <= limit if "<=" in one["target"] else one["value"] >= limit)
    text = page.read_text()
    assert text.startswith("<!-- generated")
    assert "Generated: do not edit" in text
    assert "skipped: " in text
    assert all(f"**{row['family']}, {row['case']} (" in text for row in measured)
    assert f"targets: {sum(one['met'] for one in targets)} of {len(targets)} met" in printed

    again = tmp_path / "again.md"
    assert command.main(["--from", str(stored), "--markdown", str(again)]) == 0
    assert again.read_text() == text


def test_sizes_beside_recorded_ones(command: ModuleType) -> None:
    """A case with the recorded size of an official program, at its full size."""
    import cases  # type: ignore[import-not-found]
    from rounds import Plan, measure  # type: ignore[import-not-found]

    vector = next(one for one in cases.vectors("fm_delta") if one["n"] == 20000)
    base, values = cases.fine_tuned(vector, vector["n"])
    stored = {"FM-Delta recorded": vector["size"]}
    case = cases.line_up("special", values, cases.delta((1,), base, stored=True), stored)
    rows = {row["contestant"]: row for row in measure(case, Plan(1, 1))}
    paper: dict[str, Any] = rows["fm_delta paper"]
    assert paper["against"]["FM-Delta recorded"]["payload"] == 1.0
    assert rows["fm_delta 8"]["against"]["FM-Delta recorded"]["size"] < 1
    judged = command.judge({"family": "vectors", **paper})
    assert [one["met"] for one in judged if "payload" in one["target"]] == [True]


def test_a_wrong_round_trip_is_refused(command: ModuleType) -> None:
    import cases
    from contestants import library  # type: ignore[import-not-found]
    from rounds import Plan, measure

    case = cases.line_up("bad", cases.gaussian(64), [library("half", bytes, lambda data: data[:128])])
    with pytest.raises(RuntimeError, match="half: the round trip broke its promise"):
        measure(case, Plan(1, 1))


def test_another_page_is_not_overwritten(command: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# By hand\n")
    with pytest.raises(FileExistsError, match="not written by this command"):
        command.write_page(page, {})
    assert page.read_text() == "# By hand\n"


def test_unknown_family(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "zipn"])
    assert "there are zipnn, pairs" in capsys.readouterr().err
