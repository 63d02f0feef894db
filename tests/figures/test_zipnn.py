"""ZipNN's figures: what they plot is what the rows say, told apart from what the papers say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas
import pytest

from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn import SHEETS

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend

NAMED = {sheet.name: sheet for sheet in SHEETS}
ALONE = "zipnn (entropy=zstd, paper)"
PUBLISHED = "zipnn (entropy=huffman, paper)"
_numbers = iter(range(1_000_000))


def line(label: str, ratio: float, dtype: str = "float32", **columns: Any) -> dict[str, Any]:
    """Return what a row of one codec on one model has of the columns that figures read."""
    plain = {
        "id": f"{next(_numbers):064x}", "store": "", "status": "ok", "finished": "", "rounds": 1.0,
        "label": label, "system": label.split(" ")[0], "model": "tiny", "dtype": dtype,
        "workload": "single", "granularity": "tensor", "ratio": ratio,
        "cell.codec.version": 1, "cell.codec.label": label, "cell.model.name": "tiny",
        "cell.model.dtype": dtype, "cell.dedup": False, "cell.distributions": None,
        "cell.measure.threads": 1, "result.sizes.raw_bytes": 3e6, "result.sizes.stored_bytes": 3e6 / ratio,
    }  # fmt: skip
    return plain | columns


def timing(encode: float, decode: float, memcpy: float = 4000.0) -> dict[str, Any]:
    """Return columns of speeds, MB/s, with intervals of ±10 %."""
    found: dict[str, Any] = {"rounds": 6.0}
    for way, speed in (("encode", encode), ("decode", decode), ("memcpy_fresh", memcpy)):
        ends = {"median": speed, "ci_low": 0.9 * speed, "ci_high": 1.1 * speed}
        found |= {f"result.speed.{way}.mb_per_s.{end}": value for end, value in ends.items()}
        found[f"result.speed.{way}.share_of_memcpy_fresh.median"] = speed / memcpy
    return found


def distribution(dtype: str) -> dict[str, Any]:
    """Return a row of distributions: four exponents, eight weights."""
    bits = 7 if dtype == "bfloat16" else 10
    said = {
        "values": 8.0, "exponent.bits": 8.0, "exponent.first": 120.0, "exponent.counts": "[1,4,2,1]",
        "exponent.distinct": 4.0, "exponent.share_of_12": 1.0, "exponent.huffman": 1.75,
        "sign_mantissa.bits": 8.0, "sign_mantissa.huffman": 7.0, "bytes.huffman": 6.0,
        "mantissa": json.dumps([{"bits": bits, "huffman": 6.5}]),
        "planes": json.dumps([{"bits": 8, "huffman": 2.0}, {"bits": 8, "huffman": 7.0}]),
    }  # fmt: skip
    prefix = f"result.distributions.values.{dtype}"
    columns = {f"{prefix}.{name}": value for name, value in said.items()}
    return line("identity", 1.0, dtype) | columns | {"cell.distributions": True}


def evaluated(factor: int, ratio: float, gain: float) -> dict[str, Any]:
    """Return a row of the lossy codec; ``gain`` is what a row says: log-likelihood after minus before."""
    change = {"task": "choice", "metric": "acc", "after": 0.5, "before": 0.52,
              "interval": {"low": -0.05, "high": 0.01}}  # fmt: skip
    columns = {
        "cell.codec.factor": factor,
        "result.evaluation.changes": json.dumps([change, change | {"metric": "acc_norm", "after": 0.9}]),
        "result.evaluation.likelihood.difference": gain,
        "result.evaluation.likelihood.interval.low": gain - 1,
        "result.evaluation.likelihood.interval.high": gain + 2,
    }
    return line(f"zipnn_lossy (factor={factor})", ratio) | columns


def family(label: str, models: list[tuple[str, str | None, int]]) -> dict[str, Any]:
    """Return a row of a family: name, base and added bytes of each model of 1000 bytes."""
    told = [{"name": n, "base": b, "added_bytes": a, "raw_bytes": 1000} for n, b, a in models]
    columns = {"workload": "family", "result.workload.models": json.dumps(told)}
    return line(label, 1.5) | columns | {"cell.workload.members": json.dumps([m[0] for m in models])}


@pytest.fixture(scope="module")
def rows() -> Rows:
    return Rows(
        pandas.DataFrame(
            [
                line("zstd", 1.1, **timing(200, 800)),
                line("zipnn", 1.25, **timing(500, 1000)),
                line("zipnn_official", 1.2, **timing(300, 400, 5000.0)),
                line(ALONE, 1.15, **timing(100, 500)),
                line(PUBLISHED, 1.2, **timing(150, 600)),
                line("openzl", 1.2, "bfloat16", **timing(250, 700)),
                line("zipnn", 1.5, "bfloat16", **timing(600, 900)),
                distribution("float32"),
                distribution("float16"),
                evaluated(8, 4.0, -0.1),
                evaluated(16, 2.0, 0.0),
                family("zipnn_delta", [("run/step_00050", "llama", 400), ("llama", None, 800)]),
                family("zipnn_delta", [("run/step_00100", "run/step_00050", 200), ("llama", None, 7)]),
                family("zipnn", [("run/step_00050", "llama", 810)]),
            ]
        )
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    yield
    pyplot.close("all")


def ours(name: str, rows: Rows, **wanted: Any) -> pandas.DataFrame:
    data = NAMED[name].data(rows)
    data = data[data["source"] == "ours"]
    for column, value in wanted.items():
        data = data[data[column] == value]
    return data


@pytest.mark.parametrize("sheet", SHEETS, ids=NAMED)
def test_is_drawn_with_units_and_says_what_is_the_papers(sheet: Sheet, rows: Rows) -> None:
    figure = sheet.figure(rows)
    labels = " ".join(label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()))
    assert any(unit in labels for unit in ("%", "MB/s", "PB", "share"))
    data = sheet.data(rows)
    papers = data[data["source"] == "paper"]
    assert not papers.empty
    assert (papers["where"].str.contains(r"24(?:04\.15198|11\.05239)")).all()
    assert data.loc[data["source"] == "ours", "value"].notna().all()


@pytest.mark.parametrize("sheet", SHEETS, ids=NAMED)
def test_names_what_is_missing(sheet: Sheet, rows: Rows) -> None:
    with pytest.raises(NoRowsError, match=r"no (row|checkpoint)"):
        sheet.data(Rows(rows.cells[rows.cells["system"] == "elf"]))


def test_exponents_are_shares_on_one_scale(rows: Rows) -> None:
    shares = ours("exponents", rows, quantity="share", dtype="float32")
    assert shares.set_index("x")["value"].to_dict() == {120: 1 / 8, 121: 4 / 8, 122: 2 / 8, 123: 1 / 8}
    narrow = ours("exponents", rows, quantity="share", dtype="float16")
    assert narrow["x"].min() == 120 - 15 + 127


def test_groups_of_a_format_whose_exponent_fills_no_byte_are_its_planes(rows: Rows) -> None:
    data = ours("byte_groups", rows)
    found = data.set_index(["series", "x", "group"])["value"]
    assert found["exponent extraction", "tiny float32", "1"] == pytest.approx(100 * 1.75 / 8)
    assert found["exponent extraction", "tiny float32", "all"] == pytest.approx(100 * 8.75 / 16)
    for series in ("exponent extraction", "byte grouping"):
        assert found[series, "tiny float16", "1"] == 25
    assert found["byte grouping", "tiny float32", "all"] == pytest.approx(100 * 9 / 16)


def test_remaining_is_stored_over_raw(rows: Rows) -> None:
    found = ours("remaining", rows).set_index(["x", "series"])["value"]
    assert found["tiny float32", "zipnn"] == pytest.approx(80)
    assert found["tiny bfloat16", "zipnn"] == pytest.approx(100 / 1.5)
    assert ("tiny float32", ALONE) not in found.index


def test_ablation_marks_what_is_estimated_and_wants_all_parts(rows: Rows) -> None:
    found = ours("ablation", rows)
    assert set(found["x"]) == {"tiny float32"}  # bfloat16 lacks the published ones
    estimated = found[found["estimated"].astype(bool)]
    assert estimated["value"].tolist() == [75.0]
    assert "estimated" in estimated["series"].iloc[0]


def test_speeds_stand_beside_the_memcpy_in_the_middle(rows: Rows) -> None:
    found = ours("speed", rows, x="tiny float32", quantity="decode").set_index("series")
    drawn = found[["value", "low", "high"]].to_numpy(np.float64)[found.index.get_loc("zipnn (ours)")]
    assert drawn == pytest.approx([1000, 900, 1100])
    assert found.loc["memcpy", "value"] == 4000
    assert found.loc["zipnn (ours)", "share_of_memcpy"] == pytest.approx(0.25)
    once = Rows(rows.cells.assign(rounds=1.0))
    with pytest.raises(NoRowsError, match="measure=timing"):
        NAMED["speed"].data(once)


def test_loss_is_what_rows_call_difference_turned_over(rows: Rows) -> None:
    data = ours("lossy", rows)
    loss = data[(data["quantity"] == "loss") & (data["x"] == 8)].iloc[0]
    assert loss[["low", "value", "high"]].tolist() == pytest.approx([-1.9, 0.1, 1.1])
    accuracy = data[(data["quantity"] == "accuracy") & (data["x"] == 8)]
    assert accuracy[["value", "before", "low", "high"]].to_numpy()[0] == pytest.approx([50, 52, 47, 53])
    assert len(accuracy) == 1
    assert data.loc[data["quantity"] == "lossless", "value"].tolist() == [80.0]
    assert set(data["series"]) == {"tiny float32"}


def test_checkpoints_are_told_apart_by_what_they_are_coded_against(rows: Rows) -> None:
    found = ours("delta_epochs", rows).set_index(["series", "x"])["value"]
    assert found["delta with the base", 50] == 40
    assert found["delta with the checkpoint before", 100] == 20
    assert found["alone", 50] == 81
    assert len(found) == 3
    assert set(ours("delta_epochs", rows)["run"]) == {"run"}


def test_times_over_a_network_are_bytes_and_speeds(rows: Rows) -> None:
    data = ours("transfer", rows, series="zipnn", dtype="float32", way="download")
    at = data[(data["x"] == 125) & (data["quantity"] == "time")].set_index("overlapped")["value"]
    raw_seconds = 1 / 125
    assert at[False] == pytest.approx(100 * (0.8 / 125 + 1 / 1000) / raw_seconds)
    assert at[True] == pytest.approx(80)
    even = float(data.loc[data["quantity"] == "break even", "value"].iloc[0])
    assert 0.8 / even + 1 / 1000 == pytest.approx(1 / even)


def test_traffic_is_the_papers_arithmetic(rows: Rows) -> None:
    data = ours("hub_traffic", rows)
    again = data[data["series"] == "computed again"].set_index("x")["value"]
    assert again["wav2vec float32"] == pytest.approx(1.26 * 63 * (1 - 0.852))
    assert again["saved by these 7, computed again"] == pytest.approx(69.8, abs=0.05)
    assert again["moved by these 7 models"] == pytest.approx(267, abs=0.5)
    assert again["1 EB a year"] == pytest.approx(45.7, abs=0.05)
    every = NAMED["hub_traffic"].data(rows)
    papers = every[(every["source"] == "paper") & (every["quantity"] == "saved")]
    printed = papers.set_index("x")["value"]
    np.testing.assert_allclose(again[printed.index], printed, atol=0.11)
    own = data[data["series"] == "at our ratio for the format"].set_index("x")["value"]
    assert own["BLOOM bfloat16"] == pytest.approx(328.2 * 0.278 / 3)
