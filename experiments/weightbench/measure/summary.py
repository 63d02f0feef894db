"""From repeated numbers to a median with its spread and confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

__all__ = ["Summary", "median_ranks", "summarize"]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """One quantity over the rounds.

    Attributes:
        median, q1, q3, min, max: quartiles by linear interpolation (NumPy's default).
        cv: coefficient of variation, sample standard deviation over mean; None for one round.
        ci_low, ci_high: confidence interval of the median from order statistics (distribution-free); None for
            one round.
        ci_confidence: the interval's exact coverage: at least 0.95 from 6 rounds on, less below.
        n: rounds.
    """

    median: float
    q1: float
    q3: float
    min: float
    max: float
    cv: float | None
    ci_low: float | None
    ci_high: float | None
    ci_confidence: float | None
    n: int


def summarize(samples: Sequence[float]) -> Summary | None:
    """Summarize one number a round; None without samples.

    Raises:
        ValueError: a sample is not finite.
    """
    values = np.sort(np.asarray(samples, np.float64))
    if not values.size:
        return None
    if not np.isfinite(values).all():
        raise ValueError("cannot summarize numbers that are not finite")
    n = values.size
    q1, median, q3 = (float(q) for q in np.percentile(values, (25, 50, 75)))
    cv = low = high = confidence = None
    if n > 1:
        mean = float(values.mean())
        cv = float(values.std(ddof=1)) / mean if mean else 0.0
        rank, confidence = median_ranks(n)
        low, high = float(values[rank - 1]), float(values[n - rank])
    return Summary(median, q1, q3, float(values[0]), float(values[-1]), cv, low, high, confidence, n)


def median_ranks(n: int) -> tuple[int, float]:
    """Return (k, coverage): the k-th smallest and k-th largest of n samples enclose the median.

    The number of samples below the median is binomial(n, 1/2), whatever the distribution; k is the largest
    rank whose interval covers at least 95 %, or 1 where none does (n < 6).
    Source: Conover, Practical Nonparametric Statistics, section 3.2.
    """
    # In whole numbers: 2^n is no float from 1,024 rounds on, which tiny weights reach.
    below, ways = 0, 1  # 2^n · P(fewer than k samples below the median); k - 1 out of n
    limit = int(Fraction(1 - CONFIDENCE) * 2**n / 2)
    rank, tail = 1, 1
    for k in range(1, n // 2 + 1):
        below += ways
        if k > 1 and below > limit:
            break
        rank, tail = k, below
        ways = ways * (n - k + 1) // k
    return rank, 1 - 2 * tail / 2**n
