"""What changed between the rows of a pair: size, speeds as shares of memcpy, accuracy.

Intervals (95 %): the size of an archive is exact. Of a speed each row has a median with an interval over its
rounds, and of an accuracy a paired difference to the original with one; that of the ratio, or of the
difference of differences, is recovered from those two by the square root of the squared distances to the
limits (MOVER: Zou & Donner, Statistics in Medicine 27, 2008), for ratios on the logarithms. The two rows are
taken as independent: for accuracies, on the same questions, the interval is rather too wide.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from weightbench.compare.pairs import Pair
from weightbench.compare.sides import Flat

__all__ = ["Change", "Thresholds", "Verdict", "changes"]

Verdict = Literal["regression", "improvement", "same", "not judged"]
Triple = tuple[float, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How much worse is a regression: shares of the old value, and for accuracy points of the metric."""

    size: float = 0.001
    speed: float = 0.05
    accuracy: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of one pair.

    Attributes:
        codec, model, dtype, granularity, workload: the cell in words; ``x → y`` where the rows differ.
        options: the codec's other options that both rows have, as JSON.
        measure: ``size``, ``encode``, ``decode``, ``status``, or ``task metric`` of an evaluation.
        a, b: the values: bytes, shares of memcpy, differences to the original; None for a status.
        change: b / a (size, speeds) or b − a (accuracies); None for a status.
        low, high: its interval, or None.
        verdict: a change counts if it is larger than the threshold and its interval does not touch
            "no change"; speeds without an interval are not judged.
        note: why not judged; what became of a cell that was ok.
        id_a, id_b: the rows.
    """

    codec: str
    model: str
    dtype: str
    granularity: str
    workload: str
    options: str
    measure: str
    a: float | None
    b: float | None
    change: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    note: str
    id_a: str
    id_b: str


def changes(pair: Pair, thresholds: Thresholds) -> Iterator[Change]:
    """Yield what changed in a pair; nothing if the cell was not ok in A, and the loss if it is not in B."""
    labels = _labels(pair)
    if pair.a["status"] != "ok":
        return
    if pair.b["status"] != "ok":
        note = f"{pair.b['status']}: {pair.b.get('reason', '')}"
        yield Change(**labels, **_values("status", None, None), verdict="regression", note=note)
        return
    yield _size(pair, labels, thresholds.size)
    for what in ("encode", "decode"):
        if (made := _speed(pair, what, labels, thresholds.speed)) is not None:
            yield made
    yield from _accuracies(pair, labels, thresholds.accuracy)


def _labels(pair: Pair) -> dict[str, Any]:
    def both(column: str, default: str = "") -> str:
        a, b = (str(row.get(column, default)) for row in (pair.a, pair.b))
        return a if a == b else f"{a} → {b}"

    named = ("cell.codec.name", "cell.codec.version")
    options = {
        name.removeprefix("cell.codec."): value
        for name, value in pair.a.items()
        if name.startswith("cell.codec.") and name not in named and pair.b.get(name) == value
    }
    return {
        "codec": both("cell.codec.name"),
        "model": both("cell.model.name"),
        "dtype": both("cell.model.dtype"),
        "granularity": both("cell.granularity.kind"),
        "workload": both("cell.workload.kind"),
        "options": json.dumps(options, sort_keys=True),
        "id_a": str(pair.a["id"]),
        "id_b": str(pair.b["id"]),
    }


def _values(
    measure: str,
    a: float | None,
    b: float | None,
    change: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    return {"measure": measure, "a": a, "b": b, "change": change, "low": low, "high": high}


def _size(pair: Pair, labels: Mapping[str, Any], threshold: float) -> Change:
    a, b = (float(row["result.sizes.stored_bytes"]) for row in (pair.a, pair.b))
    ratio = b / a if a else math.nan
    verdict = _verdict(-math.log(ratio) if ratio > 0 else 0.0, None, None, -math.log1p(-threshold))
    return Change(**labels, **_values("size", a, b, ratio), verdict=verdict, note="")


def _speed(pair: Pair, what: str, labels: Mapping[str, Any], threshold: float) -> Change | None:
    a, b = _share(pair.a, what), _share(pair.b, what)
    if a is None or b is None:
        return None
    change, low, high = _mover(_logarithms(a), _logarithms(b))
    ratio, bottom, top = math.exp(change), _exp(low), _exp(high)
    values = _values(what, a[0], b[0], ratio, bottom, top)
    if low is None or high is None:
        single = any(row.get("result.speed.single_round") for row in (pair.a, pair.b))
        note = "a single round" if single else "no interval"
        return Change(**labels, **values, verdict="not judged", note=note)
    verdict = _verdict(change, low, high, -math.log1p(-threshold))
    return Change(**labels, **values, verdict=verdict, note="")


def _share(row: Flat, what: str) -> Triple | None:
    name = f"result.speed.{what}.share_of_memcpy_fresh"
    median = row.get(f"{name}.median")
    if median is None or not median > 0:
        return None
    return median, row.get(f"{name}.ci_low"), row.get(f"{name}.ci_high")


def _logarithms(values: Triple) -> Triple:
    middle, low, high = values
    if low is None or high is None or not low > 0:
        return math.log(middle), None, None
    return math.log(middle), math.log(low), math.log(high)


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _mover(a: Triple, b: Triple) -> Triple:
    """b − a with its limits, from both sides' own."""
    difference = b[0] - a[0]
    if a[1] is None or a[2] is None or b[1] is None or b[2] is None:
        return difference, None, None
    low = difference - math.hypot(b[0] - b[1], a[2] - a[0])
    return difference, low, difference + math.hypot(b[2] - b[0], a[0] - a[1])


def _accuracies(pair: Pair, labels: Mapping[str, Any], threshold: float) -> Iterator[Change]:
    before, after = _by_metric(pair.a), _by_metric(pair.b)
    for name in sorted(before.keys() | after.keys()):
        a = before.get(name, _unchanged(pair.a))
        b = after.get(name, _unchanged(pair.b))
        if a is None or b is None:
            continue
        sign = -1.0 if {**a, **b}.get("higher_is_better") is False else 1.0
        change, low, high = _mover(_difference(a), _difference(b))
        oriented = (change, low, high) if sign > 0 else (-change, _negated(high), _negated(low))
        verdict: Verdict = "not judged" if low is None else _verdict(*oriented, threshold)
        values = _values(" ".join(name), a["difference"], b["difference"], change, low, high)
        yield Change(**labels, **values, verdict=verdict, note="no interval" if low is None else "")


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _by_metric(row: Flat) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads(row.get("result.evaluation.changes", "[]"))
    return {(change["task"], change["metric"]): change for change in found}


def _unchanged(row: Flat) -> dict[str, Any] | None:
    """The change of every metric where nothing was evaluated because the archive is bit-exact."""
    exact = row.get("result.error.bit_exact") and not _by_metric(row)
    return {"difference": 0.0, "interval": {"low": 0.0, "high": 0.0}} if exact else None


def _difference(change: Mapping[str, Any]) -> Triple:
    interval = change.get("interval") or {}
    return change["difference"], interval.get("low"), interval.get("high")


def _verdict(good: float, low: float | None, high: float | None, threshold: float) -> Verdict:
    """Judge a change that is better when above 0."""
    if good < -threshold and (high is None or high < 0):
        return "regression"
    return "improvement" if good > threshold and (low is None or low > 0) else "same"
