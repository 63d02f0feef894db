"""The picture of a search: every pair of objectives, a point a trial, the Pareto front filled and joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from weightbench.figures import style
from weightbench.pareto import pareto_front

from matplotlib import pyplot  # isort: skip - after style, which chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_search", "search_figure"]

_PANELS = 3  # of more than three objectives only the first is drawn against each of the others
_FACTOR = 8.0  # values further apart than this stand on a logarithmic axis

Found = Sequence[Mapping[str, Any]]


def draw_search(search: Mapping[str, Any], path: Path) -> None:
    """Write the figure of a search as PNG."""
    with style.styled():
        figure = search_figure(search)
        figure.savefig(path)
        pyplot.close(figure)


def search_figure(search: Mapping[str, Any]) -> Figure:
    """Return the figure.

    Args:
        search: as written to ``results/searches``; at least one trial with values.
    """
    objectives: Found = search["objectives"]
    trials: Found = [trial for trial in search["trials"] if trial["objectives"]]
    pairs = list(combinations(objectives, 2))
    if len(pairs) > _PANELS:
        pairs = [(objectives[0], other) for other in objectives[1:]]
    count = max(1, len(pairs))
    figure, grid = pyplot.subplots(1, count, figsize=(max(7.2, 4.4 * count), 4.8), squeeze=False)
    if not pairs:
        _course(grid[0, 0], objectives[0], trials)
    for axes, (across, up) in zip(grid[0], pairs, strict=False):
        _pair(axes, across, up, trials)
    front = sum(trial["on_front"] for trial in trials)
    models = ", ".join(sorted({trial["model"] for trial in trials}))
    title = f"Search on {models}: {front} of {len(search['trials'])} trials on the front (filled)"
    figure.suptitle(title, fontsize=10, fontweight="bold")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6 if count > 1 else 4)
    return figure


def _pair(axes: Axes, across: Mapping[str, Any], up: Mapping[str, Any], trials: Found) -> None:
    for codec in sorted({trial["codec"] for trial in trials}):
        of_codec = [trial for trial in trials if trial["codec"] == codec]
        _points(axes, of_codec, codec, across["name"], up["name"])
    both = np.array([[_value(trial, each["name"]) for each in (across, up)] for trial in trials])
    best = both[pareto_front(both, [across["larger_is_better"], up["larger_is_better"]])]
    best = best[np.argsort(best[:, 0])]
    # Stairs: between the points nothing was measured.
    steps: Any = "steps-pre" if across["larger_is_better"] else "steps-post"
    axes.plot(*best.T, drawstyle=steps, color=style.BLACK, linewidth=0.8, linestyle=":", zorder=1)
    _scale(axes, "x", across, both[:, 0])
    _scale(axes, "y", up, both[:, 1])


def _points(axes: Axes, trials: Found, codec: str, across: str, up: str) -> None:
    """Draw the trials of one codec: on the front of all objectives filled, with intervals; others hollow."""
    look = style.system_style(codec)
    drawn: Any = {"marker": look.marker, "color": look.colour, "linestyle": "none", "markersize": 6}
    beaten = [trial for trial in trials if not trial["on_front"]]
    front = [trial for trial in trials if trial["on_front"]]
    places = [_value(trial, across) for trial in beaten], [_value(trial, up) for trial in beaten]
    axes.plot(*places, markerfacecolor="none", alpha=0.6, zorder=2, **drawn)
    places = [_value(trial, across) for trial in front], [_value(trial, up) for trial in front]
    spreads: Any = {"xerr": _spread(front, across), "yerr": _spread(front, up)}
    edge: Any = {"markeredgecolor": style.BLACK, "markeredgewidth": 0.4, "elinewidth": 0.7, "capsize": 2}
    axes.errorbar(places[0], places[1], **spreads, zorder=3, label=codec, **drawn, **edge)


def _course(axes: Axes, objective: Mapping[str, Any], trials: Found) -> None:
    """Draw a search for one objective: each trial's value, and the best so far."""
    found = np.array([_value(trial, objective["name"]) for trial in trials])
    best = np.maximum if objective["larger_is_better"] else np.minimum
    for codec in sorted({trial["codec"] for trial in trials}):
        look = style.system_style(codec)
        at = [index for index, trial in enumerate(trials) if trial["codec"] == codec]
        axes.plot(np.add(at, 1), found[at], look.marker, color=look.colour, markersize=6, label=codec)
    so_far = best.accumulate(found)
    axes.step(np.arange(1, len(found) + 1), so_far, where="post", color=style.BLACK, linewidth=0.8)
    axes.set_xlabel("trial")
    _scale(axes, "y", objective, found)


def _value(trial: Mapping[str, Any], name: str) -> float:
    return float(trial["objectives"][name]["value"])


def _spread(trials: Found, name: str) -> list[list[float]]:
    spread: list[list[float]] = [[], []]
    for found in (trial["objectives"][name] for trial in trials):
        for lengths, sign, end in zip(spread, (-1, 1), (found["low"], found["high"]), strict=True):
            lengths.append(0.0 if end is None else max(0.0, sign * (end - found["value"])))
    return spread


def _scale(axes: Axes, which: str, objective: Mapping[str, Any], found: np.ndarray[Any, Any]) -> None:
    """Label an axis; logarithmic if values are far apart, and then linear below the smallest if one is 0."""
    good, bad = ("right", "left") if which == "x" else ("up", "down")
    label = f"{objective['label']}; {good if objective['larger_is_better'] else bad} is better"
    (axes.set_xlabel if which == "x" else axes.set_ylabel)(label)
    positive = found[found > 0]
    if not positive.size or found.min() < 0:
        return
    if positive.max() > _FACTOR * positive.min():
        set_scale = axes.set_xscale if which == "x" else axes.set_yscale
        if found.min() > 0:
            set_scale("log")
        else:
            set_scale("symlog", linthresh=float(positive.min()))
