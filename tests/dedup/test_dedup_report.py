"""What is there more than once, at every level, against a plain count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from weightbench.dedup import DedupReport, dedup_report, projected_metadata_bytes
from weightbench.dedup.contents import Contents
from weightbench.granularity import Granularity, units
from weightbench.models import Model
from weightbench.study.__main__ import main

LEVELS = [
    Granularity("model"),
    Granularity("layer"),
    Granularity("tensor"),
    Granularity("chunk", 64),
    Granularity("chunk", 256),
    Granularity("chunk", 256, "content"),
]


@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_counts_are_the_plain_ones(level: Granularity, model: Model) -> None:
    models = [model, model]
    seen: dict[tuple[str, bytes], int] = {}
    pieces = 0
    for each in models:
        for unit in units(each, level):
            pieces += 1
            seen[unit.format, unit.values().tobytes()] = unit.nbytes
    report = dedup_report(models, level)
    assert (report.units, report.entries, report.unique_bytes) == (pieces, len(seen), sum(seen.values()))
    assert report.raw_bytes == 2 * sum(info.nbytes for info in model.tensors.values())
    assert report.collisions == 0
    assert report.ratio == report.raw_bytes / report.unique_bytes >= 2
    assert report.metadata_bytes == 64 * report.entries
    assert report.counted_ratio < report.ratio
    assert report.projected == projected_metadata_bytes(report.entries, report.raw_bytes)
    assert json.loads(json.dumps(report.plain()))["level"] == report.level


def test_parameters(model: Model) -> None:
    distinct: dict[str, set[int]] = {}
    for name, info in model.tensors.items():
        values = np.ascontiguousarray(model.read(name)).reshape(-1)
        patterns = values.view(f"u{values.itemsize}").tolist()
        distinct.setdefault(info.format, set()).update(patterns)
    report = dedup_report([model], Granularity("parameter"))
    assert report.entries == sum(len(found) for found in distinct.values())
    assert report.units == sum(int(np.prod(info.shape)) for info in model.tensors.values())
    assert report.raw_bytes == sum(info.nbytes for info in model.tensors.values())


def test_files(model: Model) -> None:
    report = dedup_report([model, model], "file")
    assert (report.units, report.entries) == (2 * len(model.files), len(model.files))
    assert report.raw_bytes == 2 * model.nbytes == 2 * report.unique_bytes
    with pytest.raises(ValueError, match="file"):
        dedup_report([model], "files")


def test_equal_hashes_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxhash.xxh3_128_digest", lambda data: b"same")
    held = [b"one", b"two", b"three"]
    contents = Contents(lambda place: memoryview(held[place[0]]), 1)
    assert [contents.find_or_add(b"k", memoryview(data), (i,)) for i, data in enumerate(held)] == [None] * 3
    assert [contents.find_or_add(b"k", memoryview(data), (9,)) for data in held] == [0, 1, 2]
    assert contents.find_or_add(b"other", memoryview(b"one"), (0,)) is None
    assert (contents.entries, contents.collisions) == (4, 3 + 3)
    assert contents.place(1) == (1,)


def test_the_projection_of_the_paper() -> None:
    """ZipLLM: 923,384 tensors and 520,551,953 chunks of 43.19 TB, for a hub of 17 PB."""
    assert projected_metadata_bytes(923_384, 43_190_000_000_000) == pytest.approx(22.2e9, rel=0.06)
    assert projected_metadata_bytes(520_551_953, 43_190_000_000_000) == pytest.approx(12.5e12, rel=0.06)
    assert DedupReport("none", 0, 0, 0, 0, 0, 0.0).ratio == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--levels", "file,tensor", "--fixed", "64K", "--content", "none", "--similar", "none"]
    assert main(["llama", "llama", *small, "--json", str(tmp_path / "study.json")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert said[2].split()[:4] == ["tensor", "76", "38", "2"]
    rows = json.loads((tmp_path / "study.json").read_text())
    assert [row["level"] for row in rows["dedup"]] == ["file", "tensor", "chunk fixed 65536"]
    assert main(["lama"]) == 2
    assert "lama" in capsys.readouterr().err
    assert main(["llama", *small, "--fixed", "3"]) == 2
    assert "chunk_bytes" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said_before_anything_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["llama", "--json", str(tmp_path / "none" / "study.json")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "--json" in said.err
