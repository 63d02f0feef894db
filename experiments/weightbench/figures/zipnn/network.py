"""How long models take over a network, coded and raw: arithmetic from measured sizes and speeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from weightbench.figures.charts import OURS, PAPER, legend_outside, look, reference_line
from weightbench.figures.rows import Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.transfer import break_even_bandwidth, share_of_raw_time
from weightbench.figures.zipnn.beside import papers_values, together

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_ORDER = ("zipnn", "zipnn_official", "zstd")
_WAYS = {"download": "decode", "upload": "encode"}
_BANDWIDTHS = sorted({*np.geomspace(5, 2000, 27).round(3).tolist(), 10.0, 20.0, 30.0, 125.0})
_ROWS = 4  # models and formats that are drawn; the CSV has all


def _transfer_data(rows: Rows) -> pandas.DataFrame:
    timed = rows.timed().having(*(f"result.speed.{way}.mb_per_s.median" for way in _WAYS.values()))
    timed = timed.where(workload="single", granularity="tensor", cell__measure__threads=1, label=list(_ORDER))
    found = [] if timed.cells.empty else timed.one_each().to_dict("records")
    ours = [pandas.DataFrame(_curves(row, way)) for row in found for way in _WAYS]
    papers = papers_values("transfer")
    papers = papers.assign(
        x=papers["x"].astype(float), quantity="time", overlapped=False,
        dtype=papers["series"].str.extract(r"(float32|bfloat16|float16)", expand=False),
        way=np.where(papers["setting"].str.contains("upload"), "upload", "download"),
    )  # fmt: skip
    wanted = f"a checkpoint coded by {', '.join(_ORDER)} with speeds of several rounds (measure=timing)"
    return together(pandas.concat(ours, ignore_index=True) if ours else pandas.DataFrame(), papers, wanted)


def _curves(row: dict[Any, Any], way: str) -> list[dict[str, Any]]:
    """Return one codec's share of the raw model's time at every bandwidth, and where it breaks even."""
    speeds = [row[f"result.speed.{_WAYS[way]}.mb_per_s.{end}"] for end in ("median", "ci_high", "ci_low")]
    common = {
        "series": row["label"],
        "model": row["model"],
        "dtype": row["dtype"],
        "way": way,
        "cell": row["id"],
    }
    shown: list[dict[str, Any]] = []
    for overlapped in (False, True):
        shares = [
            100 * share_of_raw_time(row["ratio"], _BANDWIDTHS, speed, overlapped=overlapped)
            for speed in speeds
        ]
        shown += [
            {**common, "quantity": "time", "x": x, "value": value, "low": low, "high": high,
             "overlapped": overlapped, "unit": "% of the time of raw"}
            for x, value, low, high in zip(_BANDWIDTHS, *shares, strict=True)
        ]  # fmt: skip
    even = float(break_even_bandwidth(row["ratio"], speeds[0]))
    return [*shown, {**common, "quantity": "break even", "value": even, "unit": "MB/s", "overlapped": False}]


def _draw_transfer(data: pandas.DataFrame) -> Figure:
    ours, papers = data[data["source"] == OURS], data[data["source"] == PAPER]
    cases = list(ours.groupby(["model", "dtype"], sort=False))[:_ROWS]
    figure, grid = pyplot.subplots(
        len(cases), 2, figsize=(11, 3.2 * len(cases)), sharex=True, sharey=True, squeeze=False
    )
    names = [*_ORDER, *dict.fromkeys(papers["series"])]
    for line, ((model, dtype), part) in zip(grid, cases, strict=True):
        for axes, way in zip(line, _WAYS, strict=True):
            axes.set_title(f"{model}, {dtype}: {way}")
            _lines(axes, part[part["way"] == way])
            _points(axes, papers[(papers["dtype"] == dtype) & (papers["way"] == way)], names)
            reference_line(axes, 100, "raw")
            axes.set_xlabel("bandwidth, MB/s (10⁶ bytes a second)")
            axes.set_ylabel("% of the raw model's time")
            axes.tick_params(labelbottom=True, labelleft=True)
        shown = [pair for axes in line for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
        legend_outside(line[-1], list({label: handle for handle, label in shown}.values()))
    grid[0, 0].set_xscale("log")
    grid[0, 0].set_ylim(30, 155)
    grid[0, 0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return figure


def _lines(axes: Axes, part: pandas.DataFrame) -> None:
    evens = []
    for name in (name for name in _ORDER if (part["series"] == name).any()):
        here, drawn = part[part["series"] == name], look(name, _ORDER)
        even = here.loc[here["quantity"] == "break even", "value"].iloc[0]
        evens.append(f"{name} {even:,.0f}")
        for overlapped, curve in here[here["quantity"] == "time"].groupby("overlapped"):
            label = f"{name}, {'at once' if overlapped else 'one after the other'}"
            axes.plot(curve["x"], curve["value"], color=drawn.colour, linewidth=1.4, label=label,
                      linestyle=":" if overlapped else "-", marker=drawn.marker, markersize=4, markevery=5,
                      markerfacecolor="white" if overlapped else drawn.colour)  # fmt: skip
            axes.fill_between(
                curve["x"].astype(float), curve["low"].astype(float), curve["high"].astype(float),
                color=drawn.colour, alpha=0.2, linewidth=0,
            )  # fmt: skip
    axes.text(0.02, 0.97, "Even with raw at, MB/s\n" + "\n".join(evens), transform=axes.transAxes, va="top",
              fontsize=7)  # fmt: skip


def _points(axes: Axes, papers: pandas.DataFrame, names: list[str]) -> None:
    for name, part in papers.groupby("series", sort=False):
        drawn = look(str(name), names, systems=False)
        axes.plot(part["x"], part["value"], linestyle="none", marker=drawn.marker, color="black",
                  markerfacecolor="white", markersize=5.5, label=f"{name} (paper)", zorder=4)  # fmt: skip


SHEETS = (
    Sheet(
        name="transfer",
        title="Time over a network, against its bandwidth",
        after="ZipNN (arXiv 2411.05239), hub transfer figure of version 1, and its predecessor (2404.15198), "
        "figures 5 and 6",
        note="Ours is arithmetic, no transfer: measured bytes over the bandwidth, plus (solid) the "
        "measured time of one thread's decoder or encoder, shaded by the 95 % interval of its speed; "
        "dotted, the two at once, the slower decides. No latency, no disk. Hollow: the papers' times "
        "of real transfers to and from a hub, in the panels of their float format; other models, "
        "other machines.",
        experiments=("zipnn_speed",),
        data=_transfer_data,
        draw=_draw_transfer,
    ),
)
