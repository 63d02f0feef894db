"""Speeds of ZipNN beside zstd, OpenZL, the authors' package and memcpy, one thread."""

from __future__ import annotations

from typing import Any

import pandas

from weightbench.figures.charts import OURS, PAPER, bars, hollow_bars
from weightbench.figures.rows import Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import papers_values, split_x, together
from weightbench.figures.zipnn.sizes import STEPS

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_PACKAGE = "zipnn_official (the package)"
_NAMES = {**STEPS, "openzl": "openzl", "zipnn_official": _PACKAGE}
_ORDER = ("memcpy", *list(STEPS.values())[:-1], _PACKAGE, "openzl", "zstd")
_IN_PAPER = {"ZipNN": _PACKAGE, "exponents apart, zstd": "zipnn (published, zstd)"}
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
    return together(ours, papers.replace({"series": _IN_PAPER}), _wanted())


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
    ours, papers = data[data["source"] == OURS], data[data["source"] == PAPER]
    own, others = list(dict.fromkeys(ours["x"]))[:_GROUPS], list(dict.fromkeys(papers["x"]))
    order = [name for name in _ORDER if (data["series"] == name).any()]
    heights = (1.2 * len(own) + 0.6, 0.7 * len(others) + 0.6)
    figure, grid = pyplot.subplots(
        2, 3, figsize=(11, sum(heights)), sharex="col", sharey="row", height_ratios=heights
    )
    for (above, below), (quantity, label) in zip(grid.T, _QUANTITIES.items(), strict=True):
        text = "{:.1f}" if quantity == "remaining" else "{:,.0f}"
        bars(above, ours[ours["quantity"] == quantity], order=order, groups=own, text=text)
        bars(below, ours.iloc[:0], order=order, groups=others)
        hollow_bars(below, papers[papers["quantity"] == quantity], order=order, groups=others, text=text)
        below.set_xlabel(label)
        if quantity != "remaining":
            below.set_xscale("log")
            below.set_xlim(right=below.get_xlim()[1] * 2)
        for axes in (above, below) if quantity != "decode" else (below,):
            axes.get_legend().remove()
    grid[0, 0].set_title("Ours")
    grid[1, 0].set_title("The paper's, Apple M1 Max")
    return figure


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
