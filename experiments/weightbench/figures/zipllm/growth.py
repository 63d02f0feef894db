"""What is saved as models are added, and what each step of ZipLLM adds."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import (
    OURS,
    PAPER,
    bars,
    hollow_bars,
    legend_outside,
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
from matplotlib.patches import Patch

__all__ = ["SHEETS"]

_MODELS = "result.workload.models"
_NOT_SHOWN = ("parameter", "model", "layer")
_NAMED = 12  # models up to which the axis names them
_CASES = 3
_FEWEST = 3  # systems that make a picture
_DEMO = 10  # of the paper's values: up to so many models they are of its artifact's demonstration
_CLOSE = 2.5  # % of raw: ends of lines that are nearer share a label


def _growth_data(rows: Rows) -> pandas.DataFrame:
    cells = hub_cells(rows, _MODELS)
    cells = cells[(cells["system"] != "identity") & ~cells["granularity"].isin(_NOT_SHOWN)]
    cells = cells[~cells["granularity"].str.startswith("fixed")]
    cells = cells[cells.groupby("case")["system"].transform("nunique") >= _FEWEST]
    if cells.empty:
        raise NoRowsError(f"no hub that {_FEWEST} systems stored")
    made = []
    for row, models in zip(records(cells), parsed(cells, _MODELS), strict=True):
        added = np.cumsum([model["added_bytes"] for model in models])
        raw = np.cumsum([model["raw_bytes"] for model in models])
        made += [
            {"case": row["case"], "series": row["series"], "x": number, "value": 100 * (1 - part / whole),
             "model": model["name"], "source": OURS, "cell": row["id"]}
            for number, (model, part, whole) in enumerate(zip(models, added, raw, strict=True), 1)
        ]  # fmt: skip
    paper = published("zipllm", "growth").assign(source=PAPER)
    return pandas.concat([pandas.DataFrame(made), paper.assign(x=paper["x"].astype(int))], ignore_index=True)


def _draw_growth(data: pandas.DataFrame) -> Figure:
    cases = list(data[data["source"] == OURS].groupby("case", sort=False))[:_CASES]
    paper = data[data["source"] == PAPER]
    order = case_order(data["series"])
    figure, grid = pyplot.subplots(len(cases), 1, figsize=(9, 0.6 + 4.2 * len(cases)), squeeze=False)
    for axes, (case, part) in zip(grid[:, 0], cases, strict=True):
        axes.set_title(case)
        lines(axes, part, order=[name for name in order if name in set(part["series"])], legend=False)
        _name_ends(axes, part)
        _demo(axes, paper[paper["x"] <= _DEMO], order)
        names = part.drop_duplicates("x").sort_values("x")["model"].tolist()
        _papers_ends(axes, paper[paper["x"] > _DEMO], order, names)
        reference_line(axes, 50, "half")
        axes.set_ylim(bottom=min(-8.0, axes.get_ylim()[0]))
        axes.set_xlabel("models added, in this order (bases first)")
        axes.set_ylabel("data reduction, % of raw saved")
    return figure


def _name_ends(axes: Axes, part: pandas.DataFrame) -> None:
    """Name lines at their last points, those that end together with one label."""
    last = part.sort_values("x").groupby("series", sort=False).tail(1).sort_values("value")
    together = (last["value"].diff() > _CLOSE).cumsum()
    for _, ends in last.groupby(together):
        text = "\n".join(f"{end['series']} {round(end['value'], 1) + 0.0:.1f}" for end in records(ends)[::-1])
        axes.annotate(text, (ends["x"].max(), ends["value"].mean()), xytext=(7, 0), fontsize=7, va="center",
                      textcoords="offset points")  # fmt: skip


def _demo(axes: Axes, part: pandas.DataFrame, order: list[str]) -> None:
    for name, line in part.groupby("series"):
        drawn = look(str(name), order)
        axes.plot(line["x"], line["value"], color=drawn.colour, marker=drawn.marker, markersize=5,
                  linestyle="--", linewidth=1.2, markerfacecolor="white")  # fmt: skip
        axes.annotate(f"{name}, the paper's artifact", (line["x"].iloc[-1], line["value"].iloc[-1]),
                      xytext=(0, 6), textcoords="offset points", fontsize=7, ha="center")  # fmt: skip


def _papers_ends(axes: Axes, paper: pandas.DataFrame, order: list[str], names: list[str]) -> None:
    """Draw where the paper's curves end, as hollow marks to the right of ours."""
    count = len(names)
    place = 1.47 * count
    for line in records(paper):
        drawn, value = look(line["series"], order), line["value"]
        axes.plot([place], [value], marker=drawn.marker, markersize=6, markerfacecolor="white",
                  markeredgecolor=drawn.colour, linestyle="none")  # fmt: skip
        axes.annotate(f"{line['series']} {value:g}", (place, value), xytext=(7, 0), fontsize=7,
                      textcoords="offset points", va="center")  # fmt: skip
    axes.axvline(1.4 * count, color="black", linewidth=0.6)
    axes.set_xlim(0.7, 1.85 * count)
    ticks = [*range(1, count + 1, max(1, count // _NAMED))]
    said = [f"{tick} {names[tick - 1]}" if count <= _NAMED else str(tick) for tick in ticks]
    axes.set_xticks([*ticks, place], [*said, "the paper's\n3,048 models"], fontsize=8)
    for label in axes.get_xticklabels()[: len(said)]:
        label.set(rotation=20, ha="right", rotation_mode="anchor")


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
    bars(axes, ours, order=order, groups=groups, systems=False)
    hollow_bars(axes, data.assign(series=data["series"].where(data["source"] == OURS, _PAPERS)), order=order,
                groups=groups, systems=False, text="{:.1f}")  # fmt: skip
    looks = {name: look(name, order, systems=False) for name in order}
    legend_outside(axes, [
        Patch(facecolor="white" if name == _PAPERS else drawn.colour, hatch=drawn.hatch, label=name,
              edgecolor=drawn.colour if name == _PAPERS else "black", linewidth=0.8)
        for name, drawn in looks.items()
    ])  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("data reduction, % of raw saved")
    return figure


SHEETS = (
    Sheet(
        name="growth",
        title="What is saved as models are added",
        after="ZipLLM's reduction against number of models",
        note="Each model's own bytes in the depot against its files; bases, coded by themselves, first. "
        "Ours: small models. Dashed: the paper's artifact, five models of Llama-3.1-8B's "
        "family, from its notebook. Hollow at the right: where the paper's curves end.",
        experiments=("zipllm_systems", "zipllm_variants", "zipllm_chunks", "zipllm_distances"),
        data=_growth_data,
        draw=_draw_growth,
    ),
    Sheet(
        name="steps",
        title="What each step of ZipLLM saves",
        after="ZipLLM's cumulative sizes: 43.19, 41.80, 39.61 and 19.82 TB",
        note="Everything stored is counted, indices too, and headers are kept coded, so dedup that finds "
        "nothing lies a little beside 0. Our models are distinct fine-tunes; the paper's hub holds copies "
        "and frozen layers too.",
        experiments=("dedup_levels", "zipllm_systems"),
        data=_steps_data,
        draw=_draw_steps,
    ),
)
