"""Confidence intervals of paired differences, all at 95 %.

- 0/1 items: Agresti & Min 2005, "Simple improved confidence intervals for comparing matched proportions":
  Wald with half an item added to each cell of the 2×2 table. Plain Wald says [0, 0] when no item flips, which
  overstates what n items can show.
- scalars: Student's t of the mean of the differences.
- ratios of sums (bits per byte, perplexities, KL per token): percentile bootstrap over documents, the same
  documents drawn for both models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .result import Interval

__all__ = ["aggregate_interval", "binary_interval", "flips", "mean_interval", "ratio_interval"]

Floats = NDArray[np.float64]
DRAWS = 2000
_CELLS = 4_000_000  # resampling counts held at once: 32 MB
_Z = 1.959963984540054


def flips(before: Floats, after: Floats) -> tuple[int, int] | None:
    """Return (gained, lost) of a 0/1 metric, or None if any value is neither 0 nor 1."""
    if not (np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all()):
        return None
    return int(((before == 0) & (after == 1)).sum()), int(((before == 1) & (after == 0)).sum())


def binary_interval(gained: int, lost: int, n: int) -> Interval | None:
    """Interval of the difference of two proportions on the same n items (Agresti & Min 2005)."""
    if n < 2:
        return None
    centre = (gained - lost) / (n + 2)
    spread = (gained + lost + 1) - (gained - lost) ** 2 / (n + 2)
    half = _Z * float(np.sqrt(spread)) / (n + 2)
    return Interval(centre - half, centre + half, "Agresti-Min matched proportions")


def mean_interval(differences: Floats) -> Interval | None:
    """Interval of the mean of per-document differences, shape (n,), by Student's t."""
    n = differences.size
    if n < 2:
        return None
    from scipy.special import stdtrit

    mean = float(differences.mean())
    half = float(stdtrit(n - 1, 0.975)) * float(differences.std(ddof=1)) / float(np.sqrt(n))
    return Interval(mean - half, mean + half, "paired t")


def ratio_interval(
    before: Floats,
    after: Floats,
    weights: Floats,
    transform: Callable[[Floats], Floats],
    seed: int,
    units: str = "documents",
) -> Interval | None:
    """Interval of transform(Σafter/Σweights) − transform(Σbefore/Σweights), resampling documents in pairs.

    Args:
        before: sums per document, shape (n,).
        after: the same documents' sums under the restored model, shape (n,).
        weights: bytes, words or tokens per document, shape (n,).
        transform: from the ratio to the metric, elementwise.
        seed: of the resampling.
        units: what is resampled, for the description of the method.
    """
    n = weights.size
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    drawn: list[Floats] = []
    rows = max(1, min(DRAWS, _CELLS // n))
    for start in range(0, DRAWS, rows):
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=min(rows, DRAWS - start)).astype(np.float64)
        total = counts @ weights
        drawn.append(transform(counts @ after / total) - transform(counts @ before / total))
    return _percentiles(np.concatenate(drawn), f"paired bootstrap over {n} {units}, {DRAWS} draws")


def aggregate_interval(
    before: Sequence[Any],
    after: Sequence[Any],
    aggregate: Callable[[list[Any]], float],
    seed: int,
    draws: int,
) -> Interval | None:
    """Interval for any metric that is a function of all documents (F1, BLEU, exp of a mean, …)."""
    n = len(before)
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    differences = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(0, n, size=n)
        differences[draw] = float(aggregate([after[i] for i in chosen])) - float(
            aggregate([before[i] for i in chosen])
        )
    return _percentiles(differences, f"paired bootstrap over {n} documents, {draws} draws")


def _percentiles(differences: Floats, method: str) -> Interval:
    low, high = np.percentile(differences, (2.5, 97.5))
    return Interval(float(low), float(high), method)
