"""Deltas themselves: how large, how long their codes, and in which representation they are cheapest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas

from weightbench.figures.charts import OURS, PAPER, bars, legend_outside, look, reference_line
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, records
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

__all__ = ["SHEETS"]

_DELTAS = "result.distributions.deltas"
_NAMES = {
    "float": "the weights", "float_delta": "float difference", "int_delta": "integers subtracted",
    "uint_delta": "ordered integers subtracted", "xor": "XOR",
}  # fmt: skip
_COSTS = {"whole": "whole values, order 0", "classes": "class and raw bits (FM-Delta)"}
_BITS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16}


def _deltas(rows: Rows) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield model, format, its section of ``result.distributions.deltas`` and the row's id."""
    found = rows.where(cell__distributions=True).having(_DELTAS)
    seen = set()
    for row in [] if found.cells.empty else records(found.one_each()):
        for delta in json.loads(row[_DELTAS]):
            for format, section in delta["formats"].items():
                if (delta["model"], format) not in seen and format == row["dtype"]:
                    seen.add((delta["model"], format))
                    yield delta["model"], format, section, row["id"]


def _frame(made: list[dict[str, Any]]) -> pandas.DataFrame:
    if not made:
        raise NoRowsError("no family has distributions (workload=family distributions=true)")
    return pandas.DataFrame(made)


def _histogram(histogram: dict[str, Any]) -> Iterator[tuple[int, int]]:
    for place, count in enumerate(histogram["counts"]):
        yield histogram["first"] + place, count


def _changes_data(rows: Rows) -> pandas.DataFrame:
    made = [
        {"series": model, "dtype": dtype, "x": sign * 2.0**power, "source": OURS, "sign": sign,
         "value": 100 * count / section["values"], "unit": "% of values", "cell": cell}
        for model, dtype, section, cell in _deltas(rows)
        if "changes" in section
        for sign, way in ((-1, "down"), (1, "up"))
        for power, count in _histogram(section["changes"][way])
    ]  # fmt: skip
    return _frame(made)


def _draw_changes(data: pandas.DataFrame) -> Figure:
    order = list(dict.fromkeys(data["series"]))
    formats = list(data.groupby("dtype", sort=False))
    figure, grid = pyplot.subplots(len(formats), 1, figsize=(8, 2.9 * len(formats)), squeeze=False)
    least = data["x"].abs().min()
    for axes, (dtype, part) in zip(grid[:, 0], formats, strict=True):
        axes.set_title(str(dtype))
        for name, line in part.sort_values("x").groupby("series", sort=False):
            drawn = look(str(name), order, systems=False)
            axes.plot(
                line["x"], line["value"], color=drawn.colour, marker=drawn.marker, markersize=3, label=name
            )
        axes.set_xscale("symlog", linthresh=max(least, 1e-9))
        axes.set_xlabel("change of a weight, w − base (powers of two)")
        axes.set_ylabel("% of values")
        legend_outside(axes)
        axes.locator_params(axis="y", nbins=5)
        axes.xaxis.set_major_locator(FixedLocator([-1e-2, -1e-4, -1e-6, 0, 1e-6, 1e-4, 1e-2]))
    return figure


def _lengths_data(rows: Rows) -> pandas.DataFrame:
    made = []
    for model, dtype, section, cell in _deltas(rows):
        if "classes" not in section:
            continue
        counts: dict[int, int] = {}
        for way in ("down", "up"):
            for k, count in _histogram(section["classes"][way]):
                counts[k] = counts.get(k, 0) + count
        line = {"series": model, "dtype": dtype, "source": OURS, "cell": cell}
        made.append(line | {"x": -1, "value": 100 * section["equal"] / section["values"]})
        made += [
            line | {"x": k, "value": 100 * count / section["values"]} for k, count in sorted(counts.items())
        ]
    return _frame(made)


def _draw_lengths(data: pandas.DataFrame) -> Figure:
    order = list(dict.fromkeys(data["series"]))
    formats = list(data.groupby("dtype", sort=False))
    figure, grid = pyplot.subplots(len(formats), 1, figsize=(8, 2.7 * len(formats)), squeeze=False)
    for axes, (dtype, part) in zip(grid[:, 0], formats, strict=True):
        axes.set_title(str(dtype))
        for name, line in part.groupby("series", sort=False):
            drawn = look(str(name), order, systems=False)
            axes.plot(line["x"], line["value"], marker=drawn.marker, markersize=3, color=drawn.colour,
                      label=name, drawstyle="steps-mid")  # fmt: skip
        axes.set_xlabel("k: raw bits behind the class (−1: equal to the base)")
        axes.set_ylabel("% of values")
        axes.set_xlim(-1.5, _BITS.get(str(dtype), 32))
        legend_outside(axes)
    return figure


def _representation_data(rows: Rows) -> pandas.DataFrame:
    made = []
    for model, dtype, section, cell in _deltas(rows):
        for name, parts in section["representations"].items():
            if name not in _NAMES:
                continue
            bits = _BITS[dtype]
            line = {"x": _NAMES[name], "dtype": dtype, "model": model, "source": OURS, "cell": cell}
            made.append(line | {"series": "byte planes, order 0", "value": 100 * sum(parts["planes"]) / bits})
            for key, series in (
                ("whole", "whole values, order 0"),
                ("classes", "class and raw bits (FM-Delta)"),
            ):
                if parts.get(key) is not None:
                    made.append(line | {"series": series, "value": 100 * parts[key] / bits})
    data = _frame(made)
    shared = data.groupby(["dtype", "x", "series", "source"], sort=False)
    mean = shared.agg(value=("value", "mean"), models=("model", "nunique"), cell=("cell", "first"))
    paper = published("fm_delta", "representations").assign(source=PAPER, dtype="float32")
    return pandas.concat([mean.reset_index(), paper], ignore_index=True)


def _draw_representations(data: pandas.DataFrame) -> Figure:
    formats = list(data.groupby("dtype", sort=False))
    order = list(dict.fromkeys(data.loc[data["source"] == OURS, "series"]))
    order += [series for series in dict.fromkeys(data["series"]) if series not in order]
    figure, grid = pyplot.subplots(len(formats), 1, figsize=(8, 3.1 * len(formats)), squeeze=False)
    for axes, (dtype, part) in zip(grid[:, 0], formats, strict=True):
        axes.set_title(str(dtype))
        bars(axes, part, order=order, systems=False, text="{:.0f}")
        reference_line(axes, 100, "raw", vertical=True)
        axes.set_xlabel("% of raw: mean over fine-tunes")
    return figure


SHEETS = (
    Sheet(
        name="changes",
        title="How far fine-tuning moves weights",
        after="FM-Delta's figure 2(b)",
        note="Each point is the share of values whose change lies between a power of two and the next. The "
        "paper's histograms are of other models and are not at hand.",
        experiments=("distributions_family",),
        data=_changes_data,
        draw=_draw_changes,
    ),
    Sheet(
        name="code_lengths",
        title="Leading bit of the integer delta: the length of its raw part",
        after="FM-Delta's figure 4",
        note="k = floor(log2 |delta|) over all tensors; a value costs its class and k raw bits. The paper "
        "shows one layer of Stable Diffusion, whose mode is near 19.",
        experiments=("distributions_family",),
        data=_lengths_data,
        draw=_draw_lengths,
    ),
    Sheet(
        name="representations",
        title="Which difference is cheapest to code",
        after="FM-Delta's table 5",
        note="Ours are order-0 entropies, not a compressor's output: byte planes as byte grouping with an "
        "entropy coder reaches them. The paper's: LZMA on the same representations of BERT-large in "
        "float32 (digest).",
        experiments=("distributions_family",),
        data=_representation_data,
        draw=_draw_representations,
    ),
)
