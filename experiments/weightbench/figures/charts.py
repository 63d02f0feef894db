"""Shapes that several figures share: grouped bars, lines with intervals, distributions, reference lines.

Every shape takes the tidy data of a sheet: columns ``series`` (what has a colour: a system, a line),
``x`` (what it is about), ``value``, optionally ``low`` and ``high`` (a 95 % interval), and ``source``: "ours"
or "paper". The papers' values are drawn hollow, in the colour of the same series, and named in the legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from weightbench.figures import style
from weightbench.figures.style import SystemStyle, system_style

from matplotlib.axes import Axes  # isort: skip - after style, which chooses the backend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

__all__ = [
    "OURS",
    "PAPER",
    "bars",
    "cumulative",
    "hollow_bars",
    "intervals",
    "legend_outside",
    "lines",
    "look",
    "named_bars",
    "reference_line",
]

OURS, PAPER = "ours", "paper"
_OTHERS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.SKY, style.PINK, style.BLACK, style.GREY)
_MARKS = "osD^vP*X"
_HATCHES = ("", "//", "xx", "..", "\\\\", "++", "oo", "--")
_DIAMOND: dict[str, Any] = {
    "linestyle": "none", "marker": "D", "markersize": 5,
    "markerfacecolor": "white", "markeredgecolor": "black",
}  # fmt: skip
_EDGE: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.4}
_TICK_WIDTH = 26  # characters of a group's name in a line
_FEW = 40  # bars up to which values are written on them


def look(series: str, order: Sequence[str], *, systems: bool = True) -> SystemStyle:
    """Return the look of a series: of the system its label begins with, else by its place in ``order``.

    Several labels of one system share its colour and get hatches and markers of their own.
    """
    if systems:
        base = system_style(series.split(" ")[0])
        alike = [other for other in order if other.split(" ")[0] == series.split(" ")[0]]
        place = alike.index(series) if series in alike else 0
        if place == 0:
            return base
        return SystemStyle(base.colour, _MARKS[(_MARKS.find(base.marker) + place) % len(_MARKS)],
                           _HATCHES[(_index(base.hatch) + place) % len(_HATCHES)])  # fmt: skip
    place = list(order).index(series)
    return SystemStyle(
        _OTHERS[place % len(_OTHERS)], _MARKS[place % len(_MARKS)], _HATCHES[place % len(_HATCHES)]
    )


def _index(hatch: str) -> int:
    return _HATCHES.index(hatch) if hatch in _HATCHES else 0


def intervals(data: pandas.DataFrame) -> NDArray[np.float64] | None:
    """Return (2, n) distances of ``low``, ``high`` from ``value``, 0 where there is none; None if nowhere."""
    if "low" not in data or data["low"].isna().all():
        return None
    value = data["value"].to_numpy(np.float64)
    ends = (value - data["low"].to_numpy(np.float64), data["high"].to_numpy(np.float64) - value)
    spread: NDArray[np.float64] = np.nan_to_num(np.clip(np.stack(ends), 0, None))
    return spread


def bars(
    axes: Axes,
    data: pandas.DataFrame,
    *,
    order: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    systems: bool = True,
    text: str = "{:.2f}",
) -> None:
    """Draw horizontal bars: a group an ``x``, in it a bar a ``series``; the papers' values as diamonds.

    Args:
        axes: to draw on; the value axis is x.
        data: tidy data, see the module; columns ``series``, ``x``, ``value``, ``source``.
        order, groups: the series and the groups in their order; as they come if None.
        systems: series are labels of systems and look like them.
        text: format of the number at a bar; "" for none.
    """
    order = list(order or dict.fromkeys(data["series"]))
    groups = list(groups or dict.fromkeys(data["x"]))
    height = 0.8 / len(order)
    written = text if len(order) * len(groups) <= _FEW else ""
    for number, name in enumerate(order):
        drawn = look(name, order, systems=systems)
        here = data[data["series"] == name]
        for source, part in here.groupby("source", sort=False):
            part = part[part["x"].isin(groups)]
            y = np.array([groups.index(x) for x in part["x"]]) + (number - (len(order) - 1) / 2) * height
            if source == PAPER:
                axes.plot(part["value"], y, zorder=4, **_DIAMOND)
                continue
            axes.barh(y, part["value"], height * 0.92, color=drawn.colour, hatch=drawn.hatch, **_EDGE,
                      xerr=intervals(part), capsize=2, error_kw={"linewidth": 0.8})  # fmt: skip
            for at, value, end in zip(y, part["value"], _ends(part), strict=True):
                if written:
                    axes.annotate(f" {written.format(value)}", (end, at), va="center", fontsize=6.5)
    axes.set_yticks(range(len(groups)), [fill(group, _TICK_WIDTH) for group in groups])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    handles: list[Patch | Line2D] = [
        Patch(facecolor=drawn.colour, hatch=drawn.hatch, label=name, **_EDGE)
        for name, drawn in ((name, look(name, order, systems=systems)) for name in order)
    ]
    if (data["source"] == PAPER).any():
        handles.append(Line2D([], [], label="paper's value", **_DIAMOND))
    legend_outside(axes, handles)


def hollow_bars(
    axes: Axes,
    data: pandas.DataFrame,
    *,
    order: Sequence[str],
    groups: Sequence[str],
    systems: bool = True,
    text: str = "{:.2f}",
) -> None:
    """Draw the papers' values as hollow bars where :func:`bars` left room: in groups of their own.

    Args:
        axes: which ``bars`` drew on, with the same ``order``, ``groups`` and ``systems``.
        data: as for ``bars``; of it, the lines of source "paper".
        order, groups, systems, text: see ``bars``.
    """
    height = 0.8 / len(order)
    for number, name in enumerate(order):
        drawn = look(name, order, systems=systems)
        here = data[(data["series"] == name) & (data["source"] == PAPER) & data["x"].isin(groups)]
        y = np.array([groups.index(x) for x in here["x"]]) + (number - (len(order) - 1) / 2) * height
        axes.barh(y, here["value"], height * 0.8, facecolor="white", edgecolor=drawn.colour,
                  hatch=drawn.hatch, linewidth=1.1)  # fmt: skip
        for at, value in zip(y, here["value"], strict=True):
            axes.annotate(f" {text.format(value)}" if text else "", (value, at), va="center", fontsize=6.5)
    legend = axes.get_legend()
    if legend is not None and (data["source"] == PAPER).any():
        named = [Patch(facecolor="white", edgecolor="black", label="hollow: the paper's")]
        legend_outside(axes, [*legend.legend_handles, *named])  # type: ignore[list-item]


def named_bars(
    axes: Axes, data: pandas.DataFrame, *, order: Sequence[str] | None = None, text: str = "{:.2f}"
) -> None:
    """Draw one horizontal bar a ``series``, named at its place; the papers' values as diamonds beside it.

    Args:
        axes: to draw on; the value axis is x.
        data: tidy data with at most one line a series and source. A series of ``order`` that has none keeps
            its place empty, so that panels with equal orders align.
        order: the series from above; as they come if None.
        text: format of the number at a bar; "" for none.
    """
    order = list(order or dict.fromkeys(data["series"]))
    for place, name in enumerate(order):
        drawn, here = look(name, order), data[data["series"] == name]
        ours, paper = here[here["source"] == OURS], here[here["source"] == PAPER]
        axes.barh([place] * len(ours), ours["value"], 0.76, color=drawn.colour, hatch=drawn.hatch, **_EDGE,
                  xerr=intervals(ours), capsize=2, error_kw={"linewidth": 0.8})  # fmt: skip
        axes.plot(paper["value"], [place] * len(paper), zorder=4, **_DIAMOND)
        said = [text.format(value) for value in ours["value"]]
        said += [f"(paper {text.format(value)})" for value in paper["value"]]
        if text and said:
            end = max([*_ends(ours), *paper["value"]])
            axes.annotate(" ".join(said), (end, place), xytext=(6 if len(paper) else 3, 0), va="center",
                          textcoords="offset points", fontsize=7)  # fmt: skip
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)


def _ends(part: pandas.DataFrame) -> pandas.Series:
    return part["high"].fillna(part["value"]) if "high" in part else part["value"]


def lines(
    axes: Axes,
    data: pandas.DataFrame,
    *,
    order: Sequence[str] | None = None,
    systems: bool = True,
    legend: bool = True,
) -> None:
    """Draw a line a ``series`` over numbers ``x``, with intervals; the papers' lines dashed and hollow."""
    order = list(order or dict.fromkeys(data["series"]))
    handles: list[Patch | Line2D] = []
    for name in order:
        drawn = look(name, order, systems=systems)
        for source, part in data[data["series"] == name].groupby("source", sort=False):
            part = part.assign(x=part["x"].astype(float)).sort_values("x")
            paper = source == PAPER
            drawing: dict[str, Any] = {
                "color": drawn.colour, "marker": drawn.marker, "markersize": 5, "linewidth": 1.2,
                "linestyle": "--" if paper else "-", "markerfacecolor": "white" if paper else drawn.colour,
                "label": f"{name} (paper)" if paper else name,
            }  # fmt: skip
            axes.errorbar(part["x"], part["value"], yerr=intervals(part), capsize=2, **drawing)
            handles.append(Line2D([], [], **drawing))
    if legend:
        legend_outside(axes, handles)


def cumulative(
    axes: Axes, data: pandas.DataFrame, *, order: Sequence[str] | None = None, systems: bool = True
) -> None:
    """Draw the empirical distribution of ``value`` of each ``series``: the share of cases up to a value."""
    order = list(order or dict.fromkeys(data["series"]))
    for name in order:
        drawn = look(name, order, systems=systems)
        value = np.sort(
            data.loc[(data["series"] == name) & (data["source"] == OURS), "value"].to_numpy(np.float64)
        )
        if not value.size:
            continue
        share = np.arange(1, len(value) + 1) / len(value)
        axes.step(np.r_[value[:1], value], np.r_[0, share], where="post", color=drawn.colour,
                  linestyle={"": "-", "//": "--", "xx": "-.", "..": ":"}.get(drawn.hatch, "-"), linewidth=1.4,
                  marker=drawn.marker, markersize=3, markevery=max(1, len(value) // 12),
                  label=name)  # fmt: skip
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share of cases")
    legend_outside(axes)


def reference_line(axes: Axes, value: float, text: str, *, vertical: bool = False) -> None:
    """Draw a dashed line at a value, such as raw or memcpy, and name it at its end."""
    if vertical:
        axes.axvline(value, color="black", linewidth=0.8, linestyle="--", zorder=1)
        axes.annotate(text, (value, 1), xycoords=("data", "axes fraction"), xytext=(2, -2), fontsize=7,
                      textcoords="offset points", va="top", rotation=90)  # fmt: skip
    else:
        axes.axhline(value, color="black", linewidth=0.8, linestyle="--", zorder=1)
        axes.annotate(text, (0, value), xycoords=("axes fraction", "data"), xytext=(2, 2), fontsize=7,
                      textcoords="offset points")  # fmt: skip


def legend_outside(axes: Axes, handles: Sequence[Patch | Line2D] | None = None) -> None:
    """Put the legend to the right of the axes, where it covers nothing."""
    if handles is None:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        axes.legend(handles=list(handles), loc="upper left", bbox_to_anchor=(1.0, 1.0))
