"""What no paper has: all systems in one picture, size against speed and size against accuracy."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import OURS, legend_outside, look, reference_line
from weightbench.figures.rows import NoRowsError, Rows, numbers
from weightbench.figures.sheet import Sheet
from weightbench.pareto import pareto_front

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_SPEED = "result.speed.decode.share_of_memcpy_fresh"
_LIKELIHOOD = "result.evaluation.likelihood"
_EXACT = "result.error.bit_exact"
_LINEAR_NATS = 1e-4  # below, the axis of losses is linear: differences that small are noise
_FEWEST = 6  # systems that make a picture
_ROW_HEIGHT = 4.8  # inches for each model


def _speed_data(rows: Rows) -> pandas.DataFrame:
    rows = rows.timed().having(f"{_SPEED}.median").where(workload="single", cell__measure__threads=1)
    return _tidy(rows.one_each(), _SPEED, larger=True)


def _loss_data(rows: Rows) -> pandas.DataFrame:
    cells = rows.where(workload="single").one_each()
    # What is bit-exact needs no evaluation: its difference is zero.
    exact = cells[_EXACT].fillna(False).astype(bool)
    # A loss is what the log-likelihood went down by, so its interval is the other way round.
    for end, of in (("median", "difference"), ("ci_low", "interval.high"), ("ci_high", "interval.low")):
        cells[f"loss.{end}"] = (-numbers(cells, f"{_LIKELIHOOD}.{of}")).mask(exact, 0.0)
    lossy = cells.loc[~exact & cells["loss.median"].notna(), ["model", "dtype"]]
    if lossy.empty:
        raise NoRowsError("no lossy codec was evaluated (eval=lm_eval_quick or perplexity)")
    # Exact rows of models that no lossy row is about would stand alone at zero.
    return _tidy(cells.merge(lossy.drop_duplicates(), on=["model", "dtype"]), "loss", larger=False)


def _tidy(cells: pandas.DataFrame, column: str, *, larger: bool) -> pandas.DataFrame:
    """Return one line a row: its ratio, its speed or loss with the interval, whether it is on the front."""
    columns = {
        "model": cells["model"],
        "dtype": cells["dtype"],
        "granularity": cells["granularity"],
        "series": cells["system"],
        "label": cells["label"],
        "source": OURS,
        "ratio": cells["ratio"],
        "value": numbers(cells, f"{column}.median"),
        "low": numbers(cells, f"{column}.ci_low"),
        "high": numbers(cells, f"{column}.ci_high"),
        "cell": cells["id"],
    }
    data = pandas.DataFrame(columns).dropna(subset=["ratio", "value"])
    cases = [_one_granularity(case) for _, case in data.groupby(["model", "dtype"], sort=False)]
    cases = [case for case in cases if len(case) >= _FEWEST]
    if not cases:
        raise NoRowsError(f"of no model {_FEWEST} systems were measured at one granularity")
    for case in cases:
        case["on_front"] = pareto_front(case[["ratio", "value"]].to_numpy(np.float64), [True, larger])
    return pandas.concat(cases, ignore_index=True)


def _one_granularity(case: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows of the granularity that most systems were measured at: others are other workloads."""
    most = case["granularity"].value_counts().index[0]
    return pandas.DataFrame(case[case["granularity"] == most])


def _draw_speed(data: pandas.DataFrame) -> Figure:
    figure = _draw(data, "decoding, share of memcpy's speed", "steps-pre")
    for axes in figure.axes:
        axes.set_xscale("log")
        reference_line(axes, 1.0, "memcpy", vertical=True)
    return figure


def _draw_loss(data: pandas.DataFrame) -> Figure:
    figure = _draw(data, "loss of log-likelihood, nats a token (right is worse)", "steps-post")
    for axes in figure.axes:
        axes.set_xscale("symlog", linthresh=_LINEAR_NATS)
        reference_line(axes, 0.0, "bit-exact", vertical=True)
    return figure


def _draw(data: pandas.DataFrame, label: str, steps: str) -> Figure:
    cases = list(data.groupby(["model", "dtype"], sort=False))
    figure, grid = pyplot.subplots(len(cases), 1, figsize=(8, _ROW_HEIGHT * len(cases)), squeeze=False)
    order = list(dict.fromkeys(data["series"]))
    for axes, ((model, dtype), part) in zip(grid[:, 0], cases, strict=True):
        axes.set_title(f"{model}, {dtype}, granularity {part['granularity'].iloc[0]}")
        _scatter(axes, part, order, steps)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}")
        axes.tick_params(axis="y", which="minor", labelsize=7)
        axes.set_ylabel("ratio (raw / stored)")
        axes.set_xlabel(label)
        reference_line(axes, 1.0, "raw")
        legend_outside(axes)
    return figure


def _scatter(axes: Axes, part: pandas.DataFrame, order: list[str], steps: str) -> None:
    """Draw the points, and the front as stairs: between its points nothing was measured."""
    for name, points in part.groupby("series", sort=False):
        drawn = look(str(name), order)
        spread = np.nan_to_num(
            np.clip([points["value"] - points["low"], points["high"] - points["value"]], 0, None)
        )
        axes.errorbar(points["value"], points["ratio"], xerr=spread, fmt=drawn.marker, color=drawn.colour,
                      markersize=6, markeredgecolor="black", markeredgewidth=0.4, ecolor="black",
                      capsize=2, elinewidth=0.8, label=name, zorder=3)  # fmt: skip
    front = part[part["on_front"]].sort_values("value")
    axes.plot(front["value"], front["ratio"], color="black", linewidth=0.8, linestyle=":",
              drawstyle=steps, zorder=2)  # fmt: skip
    for _, point in front.iterrows():
        axes.annotate(point["series"], (point["value"], point["ratio"]), xytext=(5, 5), fontsize=7,
                      textcoords="offset points")  # fmt: skip


_EXPERIMENTS = ("systems",)

SHEETS = (
    Sheet(
        name="speed",
        title="All systems: size against decoding speed",
        after="ours",
        note="One thread, in memory, 95 % intervals over rounds; below the dotted stairs lies what another "
        "system beats in both. Right and up is better.",
        experiments=_EXPERIMENTS,
        data=_speed_data,
        draw=_draw_speed,
    ),
    Sheet(
        name="loss",
        title="All systems: size against accuracy",
        after="ours",
        note="Paired difference of held-out log-likelihood with its 95 % bootstrap interval; lossless "
        "systems stand at zero; linear below 1e-4. Left and up is better.",
        experiments=_EXPERIMENTS,
        data=_loss_data,
        draw=_draw_loss,
    ),
)
