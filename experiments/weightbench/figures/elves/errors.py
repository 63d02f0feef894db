"""How large the errors of lossy codecs are, as distributions."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import OURS, lines, reference_line
from weightbench.figures.elves.compared import NAMES, compared
from weightbench.figures.rows import NoRowsError, Rows, numbers, parsed
from weightbench.figures.sheet import Sheet
from weightcodecs import get_format

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_HISTOGRAM = "result.error.histogram"
_CASES = 6
_LOWEST = -45  # powers of two below are not drawn; the CSV has all


def _data(rows: Rows) -> pandas.DataFrame:
    """Return the share of values whose error is at most x, for each model, format and lossy codec."""
    cells = compared(rows.having(f"{_HISTOGRAM}.zeros"))
    # The errors of Elves are those of the codec it chose: Elf, or none.
    cells = cells[cells["system"] != "elves"].reset_index(drop=True)
    firsts, zeros = numbers(cells, f"{_HISTOGRAM}.first"), numbers(cells, f"{_HISTOGRAM}.zeros")
    largest, bound = numbers(cells, "result.error.max_abs_error"), _bounds(cells)
    parts = []
    for place, (row, counts) in enumerate(
        zip(cells.to_dict("records"), parsed(cells, f"{_HISTOGRAM}.counts"), strict=True)
    ):
        if not counts:
            continue  # nothing lost
        total = zeros[place] + sum(counts)
        # A power of two ends where the next begins, the last at the largest error.
        ends = np.minimum(2.0 ** (firsts[place] + np.arange(len(counts) + 1)), largest[place])
        reached = (zeros[place] + np.cumsum([0, *counts])) / total
        part = pandas.DataFrame({"x": ends, "value": reached})
        parts.append(
            part.assign(
                series=row["series"],
                model=row["model"],
                dtype=row["dtype"],
                bound=bound[place],
                source=OURS,
                cell=row["id"],
            )
        )
    if not parts:
        raise NoRowsError("no lossy codec changed a value, or rows are older than result.error.histogram")
    data = pandas.concat(parts, ignore_index=True)
    width = data["dtype"].map(lambda name: -get_format(name).bits)
    return data.assign(_width=width).sort_values(["_width", "model"], kind="stable").drop(columns="_width")


def _bounds(cells: pandas.DataFrame) -> list[float]:
    return [
        float(row.get(f"result.error.bounds.{row['dtype']}.absolute", np.nan))
        for row in cells.to_dict("records")
    ]


def _draw(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby(["model", "dtype"], sort=False))[:_CASES]
    order = [name for name in NAMES.values() if data["series"].eq(name).any()]
    height = -(-len(cases) // 2)
    figure, grid = pyplot.subplots(
        height, min(2, len(cases)), figsize=(8, 0.8 + 2.6 * height), sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[len(cases) :]:
        axes.axis("off")
    handles = {}
    for axes, ((model, dtype), part) in zip(grid.flat, cases, strict=False):
        shown = part[part["x"] >= 2.0**_LOWEST]
        lines(axes, shown, order=order, legend=False)
        handles.update({name: line for line, name in zip(*axes.get_legend_handles_labels(), strict=True)})
        axes.set_xscale("log", base=2)
        axes.set_title(f"{model}, {dtype}")
        axes.set_xlabel("largest |error|")
        axes.set_ylabel("share of values")
        axes.tick_params(labelbottom=True)
        elf = part.loc[part["series"] == NAMES["elf"], "bound"]
        if not elf.empty:
            reference_line(axes, float(elf.iloc[0]), "Elf's bound", vertical=True)
    grid[0, 0].set_ylim(0, 1.35)  # room for the name of the bound
    grid[0, 0].set_yticks([0, 0.25, 0.5, 0.75, 1])
    figure.legend([handles[name] for name in order if name in handles],
                  [name for name in order if name in handles], loc="outside right upper")  # fmt: skip
    return figure


SHEETS = (
    Sheet(
        name="errors",
        title="How large the errors are: share of values with at most this error",
        after="the error distribution of Elf (PVLDB 17(8), 2024)",
        note="Exact counts over all values, by powers of two; a line begins at the share of values that "
        "did not change. Elf's bound is half a unit of the mantissa: 2^-24 for float32, 2^-11 for "
        "float16. Elves loses what Elf does, or nothing. The paper's curves are not known.",
        experiments=("elves_codecs", "elves_sz3"),
        data=_data,
        draw=_draw,
    ),
)
