"""Elves' sheets against computations of their own from handmade rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas
import pytest

from weightbench.figures import elves
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend

SHEETS = {sheet.name: sheet for sheet in elves.SHEETS}
RAW = 4_000_000
BOUND = 2.0**-24


def made(label: str, stored: int, **more: Any) -> dict[str, Any]:
    """Return a row as `read_cells` gives it; `more` are columns, with double underscores for dots."""
    system = label.split(" ")[0]
    row = {
        "status": "ok", "store": "", "finished": "2026", "rounds": 1, "system": system, "label": label,
        "model": "llama", "dtype": "float32", "workload": "single", "granularity": "tensor",
        "cell.codec.name": system, "cell.codec.version": 1, "cell.dedup": system == "elves",
        "cell.granularity.kind": "tensor", "cell.granularity.chunking": "fixed",
        "cell.granularity.chunk_bytes": 1 << 20, "cell.measure.threads": 1,
        "result.sizes.raw_bytes": RAW, "result.sizes.stored_bytes": stored, "ratio": RAW / stored,
        "bits": 32 * stored / RAW, "result.error.bit_exact": system in ("zstd", "identity", "dedup"),
    }  # fmt: skip
    row |= {key.replace("__", "."): value for key, value in more.items()}
    row |= {"cell.model.name": row["model"], "cell.model.dtype": row["dtype"]}
    row |= {"cell.workload.kind": row["workload"], "cell.granularity.name": row["granularity"]}
    options = {key: value for key, value in row.items() if key.startswith("cell.")}
    return row | {"id": json.dumps([label, options], default=str)}


def rows(*lines: dict[str, Any], tensors: pandas.DataFrame | None = None) -> Rows:
    return Rows(pandas.DataFrame(lines), (), [] if tensors is None else [tensors])


def drawn(sheet: Sheet, of: Rows) -> list[str]:
    """Return the labels of the axes of a figure, which is drawn wholly."""
    figure = sheet.figure(of)
    figure.canvas.draw()
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()) if label]
    pyplot.close(figure)
    return labels


@pytest.fixture
def compared() -> list[dict[str, Any]]:
    sz3 = {"cell__codec__error_bound_absolute": BOUND}
    return [
        made("zstd", 3_700_000),
        made("zstd", 3_600_000, model="minilm"),
        made("elf", 2_600_000),
        made("elf", 2_500_000, model="minilm"),
        made("elves", 2_590_000),
        made("elves", 2_490_000, model="minilm"),
        made("sz3 (error_bound_absolute=5.96046e-08)", 3_650_000, **sz3),
        made("sz3", 1_300_000, cell__codec__error_bound_absolute=1e-4),
        made("elf", 1_900_000, model="grid", result__model__note="dequantised from Q4_1"),
        made("zstd", 1_000_000, granularity="model"),
        made("cast", 2_000_000, cell__codec__to="bfloat16"),
        made("cast", 4_000_000, dtype="bfloat16", cell__codec__to="bfloat16"),
    ]


def test_overall_is_sum_over_sum_of_the_same_models(compared: list[dict[str, Any]]) -> None:
    data = SHEETS["overall"].data(
        rows(*compared, made("zlib", 3_800_000), made("zlib", 3_800_000, model="minilm"))
    )
    ours = data[(data["source"] == "ours") & (data["x"] == "overall")].set_index("series")["value"]
    assert ours["elf"] == pytest.approx(2 * RAW / 5_100_000)
    assert ours["zstd"] == pytest.approx(2 * RAW / 7_300_000)
    assert "sz3 (bound 2^-24)" not in ours.index, "it coded one model of two"
    assert "grid" not in set(data["model"])
    papers = data[data["source"] == "paper"].set_index("series")["value"]
    assert papers["elves"] == 1.52
    assert papers["zstd"] == pytest.approx(1.52 / 1.31, abs=1e-4)
    assert papers["sz3 (bound 2^-24)"] == pytest.approx(1.52 / 1.32, abs=1e-4)
    assert papers["quantisation (kind unknown)"] == pytest.approx(1.52 / 1.29, abs=1e-4)


def test_each_model_has_its_systems_once(compared: list[dict[str, Any]]) -> None:
    data = SHEETS["per_model"].data(rows(*compared))
    assert not data.duplicated(["x", "series"]).any()
    llama = data[data["x"] == "llama, float32"].set_index("series")["value"]
    assert llama["zstd"] == RAW / 3_700_000, "granularity tensor alone"
    assert llama["sz3 (bound 2^-24)"] == RAW / 3_650_000, "of all bounds Elf's"
    assert "llama, bfloat16" not in set(data["x"]), "a cast to the same width changes nothing"
    assert "ratio (raw / stored)" in drawn(SHEETS["per_model"], rows(*compared))


def test_distribution_takes_tensors_that_are_not_tiny(compared: list[dict[str, Any]]) -> None:
    elf = compared[2]["id"]
    tensors = pandas.DataFrame(
        {
            "id": elf, "index": [0, 1, 2], "key": ["a", "b", "norm"], "raw_bytes": [1 << 20, 1 << 20, 512],
            "stored_bytes": [1 << 19, 0, 900], "side_bytes": [0, 0, 0],
        }
    )  # fmt: skip
    of = rows(*compared, tensors=tensors)
    data = SHEETS["distribution"].data(of)
    single = data[data["panel"] == "tensors"]
    assert list(single["value"]) == [2.0]
    assert list(single["cell"]) == [elf]
    assert "share of tensors" in drawn(SHEETS["distribution"], of)


@pytest.fixture
def hub() -> list[dict[str, Any]]:
    def piece(codec: str, kind: str, payload: int, index: int, chunk: int = 1 << 20) -> dict[str, Any]:
        stored = payload + index + 100
        return made(
            codec, stored, workload="hub", granularity=f"fixed {chunk}" if kind == "chunk" else kind,
            cell__granularity__kind=kind, cell__granularity__chunk_bytes=chunk,
            result__sizes__payload_bytes=payload, result__sizes__literals_bytes=100,
            result__sizes__index_bytes=index,
        )  # fmt: skip

    return [
        piece("dedup", "tensor", 3_000_000, 1_000),
        piece("dedup", "chunk", 2_900_000, 4_000),
        piece("dedup", "chunk", 2_500_000, 400_000, 4096),
        piece("elf", "tensor", 2_600_000, 1_000),
    ]


def test_granularity_tells_the_index_apart(hub: list[dict[str, Any]]) -> None:
    data = SHEETS["granularity"].data(rows(*hub)).set_index(["series", "x"])["value"]
    assert data["dedup", "tensor"] == RAW / 3_001_100
    assert data["dedup (without its index)", "tensor"] == RAW / 3_000_100
    assert data["elf", "tensor"] == RAW / 2_601_100
    assert ("dedup", "chunk, 1 MiB") in data.index
    assert len(data) == 5, "chunks of other sizes stand in their own figure"
    assert drawn(SHEETS["granularity"], rows(*hub))


def test_chunks_are_ordered_by_size(hub: list[dict[str, Any]]) -> None:
    data = SHEETS["chunks"].data(rows(*hub))
    assert list(data.loc[data["series"] == "dedup (fixed)", "x"]) == [4096, 1 << 20]
    assert drawn(SHEETS["chunks"], rows(*hub))
    with pytest.raises(NoRowsError, match="more than one size"):
        SHEETS["chunks"].data(rows(*hub[:2]))


def test_errors_are_cumulative_and_end_at_the_largest(compared: list[dict[str, Any]]) -> None:
    histogram = {"zeros": 10, "first": -26, "counts": "[20, 30, 40]"}
    elf = made("elf", 2_600_000, result__error__max_abs_error=BOUND) | {
        f"result.error.histogram.{key}": value for key, value in histogram.items()
    }
    elf["result.error.bounds.float32.absolute"] = BOUND
    data = SHEETS["errors"].data(rows(elf))
    assert list(data["x"]) == [2.0**-26, 2.0**-25, 2.0**-24, BOUND]
    assert list(data["value"]) == [0.1, 0.3, 0.6, 1.0]
    assert drawn(SHEETS["errors"], rows(elf))
    with pytest.raises(NoRowsError):
        SHEETS["errors"].data(rows(*compared))


def test_exponents_count_what_is_beyond_one() -> None:
    counts = [1, 0, 6, 3]  # exponents -2, -1, 0, 1
    fields = {"values": 10, "below_one": 1, "exponent.first": 125, "exponent.counts": json.dumps(counts),
              "whole.distinct": 5, "whole.sampled": 1.0}  # fmt: skip
    line = made("identity", RAW, cell__distributions=True) | {
        f"result.distributions.values.float32.{key}": value for key, value in fields.items()
    }
    data = SHEETS["exponents"].data(rows(line)).set_index(["panel", "x"])["value"]
    histogram, beyond = (data.loc[panel] for panel in dict.fromkeys(data.index.get_level_values(0)))
    assert dict(histogram) == {-2: 0.1, -1: 0.0, 0: 0.6, 1: 0.3}
    assert beyond[0] == pytest.approx(0.9)
    assert beyond[-2] == pytest.approx(1.0)
    assert drawn(SHEETS["exponents"], rows(line))
    both = rows(line, made("distance", 3_900_000))
    distinct = SHEETS["distinct"].data(both)
    assert list(distinct["value"]) == [50.0, RAW / 3_900_000]
    assert drawn(SHEETS["distinct"], both)


def test_ablation_names_the_steps() -> None:
    def step(
        label: str, stored: int, variant: str, entropy: str, granularity: str = "tensor"
    ) -> dict[str, Any]:
        options = {"cell__codec__variant": variant, "cell__codec__entropy": entropy}
        return made(label, stored, granularity=granularity, **options)

    of = rows(
        step("elf (entropy=none, paper)", 3_000_000, "paper", "none"),
        step("elf", 2_600_000, "fast", "auto"),
        step("elves (paper)", 2_800_000, "paper", "auto", "model"),
        step("elf (entropy=zstd, level=9)", 2_500_000, "fast", "zstd"),
        made("zstd", 3_700_000),
        made("zstd", 3_600_000, model="other"),
    )
    data = SHEETS["ablation"].data(of)
    ours = data[data["source"] == "ours"]
    assert dict(zip(ours["series"], ours["value"], strict=True)) == {
        "zstd alone": RAW / 3_700_000,
        "elf codes alone": RAW / 3_000_000,
        "elf byte planes, entropy coder (ours)": RAW / 2_600_000,
        "elves as published": RAW / 2_800_000,
    }
    assert list(data.loc[data["source"] == "paper", "value"]) == [pytest.approx(32 / 24, abs=1e-4)]
    assert drawn(SHEETS["ablation"], of)


def test_threads_need_two_numbers_of_them() -> None:
    def timed(threads: int, speed: float) -> dict[str, Any]:
        line = made("elf", 2_600_000, rounds=6, cell__measure__threads=threads)
        for way in ("encode", "decode"):
            prefix = f"result.speed.{way}.mb_per_s"
            line |= {f"{prefix}.median": speed, f"{prefix}.ci_low": speed - 1, f"{prefix}.ci_high": speed + 1}
        return line | {"result.speed.memcpy_fresh.mb_per_s.median": 5000.0, "environment.cpu.usable_cores": 2}

    data = SHEETS["threads"].data(rows(timed(1, 100.0), timed(2, 180.0)))
    assert list(data.loc[data["panel"] == "decode", "value"]) == [100.0, 180.0]
    labels = drawn(SHEETS["threads"], rows(timed(1, 100.0), timed(2, 180.0)))
    assert "MB/s of raw weights" in labels
    assert "threads (of a machine with 2 cores)" in labels
    with pytest.raises(NoRowsError, match="more than one number of threads"):
        SHEETS["threads"].data(rows(timed(1, 100.0)))


def evaluated(label: str, bound: float, kl: float, **more: Any) -> dict[str, Any]:
    change = {"task": "t", "metric": "acc", "n": 200, "before": 0.5, "after": 0.495, "difference": -0.005,
              "interval": {"low": -0.02, "high": 0.01}, "lost": 1, "gained": 0}  # fmt: skip
    line = made(label, 2_600_000, result__error__max_abs_error=bound, **more)
    return line | {
        "result.error.bounds.float32.absolute": bound,
        "result.evaluation.changes": json.dumps([change]),
        "result.evaluation.divergence.mean": kl,
        "result.evaluation.divergence.interval.low": kl / 2,
        "result.evaluation.divergence.interval.high": kl * 2,
        "result.evaluation.divergence.tokens": 4096,
        "result.evaluation.divergence.top1_agreement": 0.999,
    }


@pytest.fixture
def lossy() -> Rows:
    def at(name: str, bound: float) -> dict[str, Any]:
        return evaluated(f"{name} (error_bound_absolute={bound:g})", bound, bound / 10,
                         cell__codec__error_bound_absolute=bound)  # fmt: skip

    int8 = evaluated("int8", 1e-45, 3e-4) | {"result.error.bounds.float32.of_max": 1 / 254}
    lines = [evaluated("elf", BOUND, 1e-12), at("elf", BOUND), at("elf", 2.0**-10), at("sz3", 2.0**-10),
             at("elf", 2.0**-6), int8]  # fmt: skip
    return rows(*lines)


def test_table_has_defaults_and_shared_bounds(lossy: Rows) -> None:
    data = SHEETS["accuracy"].data(lossy)
    found = [
        (codec, None if np.isnan(bound) else bound)
        for codec, bound in zip(data["codec"], data["bound"], strict=True)
    ]
    assert found == [("elf", BOUND), ("elf", 2.0**-10), ("sz3", 2.0**-10), ("int8", None)]
    assert list(data["change"]) == [-0.005] * 4
    figure = SHEETS["accuracy"].figure(lossy)
    texts = {text.get_text() for text in figure.axes[0].texts}
    pyplot.close(figure)
    assert {"50.0% → 49.5%", "-0.5 [-2.0, +1.0]", "relative", "99.90%", "0.0003 [0.00015, 0.0006]"} <= texts


def test_agreement_is_of_elf_beside_the_papers_tasks(lossy: Rows) -> None:
    data = SHEETS["agreement"].data(lossy)
    ours, papers = data[data["source"] == "ours"], data[data["source"] == "paper"].set_index("x")["value"]
    assert list(ours["value"]) == [0.999]
    assert papers["text-generation"] == pytest.approx(128 / 630, abs=1e-6)
    assert papers["fill-mask"] == pytest.approx(290 / 300, abs=1e-6)
    assert drawn(SHEETS["agreement"], lossy)


def test_bounds_are_lines_of_systems(lossy: Rows) -> None:
    data = SHEETS["error_bound"].data(lossy)
    kl = data[data["panel"] == "KL, nats a token"]
    assert set(kl["series"]) == {"elf"}, "one bound makes no line"
    assert sorted(kl["x"]) == [BOUND, 2.0**-10, 2.0**-6]
    change = data[data["panel"] == "change of accuracy, points"]
    assert set(change["low"]) == {-2.0}
    assert "absolute error bound" in drawn(SHEETS["error_bound"], lossy)


@pytest.mark.parametrize("sheet", elves.SHEETS, ids=lambda sheet: sheet.name)
def test_other_rows_are_no_rows(sheet: Sheet) -> None:
    with pytest.raises(NoRowsError):
        sheet.data(rows(made("blosc2", 3_900_000, granularity="layer")))
