"""What is saved as models are added, and what each step of ZipLLM adds."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import (
    OURS,
    PAPER,
    bars,
    hollow_bars,
    lines,
    look,
    reference_line,
)
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, parsed, records
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipllm.hubs import case_order, hub_cells, reduction

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_MODELS = "result.workload.models"
_CASES = 3
_LEAST_DEMO = 10  # of the paper's curves: up to so many models they are its artifact's demonstration


def _growth_data(rows: Rows) -> pandas.DataFrame:
    cells = hub_cells(rows, _MODELS)
    cells = cells[~cells["granularity"].isin(["parameter", "model", "layer"])]
    made = []
    for row, models in zip(records(cells), parsed(cells, _MODELS), strict=True):
        added = np.cumsum([model["added_bytes"] for model in models])
        raw = np.cumsum([model["raw_bytes"] for model in models])
        made += [
            {"case": row["case"], "series": row["series"], "x": number, "value": 100 * (1 - part / whole),
             "model": model["name"], "source": OURS, "cell": row["id"]}
            for number, (model, part, whole) in enumerate(zip(models, added, raw, strict=True), 1)
        ]  # fmt: skip
    if not made:
        raise NoRowsError("no hub whose models' added bytes are known")
    paper = published("zipllm", "growth").assign(source=PAPER)
    return pandas.concat([pandas.DataFrame(made), paper.assign(x=paper["x"].astype(int))], ignore_index=True)


def _draw_growth(data: pandas.DataFrame) -> Figure:
    cases = list(data[data["source"] == OURS].groupby("case", sort=False))[:_CASES]
    paper = data[data["source"] == PAPER]
    order = case_order(data["series"])
    figure, grid = pyplot.subplots(len(cases), 1, figsize=(9, 0.6 + 4.2 * len(cases)), squeeze=False)
    for axes, (case, part) in zip(grid[:, 0], cases, strict=True):
        axes.set_title(case)
        demo = paper[(paper["x"] <= _LEAST_DEMO) & paper["x"].gt(0)]
        present = [name for name in order if name in set(part["series"]) | set(demo["series"])]
        lines(axes, pandas.concat([part, demo]), order=present)
        _ends(axes, paper[paper["x"] > _LEAST_DEMO], order, int(part["x"].max()) + 1)
        reference_line(axes, 50, "half")
        axes.set_xlabel("models added, in this order (bases first)")
        axes.set_ylabel("data reduction, % of raw saved")
    return figure


def _ends(axes: Axes, paper: pandas.DataFrame, order: list[str], place: int) -> None:
    """Draw where the paper's curves end, as hollow marks to the right of ours."""
    for line in paper.itertuples():
        drawn = look(str(line.series), order)
        axes.plot([place], [line.value], marker=drawn.marker, markersize=6, markerfacecolor="white",
                  markeredgecolor=drawn.colour, linestyle="none")  # fmt: skip
        axes.annotate(f"{line.series} {line.value:g}", (place, line.value), xytext=(6, 0), fontsize=7,
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_xlim(0.7, place + 1.4)
    axes.set_xticks([*range(1, place), place], [*map(str, range(1, place)), "paper's,\n3,048 models"])


# The steps ----------------------------------------------------------------------------------------------

_STEPS = {
    "dedup (model)": "whole models once (FileDedup)",
    "dedup (tensor)": "tensors once (TensorDedup)",
    "zipllm": "tensors once, the rest by BitX and ZipNN (ZipLLM)",
}
_PAPERS = "the paper's 43 TB"


def _steps_data(rows: Rows) -> pandas.DataFrame:
    cells = hub_cells(rows)
    cells = cells[cells["series"].isin(_STEPS)]
    whole = cells.groupby("case")["series"].transform("nunique") == len(_STEPS)
    cells = cells[whole]
    if cells.empty:
        raise NoRowsError("no hub stored by codec=dedup at granularity model and tensor, and by zipllm")
    columns = {"series": cells["case"], "x": cells["series"].map(_STEPS), "value": reduction(cells)}
    ours = pandas.DataFrame(columns | {"source": OURS, "cell": cells["id"]})
    paper = published("zipllm", "steps").assign(source=PAPER)
    return pandas.concat([ours, paper.assign(x=paper["x"].map(_STEPS))], ignore_index=True)


def _draw_steps(data: pandas.DataFrame) -> Figure:
    ours = data[data["source"] == OURS]
    order, groups = [*dict.fromkeys(ours["series"]), _PAPERS], list(_STEPS.values())
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.5 * len(groups) * len(order)))
    bars(axes, ours, order=order, groups=groups, systems=False, text="{:.1f}")
    hollow_bars(axes, data.assign(series=data["series"].where(data["source"] == OURS, _PAPERS)), order=order,
                groups=groups, systems=False, text="{:.1f}")  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("data reduction, % of raw saved")
    return figure


SHEETS = (
    Sheet(
        name="growth",
        title="What is saved as models are added",
        after="ZipLLM's reduction against number of models",
        note="Each model's own bytes in the depot against its files; the first is the base, coded by itself. "
        "Ours: small models without copies. Dashed: the paper's artifact, five models of Llama-3.1-8B's "
        "family, from its notebook. Hollow at the right: where the paper's curves end.",
        experiments=("zipllm_systems", "zipllm_variants", "zipllm_chunks"),
        data=_growth_data,
        draw=_draw_growth,
    ),
    Sheet(
        name="steps",
        title="What each step of ZipLLM saves",
        after="ZipLLM's cumulative sizes: 43.19, 41.80, 39.61 and 19.82 TB",
        note="Everything stored is counted, indices too, which is why dedup that finds nothing lies below 0. "
        "Our models are distinct fine-tunes; the paper's hub holds copies and frozen layers too.",
        experiments=("dedup_levels", "zipllm_systems"),
        data=_steps_data,
        draw=_draw_steps,
    ),
)
