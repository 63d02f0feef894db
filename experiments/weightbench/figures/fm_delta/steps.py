"""The rate along a fine-tuning run, with the distance from the base and the loss beside it."""

from __future__ import annotations

import re
from importlib.resources import files

import pandas

from weightbench.figures.charts import OURS, legend_outside, look
from weightbench.figures.fm_delta.members import fine_tunes
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_STEP = re.compile(r"(.+)/step_(\d+)")
_SYSTEMS = ("fm_delta", "bitx", "zipnn_delta")
_DASHES = ("-", "--", ":", "-.")
_DISTANCE, _LOSS = "euclidean_distance", "bits_per_byte"


def _data(rows: Rows) -> pandas.DataFrame:
    models = fine_tunes(rows.where(workload="family"))
    models = models[models["system"].isin(_SYSTEMS)]
    found = models["name"].str.extract(_STEP.pattern)
    models = models.assign(run=found[0], x=found[1].astype(float)).dropna(subset=["x"])
    # Against the base they began at: the checkpoint before is another figure.
    models = models[~models["base"].str.contains("/step_")]
    if models.empty:
        raise NoRowsError("no checkpoints …/step_00010 beside the base they began at")
    rates = models.assign(series=models["label"], panel="rate", unit="% of raw", source=OURS)
    return pandas.concat(
        [rates[["run", "dtype", "panel", "series", "x", "value", "unit", "source", "cell"]],
         *(_curves(run) for run in sorted(models["run"].unique()))],
        ignore_index=True,
    )  # fmt: skip


def _curves(run: str) -> pandas.DataFrame:
    """Return distance and held-out losses of a run, from the zoo's own record of it; of others nothing."""
    source = files("weightbench.zoo") / "curves" / f"{run}.series.csv"
    if not source.is_file():
        return pandas.DataFrame()
    with source.open(encoding="utf-8") as file:
        table = pandas.read_csv(file)
    table = table[table["step"] > 0]
    made = [_curve(table, "distance", run, _DISTANCE, "Euclidean distance")]
    for column in (name for name in map(str, table) if name.startswith(_LOSS)):
        domain = column.removeprefix(f"{_LOSS}_")
        made.append(_curve(table, "loss", f"{run}: {domain}", column, "bits a byte"))
    return pandas.concat(made).assign(run=run, dtype="", source=OURS)


def _curve(table: pandas.DataFrame, panel: str, series: str, column: str, unit: str) -> pandas.DataFrame:
    return pandas.DataFrame({"x": table["step"], "value": table[column]}).assign(
        panel=panel, series=series, unit=unit
    )


def _draw(data: pandas.DataFrame) -> Figure:
    rates = data[data["panel"] == "rate"]
    formats = list(rates.groupby("dtype", sort=False))
    panels = [name for name in ("distance", "loss") if (data["panel"] == name).any()]
    height = len(formats) + len(panels)
    figure, grid = pyplot.subplots(height, 1, figsize=(9, 2.5 * height), squeeze=False)
    for axes, (dtype, part) in zip(grid[:, 0], formats, strict=False):
        axes.set_title(f"rate, {dtype}")
        _rates(axes, part)
        axes.set_ylabel("% of raw bytes left")
    for axes, panel in zip(grid[len(formats) :, 0], panels, strict=True):
        part = data[data["panel"] == panel]
        axes.set_title({"distance": "distance from the base", "loss": "loss on held-out text"}[panel])
        order = list(dict.fromkeys(part["series"]))
        for name, line in part.groupby("series", sort=False):
            drawn = look(str(name), order, systems=False)
            axes.plot(
                line["x"], line["value"], color=drawn.colour, marker=drawn.marker, markersize=4, label=name
            )
        axes.set_ylabel(part["unit"].iloc[0])
        legend_outside(axes)
    for axes in grid[:, 0]:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("fine-tuning steps")
    if "distance" in panels:
        grid[len(formats), 0].set_yscale("log")
    return figure


def _rates(axes: Axes, part: pandas.DataFrame) -> None:
    order, runs = sorted(part["series"].unique()), sorted(part["run"].unique())
    for (run, name), line in part.groupby(["run", "series"], sort=False):
        drawn = look(str(name), order)
        line = line.sort_values("x")
        axes.plot(line["x"], line["value"], color=drawn.colour, marker=drawn.marker, markersize=4,
                  linestyle=_DASHES[runs.index(run) % len(_DASHES)], label=f"{name}, {run}")  # fmt: skip
    legend_outside(axes)


SHEETS = (
    Sheet(
        name="steps",
        title="Rate, distance and loss against fine-tuning steps",
        after="FM-Delta's figures 7 and 12",
        note="Every checkpoint against the base; zipnn_delta and bitx nearly coincide. A random walk makes "
        "the distance grow with the root of the steps, and each doubling of it costs one bit a "
        "weight; the learning rate decays to 0 over 400 steps, so the curves flatten. The paper's "
        "GPT-2 curves are not at hand.",
        experiments=("fine_tuning_steps",),
        data=_data,
        draw=_draw,
    ),
)
