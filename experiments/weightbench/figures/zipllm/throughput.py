"""How much a hub shrinks against how fast it is stored and restored; and speed against threads."""

from __future__ import annotations

from textwrap import fill

import pandas

from weightbench.figures.charts import (
    OURS,
    PAPER,
    intervals,
    legend_outside,
    lines,
    look,
    reference_line,
)
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, numbers, records
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipllm.hubs import case_order, hub_cells, reduction

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

__all__ = ["SHEETS"]

_THREADS = "cell.measure.threads"
_CORES = "environment.cpu.usable_cores"
_MEMCPY = "result.speed.memcpy_fresh.mb_per_s.median"
_WHOLE = ("ingest", "restore")
_TITLES = {
    "ingest": "Files to depot, one pass",
    "restore": "Depot to files, one pass",
    "encode": "Encoding alone, in memory",
    "decode": "Decoding alone, in memory",
}
_NO_CODER = ("dedup", "identity")  # in memory they copy: hashing is part of the whole way alone
_CASES = 2
_TITLE_WIDTH = 26  # characters
_FEWEST = 3  # systems that make a picture


def _speeds(cells: pandas.DataFrame, panel: str) -> pandas.DataFrame:
    """Return speeds in MB/s of raw bytes: of the whole way, one number; in memory, with their intervals."""
    if panel in _WHOLE:
        ends = {"value": f"result.workload.{panel}.mb_per_s"}
    else:
        cells = cells[~cells["system"].isin(_NO_CODER)]
        speed = f"result.speed.{panel}.mb_per_s"
        ends = {"value": f"{speed}.median", "low": f"{speed}.ci_low", "high": f"{speed}.ci_high"}
    columns = {
        "case": cells["case"],
        "panel": panel,
        "series": cells["series"],
        "x": reduction(cells),
        **{end: numbers(cells, column) for end, column in ends.items()},
        "threads": numbers(cells, _THREADS),
        "cores": numbers(cells, _CORES),
        "memcpy_mb_per_s": numbers(cells, _MEMCPY),
        "source": OURS,
        "cell": cells["id"],
    }
    return pandas.DataFrame(columns)


def _scatter_data(rows: Rows) -> pandas.DataFrame:
    cells = hub_cells(rows.timed().where(cell__measure__threads=1), "result.workload.ingest.mb_per_s")
    cells = cells[~cells["granularity"].isin(["parameter", "model"])]
    cells = cells[cells.groupby("case")["system"].transform("nunique") >= _FEWEST]
    if cells.empty:
        raise NoRowsError(f"no hub that {_FEWEST} systems stored at measure=timing measure.threads=1")
    paper = published("zipllm", "throughput").assign(source=PAPER, threads=192)
    paper = paper.assign(x=paper["x"].astype(float))
    return pandas.concat([*(_speeds(cells, panel) for panel in _TITLES), paper], ignore_index=True)


def _draw_scatter(data: pandas.DataFrame) -> Figure:
    cases = list(data[data["source"] == OURS].groupby("case", sort=False))[:_CASES]
    order = case_order(data["series"])
    figure = pyplot.figure(figsize=(11, 5.6 * len(cases)))
    grid = figure.add_gridspec(2 * len(cases), 3)
    for number, (case, part) in enumerate(cases):
        for place, panel in enumerate(_TITLES):
            axes = figure.add_subplot(grid[2 * number + place // 2, place % 2])
            axes.set_title(_TITLES[panel] if place else f"{fill(str(case), _TITLE_WIDTH)}\n{_TITLES[panel]}")
            _points(axes, part[part["panel"] == panel], order)
            axes.set_xlim(min(-5.0, part["x"].min() - 5), part["x"].max() + 5)
            reference_line(axes, float(part["memcpy_mb_per_s"].median()), "memcpy")
            axes.set_ylabel("MB/s, 1 thread")
    axes = figure.add_subplot(grid[:2, 2])
    axes.set_title("The paper's, 192 threads")
    paper = data[data["source"] == PAPER]
    _points(axes, paper, order)
    _name_points(axes, paper)
    axes.set_ylabel("MB/s")
    ours = set(data.loc[data["source"] == OURS, "series"])
    handles = [_mark(name, order, filled=True) for name in order if name in ours]
    legend_outside(axes, [*handles, Line2D([], [], linestyle="none", label="hollow: the paper's")])
    return figure


def _mark(name: str, order: list[str], *, filled: bool) -> Line2D:
    drawn = look(name, order)
    return Line2D([], [], linestyle="none", marker=drawn.marker, color=drawn.colour, label=name,
                  markerfacecolor=drawn.colour if filled else "white",
                  markeredgecolor="black" if filled else drawn.colour,
                  markeredgewidth=0.4 if filled else 1.0)  # fmt: skip


def _points(axes: Axes, part: pandas.DataFrame, order: list[str]) -> None:
    for (name, source), points in part.groupby(["series", "source"], sort=False):
        drawn, ours = look(str(name), order), source == OURS
        axes.errorbar(points["x"], points["value"], yerr=intervals(points) if ours else None,
                      fmt=drawn.marker, color=drawn.colour, markersize=7, capsize=2, ecolor="black",
                      markerfacecolor=drawn.colour if ours else "white", elinewidth=0.8,
                      markeredgecolor="black" if ours else drawn.colour,
                      markeredgewidth=0.4 if ours else 1.4, zorder=3)  # fmt: skip
    _logarithmic(axes)
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel("data reduction, % of raw saved")


def _name_points(axes: Axes, points: pandas.DataFrame) -> None:
    """Write names above and below in turn, so that points of about one height do not share a place."""
    for number, point in enumerate(records(points.sort_values("value"))):
        axes.annotate(point["series"], (point["x"], point["value"]), fontsize=7, ha="center", va="center",
                      xytext=(0, 10 if number % 2 == 0 else -10), textcoords="offset points")  # fmt: skip


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


# Threads ------------------------------------------------------------------------------------------------

_DIRECTIONS = {"encode": "Encoding", "decode": "Decoding"}


def _threads_data(rows: Rows) -> pandas.DataFrame:
    cells = hub_cells(rows.timed(), "result.speed.encode.mb_per_s.median", threads=True)
    cells = cells[~cells["system"].isin(_NO_CODER)]
    counted = cells.groupby(["case", "series"])[_THREADS].transform("nunique")
    cells = cells[counted > 1]
    if cells.empty:
        raise NoRowsError("no hub was timed with more than one number of threads (measure=timing)")
    parts = [_speeds(cells, panel).drop(columns="x") for panel in _DIRECTIONS]
    paper = published("zipllm", "threads").assign(source=PAPER)
    paper = paper.assign(panel=paper["x"], threads=192.0).drop(columns="x")
    return pandas.concat([*parts, paper], ignore_index=True)


def _draw_threads(data: pandas.DataFrame) -> Figure:
    ours = data[data["source"] == OURS].assign(x=data["threads"])
    cases = list(ours.groupby("case", sort=False))[:_CASES]
    order = case_order(data["series"])
    figure, grid = pyplot.subplots(len(cases), 2, figsize=(9, 3.8 * len(cases)), sharey="row", squeeze=False)
    for row, (case, part) in zip(grid, cases, strict=True):
        cores = "/".join(f"{count:g}" for count in sorted(set(part["cores"].dropna())))
        for axes, (panel, title) in zip(row, _DIRECTIONS.items(), strict=True):
            axes.set_title(f"{title}\n({case})" if panel == "encode" else title)
            lines(axes, part[part["panel"] == panel], order=order, legend=False)
            _paper_threads(axes, data[(data["source"] == PAPER) & (data["panel"] == panel)], order)
            reference_line(axes, float(part["memcpy_mb_per_s"].median()), "memcpy, one thread")
            axes.set_xscale("log")
            _logarithmic(axes)
            axes.set_xticks(sorted({*part["threads"], *data["threads"].dropna()}))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel(f"threads (ours: of a machine with {cores} cores)")
        row[0].set_ylabel("MB/s of raw bytes")
        handles = [_mark(name, order, filled=True) for name in order if name in set(part["series"])]
        legend_outside(row[-1], [*handles, _mark("zipllm (paper)", order, filled=False)])
    return figure


def _paper_threads(axes: Axes, part: pandas.DataFrame, order: list[str]) -> None:
    for line in records(part):
        drawn = look(line["series"], order)
        axes.plot([line["threads"]], [line["value"]], marker=drawn.marker, markersize=7,
                  markerfacecolor="white", markeredgecolor=drawn.colour, linestyle="none")  # fmt: skip
        axes.annotate("paper's", (line["threads"], line["value"]), xytext=(-6, 0), textcoords="offset points",
                      fontsize=7, ha="right", va="center")  # fmt: skip


SHEETS = (
    Sheet(
        name="throughput",
        title="A hub: how much it shrinks against how fast",
        after="ZipLLM's scatter of reduction and throughput",
        note="Ours: MB/s of raw bytes, one thread; above, the whole way: reading, hashing, coding and the "
        "disk (not the search for bases), timed once; below, coders alone over what they code, with 95 % "
        "intervals. Our hub is a family of small models without copies, so dedup finds next to nothing. The "
        "paper's: 3,048 repositories, 43 TB, a server with 192 threads, mostly read off its plot: compare "
        "reductions and ranks, not MB/s.",
        experiments=("zipllm_throughput", "zipllm_chunks"),
        data=_scatter_data,
        draw=_draw_scatter,
    ),
    Sheet(
        name="threads",
        title="Coding a hub: speed against threads",
        after="ZipLLM's throughput against threads",
        note="Ours: in memory, medians with 95 % intervals over rounds; our machine has as many cores as the "
        "axis says, so this is no scaling study. Hollow: the paper's ingestion and retrieval with 192 "
        "threads (third party's digest); its curves over 1 to 64 threads are not at hand.",
        experiments=("zipllm_threads",),
        data=_threads_data,
        draw=_draw_threads,
    ),
)
