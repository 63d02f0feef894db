"""What is set against the ratio in the pictures: speeds, and losses of accuracy; each with its interval."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas
from numpy.typing import NDArray

from weightbench.pareto import pareto_front
from weightbench.report.columns import COLUMNS, plain

__all__ = ["Measure", "comparable", "measures"]

Limits = tuple[float, float | None, float | None]
Picture = Literal["speed", "nats", "accuracy"]

_EXACT: Limits = (0.0, 0.0, 0.0)
_NATS = {
    "log-likelihood": ("likelihood.difference", "likelihood.interval", -1.0),
    "KL divergence": ("divergence.mean", "divergence.interval", 1.0),
}
_SPEEDS = ("decode_share", "decode", "encode_share", "encode")


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of every cell that has it.

    Attributes:
        picture: where it is drawn.
        title: with its unit.
        larger: whether larger is better.
        values: cell by cell, None where there is none: the value and the limits of its 95 % interval.
        front: the cells that no comparable one beats in ratio and in this.
        reference: a value to draw a line at, and what it is called.
    """

    picture: Picture
    title: str
    larger: bool
    values: list[Limits | None]
    front: list[int] = field(default_factory=list)
    reference: tuple[float, str] | None = None


def comparable(cells: pandas.DataFrame) -> list[str]:
    """Return, cell by cell, what was stored in words: only cells of the same weights are set side by side.

    Numbers of threads tell cells apart where there are several.
    """
    parts = [cells[name].astype(str) for name in ("model", "dtype", "workload")]
    threads = plain(cells["cell.measure.threads"])
    if len(set(threads)) > 1:
        parts.append(pandas.Series([f"threads {number:g}" for number in threads], index=cells.index))
    joined = zip(*parts, strict=True)
    return [", ".join(word for word in words if word and word != "single") for words in joined]


def measures(cells: pandas.DataFrame, groups: Sequence[str]) -> list[Measure]:
    """Return the measures that some cell has, speeds first.

    Speeds of a single round are shown but never on a front: one round is no measurement of speed.

    Args:
        cells: as :func:`weightbench.figures.rows.read_cells` gives them.
        groups: of :func:`comparable`.
    """
    made = [*_speeds(cells), *_losses(cells, groups)]
    ratios = cells["ratio"].to_numpy(np.float64)
    ok = (cells["status"] == "ok").to_numpy()
    rounds = cells["rounds"].astype(float).to_numpy()
    for measure in made:
        usable = ok & (rounds > 1) if measure.picture == "speed" else ok
        measure.front.extend(_front(ratios, measure, usable, groups))
    return made


def _front(
    ratios: NDArray[np.float64], measure: Measure, usable: NDArray[np.bool_], groups: Sequence[str]
) -> Iterator[int]:
    values = np.array([math.nan if value is None else value[0] for value in measure.values])
    places: dict[str, list[int]] = {}
    for place in np.flatnonzero(usable).tolist():
        places.setdefault(groups[place], []).append(place)
    for own in places.values():
        points = np.column_stack([ratios[own], values[own]])
        yield from np.array(own)[pareto_front(points, [True, measure.larger])].tolist()


def _speeds(cells: pandas.DataFrame) -> Iterator[Measure]:
    columns = {column.key: column for column in COLUMNS}
    for key in _SPEEDS:
        column = columns[key]
        limits = _limits(cells, column.source, column.low, column.high, 1.0)
        if any(value is not None for value in limits):
            share = column.unit == "× memcpy"
            reference = (1.0, "memcpy") if share else None
            yield Measure("speed", f"{column.title}, {column.unit}", True, limits, reference=reference)


def _losses(cells: pandas.DataFrame, groups: Sequence[str]) -> Iterator[Measure]:
    exact = _column(cells, "result.error.bit_exact").eq(True).tolist()
    for name, (value, interval, sign) in _NATS.items():
        start = "result.evaluation."
        limits = _limits(cells, start + value, f"{start}{interval}.low", f"{start}{interval}.high", sign)
        title = f"{'Loss of ' if sign < 0 else ''}{name}, nats a token"
        yield from _loss("nats", title, limits, exact, groups)
    changes = [json.loads(text) if isinstance(text, str) else [] for text in _column(cells, _CHANGES)]
    found: dict[tuple[str, str], list[Limits | None]] = {}
    for place, listed in enumerate(changes):
        for change in listed:
            key = (str(change["task"]), str(change["metric"]))
            found.setdefault(key, [None] * len(cells))[place] = _loss_of(change)
    for (task, metric), limits in found.items():
        yield from _loss("accuracy", f"Loss of {metric}, {task}", limits, exact, groups)


_CHANGES = "result.evaluation.changes"


def _loss(
    picture: Picture, title: str, limits: list[Limits | None], exact: Sequence[bool], groups: Sequence[str]
) -> Iterator[Measure]:
    """Yield a loss, exactly zero for bit-exact cells, where any cell of the same weights was evaluated."""
    evaluated = {group for group, value in zip(groups, limits, strict=True) if value is not None}
    if evaluated:
        values = [
            _EXACT if bit_exact and group in evaluated else value
            for value, bit_exact, group in zip(limits, exact, groups, strict=True)
        ]
        yield Measure(picture, title, False, values, reference=(0.0, "bit-exact"))


def _loss_of(change: Mapping[str, Any]) -> Limits | None:
    difference, interval = change["difference"], change["interval"] or {}
    sign = 1.0 if change["higher_is_better"] is False else -1.0
    return _signed(difference, interval.get("low"), interval.get("high"), sign=sign)


def _limits(cells: pandas.DataFrame, value: str, low: str, high: str, sign: float) -> list[Limits | None]:
    columns = (plain(_column(cells, name)) for name in (value, low, high))
    return [_signed(*ends, sign=sign) for ends in zip(*columns, strict=True)]


def _signed(value: float | None, low: float | None, high: float | None, *, sign: float) -> Limits | None:
    if value is None:
        return None
    if low is None or high is None:
        return sign * value + 0.0, None, None
    ends = sorted((sign * low + 0.0, sign * high + 0.0))  # + 0: no −0
    return sign * value + 0.0, ends[0], ends[1]


def _column(cells: pandas.DataFrame, name: str) -> pandas.Series[Any]:
    return cells[name] if name in cells else pandas.Series([None] * len(cells), index=cells.index)
