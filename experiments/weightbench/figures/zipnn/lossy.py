"""The tunable lossy ZipNN: what a coarser grid of weights saves, and what it costs in accuracy."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas

from weightbench.figures.charts import OURS, PAPER, legend_outside, lines, look, reference_line
from weightbench.figures.rows import Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import papers_values, split_x, together

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["SHEETS"]

_FACTOR = "cell.codec.factor"
_LIKELIHOOD = "result.evaluation.likelihood"
_LINEAR_NATS = 1e-4  # below, the axis of losses is linear
_LABELS = {
    "remaining": "% of raw bytes that is left",
    "accuracy": "accuracy, %",
    "loss": "loss of log-likelihood,\nnats a token (up is worse)",
}


def _lossy_data(rows: Rows) -> pandas.DataFrame:
    usual = {"workload": "single", "granularity": "tensor"}
    lossy = rows.where(**usual, system="zipnn_lossy").having(_FACTOR)
    found = [] if lossy.cells.empty else _evaluated_first(lossy).to_dict("records")
    shown: list[dict[str, Any]] = []
    for row in found:
        common = {"series": _series(row), "x": float(row[_FACTOR]), "cell": row["id"]}
        shown.append({**common, "quantity": "remaining", "value": 100 / row["ratio"], "unit": "% of raw"})
        shown += [{**common, **measured} for measured in (*_accuracies(row), *_loss(row))]
    models = {(row["model"], row["dtype"]) for row in found}
    exact = rows.where(**usual, label="zipnn", cell__dedup=False)
    for row in [] if exact.cells.empty else exact.one_each().to_dict("records"):
        if (row["model"], row["dtype"]) in models:
            shown.append({"series": f"{row['model']} {row['dtype']}", "quantity": "lossless",
                          "value": 100 / row["ratio"], "unit": "% of raw", "cell": row["id"]})  # fmt: skip
    papers = split_x(papers_values("lossy"), "quantity")
    return together(
        pandas.DataFrame(shown),
        papers.assign(x=papers["x"].astype(float)),
        "a checkpoint coded by zipnn_lossy",
    )


def _evaluated_first(lossy: Rows) -> pandas.DataFrame:
    """Return one line a setting, of those that were also evaluated the evaluated one."""
    evaluated = lossy.having(f"{_LIKELIHOOD}.difference")
    parts = [part.one_each() for part in (evaluated, lossy) if not part.cells.empty]
    options = ["model", "dtype", "label"]
    return pandas.concat(parts, ignore_index=True).drop_duplicates(options).reset_index(drop=True)


def _series(row: dict[Any, Any]) -> str:
    """Return model and format, and the options other than the factor where they are not the defaults."""
    options = re.search(r"\((.*)\)", row["label"])
    changed = [word for word in options[1].split(", ") if not word.startswith("factor=")] if options else []
    return " ".join([row["model"], row["dtype"], *changed])


def _accuracies(row: dict[Any, Any]) -> list[dict[str, Any]]:
    """Return each task's accuracy after coding, with the interval of its paired difference, and before."""
    changes = row.get("result.evaluation.changes")
    told: dict[str, dict[str, Any]] = {}
    for change in json.loads(changes) if isinstance(changes, str) else []:
        if change["task"] in told or change["interval"] is None:
            continue
        before, interval = 100 * change["before"], change["interval"]
        told[change["task"]] = {
            "quantity": "accuracy", "task": change["task"], "unit": f"% {change['metric']}",
            "value": 100 * change["after"], "before": before,
            "low": before + 100 * interval["low"], "high": before + 100 * interval["high"],
        }  # fmt: skip
    return list(told.values())


def _loss(row: dict[Any, Any]) -> list[dict[str, Any]]:
    value = row.get(f"{_LIKELIHOOD}.difference")
    if value is None or value != value:
        return []
    low, high = (-row[f"{_LIKELIHOOD}.interval.{end}"] for end in ("high", "low"))  # rows have gains
    return [{"quantity": "loss", "value": -value, "low": low, "high": high, "unit": "nats a token"}]


def _draw_lossy(data: pandas.DataFrame) -> Figure:
    ours = data[data["source"] == OURS]
    shown = [name for name in _LABELS if (ours["quantity"] == name).any()]
    figure, grid = pyplot.subplots(len(shown), 1, figsize=(8, 2.5 * len(shown)), sharex=True, squeeze=False)
    order = list(dict.fromkeys(ours["series"]))
    for axes, quantity in zip(grid[:, 0], shown, strict=True):
        part = ours[ours["quantity"] == quantity]
        if quantity == "loss":
            axes.set_yscale("symlog", linthresh=_LINEAR_NATS)
        axes.margins(y=0.1)
        lines(axes, part, order=[name for name in order if (part["series"] == name).any()], systems=False)
        axes.set_ylabel(_LABELS[quantity])
        _references(axes, ours, quantity)
        _papers_points(axes, data[(data["source"] == PAPER) & (data["quantity"] == quantity)], len(order))
        legend_outside(axes)
        axes.set_xlabel("factor b: weights become multiples of 2^−b")
        axes.tick_params(labelbottom=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _references(axes: Axes, ours: pandas.DataFrame, quantity: str) -> None:
    if quantity == "remaining":
        axes.set_ylim(0, 105)
        reference_line(axes, 100, "raw")
        lossless = ours[ours["quantity"] == "lossless"]
        for series, value in zip(lossless["series"], lossless["value"], strict=True):
            reference_line(axes, value, f"{series} without loss (zipnn)")
    elif quantity == "accuracy":
        for task, part in ours[ours["quantity"] == "accuracy"].groupby("task", sort=False):
            for series, alike in part.groupby("series", sort=False):
                axes.axhline(alike["before"].iloc[0], color="black", linestyle="--", linewidth=0.8,
                             label=f"{series!s} before, {task!s}")  # fmt: skip
    else:
        reference_line(axes, 0, "before")


def _papers_points(axes: Axes, papers: pandas.DataFrame, first: int) -> None:
    names = [*map(str, range(first)), *dict.fromkeys(papers["series"])]  # looks that ours do not have
    for name, part in papers.groupby("series", sort=False):
        drawn = look(str(name), names, systems=False)
        axes.plot(part["x"], part["value"], linestyle="none", marker=drawn.marker, color=drawn.colour,
                  markerfacecolor="white", markersize=6, label=f"{name} (paper)")  # fmt: skip


SHEETS = (
    Sheet(
        name="lossy",
        title="ZipNN with loss: size and accuracy by the factor",
        after="ZipNN's predecessor (arXiv 2404.15198), figure 3",
        note="Accuracy and its paired 95 % interval on the multiple-choice task, loss of log-likelihood "
        "with its 95 % bootstrap interval. Rounding to the nearest multiple and signs apart, where "
        "the authors truncate and keep two's complement. Hollow: the paper's, read in a digest of its"
        " text; its RoBERTa, T5 and wav2vec, whose weights have other scales, are not our models, nor"
        " are its tasks.",
        experiments=("zipnn_lossy", "zipnn_models"),
        data=_lossy_data,
        draw=_draw_lossy,
    ),
)
