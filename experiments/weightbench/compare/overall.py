"""All pairs together: geometric mean of the ratios, or mean of the differences, with a bootstrap interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightbench.compare.changes import Change

__all__ = ["Overall", "overall"]

_RATIOS = ("size", "encode", "decode")
_SEED = 20_26


@dataclass(frozen=True, slots=True)
class Overall:
    """One measure over all pairs that have it.

    Attributes:
        measure: as in `Change`.
        pairs: how many.
        mean: geometric mean of ratios (size, speeds), mean of differences (accuracies).
        low, high: 95 % percentile bootstrap over the pairs (10,000 resamples, 1,000 beyond 1,000 pairs); None
            for fewer than two pairs. It says how the change varies among these cells, not within them.
        verdicts: how many pairs have which.
    """

    measure: str
    pairs: int
    mean: float
    low: float | None
    high: float | None
    verdicts: dict[str, int]


def overall(changes: Sequence[Change]) -> list[Overall]:
    """Return one entry for every measure, in the order of their first appearance."""
    measures = dict.fromkeys(change.measure for change in changes if change.change is not None)
    return [_overall(name, [change for change in changes if change.measure == name]) for name in measures]


def _overall(measure: str, found: Sequence[Change]) -> Overall:
    values = np.array([change.change for change in found], dtype=np.float64)
    logarithms = measure in _RATIOS
    if logarithms:
        values = np.log(values)
    mean, (low, high) = float(values.mean()), _interval(values)
    if logarithms:
        mean, low, high = (None if v is None else float(np.exp(v)) for v in (mean, low, high))  # type: ignore[assignment]
    return Overall(measure, len(found), mean, low, high, dict(Counter(change.verdict for change in found)))


def _interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    rng = np.random.default_rng(_SEED)
    resamples = 10_000 if len(values) <= 1000 else 1000
    means = [
        values[rng.integers(0, len(values), (100, len(values)))].mean(axis=1) for _ in range(resamples // 100)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)
