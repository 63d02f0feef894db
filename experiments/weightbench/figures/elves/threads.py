"""Speed against threads."""

from __future__ import annotations

import pandas

from weightbench.figures.charts import OURS, lines, reference_line
from weightbench.figures.rows import NoRowsError, Rows, numbers
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_THREADS = "cell.measure.threads"
_CORES = "environment.cpu.usable_cores"
_DIRECTIONS = ("encode", "decode")
_SYSTEMS = ("zstd", "elf", "elves", "distance", "zipnn")
_CASES = 3


def _data(rows: Rows) -> pandas.DataFrame:
    rows = (
        rows.timed()
        .where(workload="single", label=list(_SYSTEMS))
        .having("result.speed.encode.mb_per_s.median")
    )
    cells = rows.one_each(threads=True)
    counted = cells.groupby(["model", "dtype", "label", "granularity"])[_THREADS].transform("nunique")
    cells = cells[counted > 1]
    if cells.empty:
        raise NoRowsError(f"none of {', '.join(_SYSTEMS)} was timed with more than one number of threads")
    parts = [_direction(cells, direction) for direction in _DIRECTIONS]
    return pandas.concat(parts, ignore_index=True)


def _direction(cells: pandas.DataFrame, direction: str) -> pandas.DataFrame:
    speed = f"result.speed.{direction}.mb_per_s"
    columns = {
        "model": cells["model"],
        "dtype": cells["dtype"],
        "panel": direction,
        "series": cells["label"],
        "x": cells[_THREADS],
        "value": cells[f"{speed}.median"],
        "low": numbers(cells, f"{speed}.ci_low"),
        "high": numbers(cells, f"{speed}.ci_high"),
        "memcpy_mb_per_s": numbers(cells, "result.speed.memcpy_fresh.mb_per_s.median"),
        "cores": numbers(cells, _CORES),
        "source": OURS,
        "cell": cells["id"],
    }
    return pandas.DataFrame(columns)


def _draw(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby(["model", "dtype"], sort=False))[:_CASES]
    figure, grid = pyplot.subplots(len(cases), 2, figsize=(8, 3.4 * len(cases)), sharey="row", squeeze=False)
    for row, ((model, dtype), part) in zip(grid, cases, strict=True):
        for axes, direction in zip(row, _DIRECTIONS, strict=True):
            here = part[part["panel"] == direction]
            lines(axes, here, legend=direction == _DIRECTIONS[-1])
            reference_line(axes, float(here["memcpy_mb_per_s"].median()), "memcpy, one thread")
            cores = "/".join(f"{count:g}" for count in sorted(set(here["cores"].dropna())))
            axes.set_title(f"{direction}: {model}, {dtype}")
            axes.set_xlabel(f"threads (of a machine with {cores} cores)")
            axes.set_xticks(sorted(set(here["x"].astype(int))))
            axes.set_yscale("log")
        row[0].set_ylabel("MB/s of raw weights")
    return figure


SHEETS = (
    Sheet(
        name="threads",
        title="Speed against threads",
        after="the throughput figures of Elves (PVLDB 17(8), 2024)",
        note="In memory, medians with 95 % intervals over rounds. The authors' release uses 48 threads and "
        "counts reading and writing files; its values are not known. Our machine has as many cores as "
        "the axis says, so the right end is no scaling study.",
        experiments=("elves_threads",),
        data=_data,
        draw=_draw,
    ),
)
