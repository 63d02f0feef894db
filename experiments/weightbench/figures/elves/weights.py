"""Why exponents can go: where weights lie, and how often values repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from weightbench.figures.charts import OURS, lines, named_bars, reference_line
from weightbench.figures.elves.compared import NAMES, compared
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.fields import distributed
from weightcodecs import get_format

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_HISTOGRAM, _BEYOND = "share of weights with this exponent", "share of weights with |w| at least so large"
_FEWEST = 1e-9  # share; where an axis of shares ends
_LOWEST = -24  # exponents below are not drawn; the CSV has all
_SERIES = 8
_DISTINCT, _RATIO = "distinct values, % of all", "ratio of distance encoding"


def _exponents_data(rows: Rows) -> pandas.DataFrame:
    """Return, for each model and format, shares by exponent, and of all weights from an exponent on."""
    found: list[dict[str, Any]] = []
    for row, fields in distributed(rows):
        first = fields["exponent.first"] - get_format(row["dtype"]).bias
        shares = np.asarray(fields["exponent.counts"], np.float64) / fields["values"]
        common = {
            "model": row["model"],
            "dtype": row["dtype"],
            "series": f"{row['model']}, {row['dtype']}",
            "within_one": fields["below_one"] / fields["values"],
            "source": OURS,
            "cell": row["id"],
        }
        beyond = np.cumsum(shares[::-1])[::-1]
        for panel, values in ((_HISTOGRAM, shares), (_BEYOND, beyond)):
            found += [
                {**common, "panel": panel, "x": first + place, "value": float(value)}
                for place, value in enumerate(values)
            ]
    return pandas.DataFrame(found)


def _draw_exponents(data: pandas.DataFrame) -> Figure:
    # Casts hardly move a weight to another exponent: of each model its widest format.
    widest = data.assign(bits=[get_format(dtype).bits for dtype in data["dtype"]])
    widest = widest.sort_values("bits", kind="stable", ascending=False).drop_duplicates("model")
    names = sorted(widest["series"])[:_SERIES]
    shown = data[data["series"].isin(names) & (data["x"] >= _LOWEST) & (data["value"] > 0)]
    within = data.drop_duplicates("series").set_index("series")["within_one"]
    legend = {name: f"{name}: {100 * within[name]:.4f} % within ±1" for name in names}
    figure, grid = pyplot.subplots(2, 1, figsize=(8, 6.6), sharex=True)
    for axes, panel in zip(grid, (_HISTOGRAM, _BEYOND), strict=True):
        here = shown[shown["panel"] == panel].assign(series=lambda part: part["series"].map(legend))
        lines(axes, here, order=[legend[name] for name in names], systems=False, legend=panel == _HISTOGRAM)
        reference_line(axes, 0.0, "|w| = 1", vertical=True)
        axes.set_title(panel)
        axes.set_ylabel("share")
    grid[1].set_yscale("log")
    grid[1].set_ylim(max(_FEWEST, shown["value"].min() / 2), 1.5)
    grid[1].set_xlabel("exponent e: |w| from 2^e to 2^(e+1)")
    return figure


def _distinct_data(rows: Rows) -> pandas.DataFrame:
    """Return the share of distinct values beside what distance encoding makes of them."""
    shares = [
        {
            "model": row["model"],
            "dtype": row["dtype"],
            "value": 100 * fields["whole.distinct"] / fields["values"],
            "sampled": fields["whole.sampled"],
            "panel": _DISTINCT,
            "cell": row["id"],
        }
        for row, fields in distributed(rows)
        if "whole.distinct" in fields
    ]
    cells = compared(rows)
    coded = cells[cells["series"] == NAMES["distance"]]
    ratios = pandas.DataFrame(
        {"model": coded["model"], "dtype": coded["dtype"], "value": coded["ratio"], "panel": _RATIO,
         "cell": coded["id"]}
    )  # fmt: skip
    known = pandas.DataFrame(shares)
    if known.empty or ratios.empty:
        raise NoRowsError("no model with distinct values counted (distributions=true) and distance encoding")
    both = known.merge(ratios[["model", "dtype"]].drop_duplicates())[["model", "dtype"]]
    if both.empty:
        raise NoRowsError("distinct values and distance encoding are known of different models only")
    data = pandas.concat([known, ratios], ignore_index=True).merge(both)
    return data.assign(series="distance " + data["model"] + ", " + data["dtype"], source=OURS)


def _draw_distinct(data: pandas.DataFrame) -> Figure:
    order = list(dict.fromkeys(data["series"]))
    figure, grid = pyplot.subplots(1, 2, figsize=(8, 1.4 + 0.32 * len(order)), sharey=True)
    for axes, panel, text in zip(grid, (_DISTINCT, _RATIO), ("{:.3g} %", "{:.2f}"), strict=True):
        named_bars(axes, data[data["panel"] == panel], order=order, text=text)
        axes.set_yticks(range(len(order)), [name.removeprefix("distance ") for name in order])
        axes.set_xlabel(panel)
    reference_line(grid[1], 1.0, "raw", vertical=True)
    grid[1].set_ylim(top=-1.4)
    return figure


_DISTRIBUTIONS = "zipnn_distributions"
SHEETS = (
    Sheet(
        name="exponents",
        title="Where weights lie: exponents, and the share within ±1",
        after="the parameter distributions that motivate Elf (PVLDB 17(8), 2024)",
        note="Exact counts over all values of a model; of each model its widest format is drawn (the CSV "
        "has all), exponents below -24 are not (zeros and subnormals stand at the lowest). Elf codes "
        "what lies within ±1 without its exponent, the rest as it is. The paper's share is not known.",
        experiments=(_DISTRIBUTIONS,),
        data=_exponents_data,
        draw=_draw_exponents,
    ),
    Sheet(
        name="distinct",
        title="Distinct values, and what distance encoding makes of them",
        after="the parameter level of Elves' study (PVLDB 17(8), 2024)",
        note="Different bit patterns of a model's main format as a share of its values (where there are "
        "very many: estimated from a sample of patterns, see the CSV). Distances pay where values are "
        "few: in narrow or quantised formats. The paper's values are not known.",
        experiments=(_DISTRIBUTIONS, "elves_codecs"),
        data=_distinct_data,
        draw=_draw_distinct,
    ),
)
