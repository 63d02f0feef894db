"""Speeds of ZipNN beside zstd, OpenZL, the authors' package and memcpy, one thread."""

from __future__ import annotations

from typing import Any

import pandas

from weightbench.figures.charts import OURS, PAPER, bars, hollow_bars
from weightbench.figures.rows import Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import PAPER_MARK, papers_values, split_x, together
from weightbench.figures.zipnn.sizes import STEPS

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_NAMES = {**STEPS, "openzl": "openzl", "zipnn_official": "zipnn package"}
_ORDER = (
    "memcpy",
    "zstd",
    "openzl",
    "exponents apart, zstd",
    "exponents apart, Huffman",
    "zipnn package",
    "zipnn",
)
_PAPERS = {"ZipNN": "zipnn package"}  # what the paper timed is the package
_QUANTITIES = {
    "remaining": "% of raw that is left",
    "encode": "encoding, MB/s of raw bytes",
    "decode": "decoding, MB/s of raw bytes",
}
_GROUPS = 8  # models and formats that are drawn; the CSV has all
_NEEDED = [f"result.speed.{way}.mb_per_s.median" for way in ("encode", "decode", "memcpy_fresh")]


def _speed_data(rows: Rows) -> pandas.DataFrame:
    timed = rows.timed().having(*_NEEDED)
    timed = timed.where(workload="single", granularity="tensor", cell__measure__threads=1, label=list(_NAMES))
    lines: list[dict[str, Any]] = []
    for row in [] if timed.cells.empty else timed.one_each().to_dict("records"):
        common = {"series": _NAMES[row["label"]], "x": f"{row['model']} {row['dtype']}", "cell": row["id"]}
        lines.append({**common, "quantity": "remaining", "value": 100 / row["ratio"], "unit": "% of raw"})
        for way in ("encode", "decode"):
            lines.append({**common, "quantity": way, **_speed(row, way, "mb_per_s"), "unit": "MB/s"})
            share = row[f"result.speed.{way}.share_of_memcpy_fresh.median"]
            lines[-1]["share_of_memcpy"] = share
            copied = {**common, "series": "memcpy", "quantity": way, "unit": "MB/s"}
            lines.append({**copied, **_speed(row, "memcpy_fresh", "mb_per_s")})
    ours = pandas.DataFrame(lines)
    if not ours.empty:
        ours = _one_memcpy(ours.drop_duplicates(["series", "x", "quantity", "cell"]))
    papers = split_x(papers_values("speed"), "quantity")
    return together(ours, papers.assign(series=papers["series"].replace(_PAPERS)), _wanted())


def _wanted() -> str:
    return f"a checkpoint coded by {', '.join(_NAMES)} with speeds of several rounds (measure=timing)"


def _speed(row: dict[Any, Any], what: str, unit: str) -> dict[str, float]:
    names = {"value": "median", "low": "ci_low", "high": "ci_high"}
    return {name: row[f"result.speed.{what}.{unit}.{end}"] for name, end in names.items()}


def _one_memcpy(ours: pandas.DataFrame) -> pandas.DataFrame:
    """Return one memcpy a model: of the cells, each of which measured its own, the one in the middle."""
    copies = ours[ours["series"] == "memcpy"].sort_values("value")
    chosen = [part.iloc[[(len(part) - 1) // 2]] for _, part in copies.groupby(["x", "quantity"], sort=False)]
    others = ours[ours["series"] != "memcpy"].drop_duplicates(["series", "x", "quantity"], keep="last")
    return pandas.concat([*chosen, others], ignore_index=True)


def _draw_speed(data: pandas.DataFrame) -> Figure:
    data = data.assign(x=data["x"] + (data["source"] == PAPER).map({True: PAPER_MARK, False: ""}))
    own = list(dict.fromkeys(data.loc[data["source"] == OURS, "x"]))[:_GROUPS]
    groups = own + list(dict.fromkeys(data.loc[data["source"] == PAPER, "x"]))
    order = [name for name in _ORDER if (data["series"] == name).any()]
    figure, grid = pyplot.subplots(1, 3, figsize=(11, 0.95 * len(groups) + 1.2), sharey=True)
    for axes, (quantity, label) in zip(grid, _QUANTITIES.items(), strict=True):
        _panel(axes, data[data["quantity"] == quantity], order, groups)
        axes.set_xlabel(label)
        axes.axhline(len(own) - 0.5, color="black", linewidth=0.8)
        if quantity != "remaining":
            axes.set_xscale("log")
            axes.set_xlim(right=axes.get_xlim()[1] * 2.2)
    grid[0].set_ylim(len(groups) - 0.5, -0.5)
    for axes in grid[:2]:
        axes.get_legend().remove()
    return figure


def _panel(axes: Axes, part: pandas.DataFrame, order: list[str], groups: list[str]) -> None:
    text = "{:.1f}" if (part["quantity"] == "remaining").all() else "{:,.0f}"
    bars(axes, part[part["source"] == OURS], order=order, groups=groups, systems=False, text=text)
    hollow_bars(axes, part, order=order, groups=groups, systems=False, text=text)


SHEETS = (
    Sheet(
        name="speed",
        title="ZipNN beside zstd, OpenZL and memcpy, one thread",
        after="ZipNN (arXiv 2411.05239), table III",
        note="Ours: in memory, all in one run on one machine, medians over rounds with 95 % intervals; "
        "memcpy into new memory, measured beside every codec, the middle one drawn. Hollow: the "
        "paper's, on an Apple M1 Max, 1 GB of each model: other models, another machine: compare "
        "ratios between codecs, not MB/s.",
        experiments=("zipnn_speed", "zipnn_ablation"),
        data=_speed_data,
        draw=_draw_speed,
    ),
)
