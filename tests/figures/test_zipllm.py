"""Figures after ZipLLM: what they plot is what the rows say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipllm import SHEETS

RAW = 1000
NAMES = ("base", "tuned", "alien")


def row(name: str, stored: int, **more: Any) -> dict[str, Any]:
    """Return a row of a hub of three models, as frames have them."""
    granularity = more.pop("granularity", "tensor")
    threads = more.pop("threads", 1)
    third = stored // 3
    models = [
        {"name": model, "base": base, "raw_bytes": size, "added_bytes": added}
        for model, base, size, added in zip(
            NAMES, (None, "base", None), (400, 400, 200), (stored - 2 * third, third, third), strict=True
        )
    ]
    speeds = {
        f"result.speed.{way}.mb_per_s.{end}": speed * factor * threads
        for way, speed in (("encode", 100.0), ("decode", 300.0))
        for end, factor in (("median", 1.0), ("ci_low", 0.9), ("ci_high", 1.2))
    }
    return {
        "id": f"{name}-{granularity}-{threads}-{stored}", "status": "ok", "store": "", "finished": "2026",
        "cell.codec.name": name, "cell.codec.version": 1, "cell.model.name": "base",
        "cell.model.dtype": "bfloat16", "cell.workload.kind": "hub", "cell.workload.lineage": "distance",
        "cell.granularity.kind": granularity.split(" ")[0], "cell.dedup": name in ("dedup", "zipllm"),
        "cell.measure.threads": threads, "system": name, "label": more.pop("label", name),
        "model": "base", "dtype": "bfloat16", "workload": "hub", "granularity": granularity,
        "cell.granularity.named": granularity, "rounds": 6, "environment.cpu.usable_cores": 2,
        "result.model.models": 3, "result.model.parameters": 400,
        "result.sizes.raw_bytes": RAW, "result.sizes.stored_bytes": stored,
        "result.sizes.payload_bytes": 600, "ratio": RAW / stored,
        "result.speed.memcpy_fresh.mb_per_s.median": 5000.0, **speeds,
        "result.workload.ingest.mb_per_s": 10.0, "result.workload.restore.mb_per_s": 20.0,
        "result.workload.dedup.entries": 10, "result.workload.dedup.unique_bytes": 700,
        "result.workload.dedup.bytes": 800, "result.workload.dedup.metadata_bytes": 50,
        "result.workload.dedup.projected_metadata_bytes": 64 * 10 * 17e12,
        "result.workload.models": json.dumps(models),
        "result.workload.distances": json.dumps([["base", "tuned", 1.5], ["base", "alien", 5.0]]),
        "result.workload.thresholds": json.dumps([["base", "tuned", 4.0], ["base", "alien", 4.5]]),
        **more,
    }  # fmt: skip


FLIPS = [2, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]
DELTAS = [{"model": "tuned", "base": "base", "formats": {"bfloat16": {"values": 20, "flips": FLIPS}}}]


@pytest.fixture(scope="module")
def rows() -> Rows:
    family = row("identity", 1000, workload="family") | {
        "id": "family", "cell.workload.kind": "family", "cell.distributions": True,
        "result.distributions.deltas": json.dumps(DELTAS),
    }  # fmt: skip
    return Rows(
        pandas.DataFrame(
            [
                row("dedup", 900),
                row("dedup", 999, granularity="model"),
                row("dedup", 950, granularity="content 65536"),
                row("dedup", 1200, granularity="parameter"),
                row("zstd", 800),
                row("zstd", 800, threads=2),
                row("zstd", 700, granularity="layer"),
                row("zipllm", 450),
                row("zipllm", 430, label="zipllm (delta=fm_delta)", **{"cell.codec.delta": "fm_delta"}),
                row("zipllm", 450, threads=2),
                family,
            ]
        )
    )


def sheet(name: str) -> Sheet:
    return next(found for found in SHEETS if found.name == name)


def ours(name: str, rows: Rows) -> pandas.DataFrame:
    data = sheet(name).data(rows)
    return data[data["source"] == "ours"]


def test_throughput_is_of_one_thread_and_the_default_units(rows: Rows) -> None:
    data = ours("throughput", rows)
    assert set(data["cell"]) == {
        "dedup-tensor-1-900", "dedup-content 65536-1-950", "zstd-tensor-1-800",
        "zipllm-tensor-1-450", "zipllm-tensor-1-430",
    }  # fmt: skip
    line = data[(data["series"] == "zstd") & (data["panel"] == "encode")].iloc[0]
    assert (line["x"], line["value"], line["low"], line["high"]) == pytest.approx((20, 100, 90, 120))
    whole = data[(data["series"] == "dedup (tensor)")].set_index("panel")["value"]
    assert whole.to_dict() == {"ingest": 10, "restore": 20}, "dedup has no coder to time in memory"


def test_threads_are_of_systems_with_two_numbers_of_them(rows: Rows) -> None:
    data = ours("threads", rows)
    assert set(data["series"]) == {"zstd", "zipllm"}
    encode = data[(data["series"] == "zstd") & (data["panel"] == "encode")]
    assert dict(zip(encode["threads"], encode["value"], strict=True)) == {1: 100, 2: 200}


def test_flips_are_shares_from_the_sign_down(rows: Rows) -> None:
    data = ours("bit_flips", rows)
    assert dict(zip(data["x"], data["value"], strict=True)) == pytest.approx(
        {15 - place: count / 20 for place, count in enumerate(FLIPS)}
    )
    assert data["field"].tolist() == ["sign", *["exponent"] * 8, *["mantissa"] * 7]
    paper = published("zipllm", "bit_flips")
    assert paper["value"].sum() == pytest.approx(3.70, abs=0.01)  # the bit distance of that pair


def test_distances_of_all_pairs_and_what_was_not_compared(rows: Rows) -> None:
    data = ours("bit_distances", rows)
    assert data["series"].tolist() == ["base", "base", "tuned"]
    assert data["x"].tolist() == ["tuned", "alien", "alien"]
    assert data["value"].tolist() == pytest.approx([1.5, 5.0, np.nan], nan_ok=True)
    assert data["threshold"].tolist() == pytest.approx([4.0, 4.5, np.nan], nan_ok=True)
    assert data["base_of_series"].tolist() == ["base", "base", "base"]
    assert data["base_of_x"].tolist() == ["base", "alien", "alien"]


def test_levels_of_dedup(rows: Rows) -> None:
    data = ours("dedup_levels", rows).set_index(["series", "x"])["value"]
    assert {level for level, _ in data.index} == {"file", "tensor", "chunk", "parameter"}
    assert data[("tensor", "hashes")] == 10
    assert data[("tensor", "average_bytes")] == 70
    assert data[("tensor", "reduction")] == pytest.approx(12.5)
    assert data[("tensor", "reduction_counted")] == pytest.approx(10)
    # 800 bytes are 400 values of 2 bytes, and 600 of payload are 300 different ones.
    assert data[("parameter", "hashes")] == 300
    assert data[("parameter", "average_bytes")] == 2
    assert data[("parameter", "reduction")] == pytest.approx(25)
    assert data[("parameter", "projected_bytes")] == pytest.approx(64 * 300 * 17e12)


def test_published_projections_follow_from_their_hashes() -> None:
    table = published("zipllm", "dedup_levels")
    known = table.set_index(["series", "x"])["value"].astype(float).to_dict()
    for level in ("tensor", "chunk"):
        hashes, projected = (
            known[level, f"{what}|3,048 repositories, 43 TB"] for what in ("hashes", "projected_bytes")
        )
        assert hashes * 64 * 17e15 / 43.19e12 == pytest.approx(projected, rel=0.06)
    raw = 74.79 * 2**30
    for level in ("file", "layer", "tensor", "chunk"):
        case = "its artifact, 5 models, 80 GB"
        hashes, projected = known[level, f"hashes|{case}"], known[level, f"projected_bytes|{case}"]
        assert hashes * 64 * 17e15 / raw == pytest.approx(projected, rel=0.06)


def test_growth_adds_models_up(rows: Rows) -> None:
    data = ours("growth", rows)
    line = data[data["series"] == "zipllm"].sort_values("x")
    assert line["value"].tolist() == pytest.approx(
        [100 * (1 - part) for part in (150 / 400, 300 / 800, 0.45)]
    )
    assert line["model"].tolist() == list(NAMES)
    assert "zipllm (delta=fm_delta)" in set(data["series"])


def test_steps_of_hubs_that_have_all(rows: Rows) -> None:
    assert sorted(ours("steps", rows)["value"]) == pytest.approx([0.1, 10, 55])
    without = Rows(rows.cells[rows.cells["system"] != "zipllm"])
    with pytest.raises(NoRowsError):
        sheet("steps").data(without)


@pytest.mark.parametrize("found", SHEETS, ids=lambda found: found.name)
def test_sheets_are_drawn_with_labels_and_say_what_is_missing(found: Sheet, rows: Rows) -> None:
    figure = found.figure(rows)
    assert isinstance(figure, Figure)
    assert all(
        axes.get_xlabel() or axes.get_ylabel() or not axes.axison or axes.images for axes in figure.axes
    )
    pyplot.close(figure)
    with pytest.raises(NoRowsError):
        found.data(Rows(rows.cells.iloc[:0]))
