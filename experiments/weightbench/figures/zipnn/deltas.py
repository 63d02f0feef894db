"""Checkpoints along a fine-tuning run: coded against the one before, against the base, and alone."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas

from weightbench.figures import style
from weightbench.figures.charts import OURS, PAPER, lines, look, reference_line
from weightbench.figures.rows import Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import papers_values, together

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["SHEETS"]

_NUMBERED = re.compile(r"(.*?)[/_ -]*(?:step|epoch|checkpoint)[/_-]?(\d+)$")
_BEFORE, _BASE, _ALONE = "delta with the checkpoint before", "delta with the base", "alone"
_ORDER = (_BEFORE, _BASE, _ALONE)
_ALONE_SYSTEM, _DELTA_SYSTEM = "zipnn", "zipnn_delta"
_PANELS = 6  # runs and formats that are drawn; the CSV has all


def _delta_data(rows: Rows) -> pandas.DataFrame:
    families = rows.where(workload="family", label=[_DELTA_SYSTEM, _ALONE_SYSTEM])
    found: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for row in [] if families.cells.empty else families.one_each().to_dict("records"):
        for model in json.loads(row["result.workload.models"]):
            numbered = _NUMBERED.fullmatch(model["name"])
            kind = _kind(str(row["system"]), numbered, model["base"])
            if numbered is None or kind is None:
                continue
            run, step = numbered[1], int(numbered[2])
            found[run, row["dtype"], kind, step] = {
                "series": kind, "x": step, "run": run, "dtype": row["dtype"],
                "value": 100 * model["added_bytes"] / model["raw_bytes"], "unit": "% of raw",
                "cell": row["id"],
            }  # fmt: skip
    ours = pandas.DataFrame(list(found.values()))
    if not ours.empty:
        ours = ours.sort_values(["run", "dtype", "series", "x"], ignore_index=True)
    papers = papers_values("delta_epochs").assign(x=float("nan"))
    return together(ours, papers, f"a family of numbered checkpoints (…/step_00050) coded by {_DELTA_SYSTEM}")


def _kind(system: str, numbered: re.Match[str] | None, base: str | None) -> str | None:
    """Return what a checkpoint was coded against: one of its own run, another model, or nothing."""
    if numbered is None or (system == _DELTA_SYSTEM and base is None):
        return None
    if system == _ALONE_SYSTEM or base is None:
        return _ALONE
    other = _NUMBERED.fullmatch(base)
    return _BEFORE if other is not None and other[1] == numbered[1] else _BASE


def _draw_deltas(data: pandas.DataFrame) -> Figure:
    ours = data[data["source"] == OURS]
    cases = list(ours.groupby(["run", "dtype"], sort=False))[:_PANELS]
    height = -(-len(cases) // 2)
    figure, grid = pyplot.subplots(height, 2, figsize=(9, 2.9 * height + 0.4), sharey=True, squeeze=False)
    for axes in grid.flat[len(cases) :]:
        axes.axis("off")
    for axes, ((run, dtype), part) in zip(grid.flat, cases, strict=False):
        axes.set_title(f"{run}, {dtype}", fontsize=9)
        lines(axes, part, order=_ORDER, systems=False, legend=False)
        if dtype == "float32":
            _papers_lines(axes, data[data["source"] == PAPER])
        reference_line(axes, 100, "raw")
        axes.set_xlabel("fine-tuning steps")
        axes.set_ylabel("% of raw bytes that is left")
        axes.set_ylim(0, 106)
        axes.tick_params(labelleft=True)
    last = grid[0, min(len(cases), 2) - 1]
    last.legend(handles=_legend(), loc="upper left", bbox_to_anchor=(1.08, 1.0))
    return figure


def _papers_lines(axes: Axes, papers: pandas.DataFrame) -> None:
    for series, value in zip(papers["series"], papers["value"].astype(float), strict=True):
        colour = look(series, _ORDER, systems=False).colour
        axes.axhline(value, color=colour, linestyle=":", linewidth=1.2)
        axes.annotate(f"{value:g}", (1, value), xycoords=("axes fraction", "data"), fontsize=6.5,
                      xytext=(2, 0), textcoords="offset points", va="center", color=colour)  # fmt: skip


def _legend() -> list[Line2D]:
    handles = [
        Line2D([], [], color=drawn.colour, marker=drawn.marker, markersize=5, linewidth=1.2, label=name)
        for name, drawn in ((name, look(name, _ORDER, systems=False)) for name in _ORDER)
    ]
    dotted = Line2D([], [], color=style.BLACK, linestyle=":", linewidth=1.2, label="paper (its RoBERTa)")
    return [*handles, dotted]


SHEETS = (
    Sheet(
        name="delta_epochs",
        title="Checkpoints of a fine-tuning run: what is left of each",
        after="ZipNN's predecessor (arXiv 2404.15198), figures 7 and 8",
        note="zipnn_delta (XOR) and zipnn, all bytes that a checkpoint added. Ours: a small Llama, a panel"
        " a run and format; the checkpoint before is the one that its experiment names (50 steps "
        "before), and the learning rate falls towards the end of a run, and with it the change. The "
        "paper's (float32): RoBERTa, a checkpoint an epoch, zstd-3 of grouped bytes, one value for "
        "all epochs; an epoch is more steps than ours.",
        experiments=("fine_tuning_epochs", "fine_tuning_steps"),
        data=_delta_data,
        draw=_draw_deltas,
    ),
)
