"""The picture of a tuning: ratio against loss, a line a codec, the budget, and the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weightbench.figures import style

from matplotlib import pyplot  # isort: skip - after style, which chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

__all__ = ["draw_tuning", "tuning_figure"]

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PINK, style.SKY, style.BLACK, style.GREY)
_MARKERS = "osD^vP*X"
_NARROW = 0.01  # share of the budget that counts as nothing: the scale is linear below


def draw_tuning(tunings: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the figure of tunings of one model under one metric as PNG."""
    with style.styled():
        figure = tuning_figure(tunings)
        figure.savefig(path)
        pyplot.close(figure)


def tuning_figure(tunings: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the figure.

    Args:
        tunings: as written to ``results/tuning``; at least one, all of one model, metric and budget.
    """
    first = tunings[0]
    budget = first["tune"]["budget"]
    figure, axes = pyplot.subplots(figsize=(8, 5))
    axes.set_title(f"What a loss buys: {first['model']}")
    axes.set_xscale("symlog", linthresh=_NARROW * budget or 1e-6)
    for index, tuning in enumerate(tunings):
        _line(axes, tuning, _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)])
    axes.axvline(budget, color="black", linewidth=1, linestyle="--")
    top = axes.get_xaxis_transform()
    axes.text(budget, 1.0, f" budget {budget:g}", transform=top, va="top", ha="left", fontsize=8)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlabel(f"loss, {first['units']}: 95 % interval; right is worse")
    axes.set_ylabel("ratio (raw / stored)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    low, high = _reach(tunings, budget)
    axes.set_xlim(low, high)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _line(axes: Axes, tuning: Mapping[str, Any], colour: str, marker: str) -> None:
    probes = [probe for probe in tuning["probes"] if probe["loss"] and math.isfinite(probe["loss"]["value"])]
    label = _label(tuning)
    if not probes:
        axes.plot([], [], color=colour, marker=marker, linestyle="none", label=label)
        return
    x = [probe["loss"]["value"] for probe in probes]
    y = [probe["ratio"] for probe in probes]
    spread = [
        [_reach_of(probe, "low", -1) for probe in probes],
        [_reach_of(probe, "high", 1) for probe in probes],
    ]
    if tuning["ordered"]:  # between the probes nothing was measured
        axes.plot(x, y, color=colour, linewidth=0.9, linestyle=":")
    axes.errorbar(x, y, xerr=spread, fmt=marker, markersize=4, capsize=3, color=colour, label=label)
    if best := tuning["best"]:
        at = ([best["loss"]["value"]], [best["ratio"]])
        axes.plot(*at, marker="o", markersize=12, markerfacecolor="none", color=colour, linestyle="none")
    if not tuning["ordered"] and len(probes) > 1:
        for probe in probes:
            axes.annotate(f"  {probe['value']}", (probe["loss"]["value"], probe["ratio"]), fontsize=6.5,
                          rotation=-35, rotation_mode="anchor", va="center", color=colour)  # fmt: skip


def _label(tuning: Mapping[str, Any]) -> str:
    name, best = tuning["cell"]["codec"]["name"], tuning["best"]
    if best is None:
        return f"{name}: nothing within"
    value = "" if best["value"] is None else f" at {_short(best['value'])}"
    return f"{name}: {best['ratio']:.3f}×{value}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _reach_of(probe: Mapping[str, Any], end: str, sign: int) -> float:
    bound = probe["loss"][end]
    return 0.0 if bound is None else max(sign * (bound - probe["loss"]["value"]), 0.0)


def _reach(tunings: Sequence[Mapping[str, Any]], budget: float) -> tuple[float, float]:
    """Return the ends of the x axis: all losses, the budget and zero, with some air."""
    losses = [probe["loss"] for tuning in tunings for probe in tuning["probes"] if probe["loss"]]
    ends = [end for loss in losses for end in loss.values() if end is not None and math.isfinite(end)]
    low, high = min([0.0, *ends]), max([2 * budget, *ends])
    return (1.3 * low if low < 0 else -0.3 * _NARROW * budget), 1.5 * high
