"""How large errors are: |decoded − original| by powers of two.

The difference is taken in float64, as all error statistics are, and its exponent field counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ZERO", "new_counts", "no_counts", "plain_counts"]

Counts = NDArray[np.int64]

ZERO = 2048
"""Where errors of zero are counted; before it, those with the float64 exponent field of the index."""
_BIAS = 1023


def new_counts() -> Counts:
    """Return counts of nothing: int64 (2, `ZERO` + 1), [turn, exponent field or `ZERO`]."""
    return np.zeros((2, ZERO + 1), np.int64)


def no_counts() -> Counts:
    """Return what stands for "do not count"."""
    return np.zeros((2, 0), np.int64)


def plain_counts(counts: Counts) -> dict[str, Any] | None:
    """Return counts for a row; None if nothing was counted.

    ``zeros``: errors of exactly zero. ``counts[i]``: errors with ⌊log2 |error|⌋ = ``first`` + i, where −1023
    holds all below 2^-1022; zeros at both ends are left out.
    """
    every = counts.sum(axis=0)
    if not every.any():
        return None
    zeros, powers = int(every[ZERO]), every[:ZERO]
    present = np.flatnonzero(powers)
    if not present.size:
        return {"zeros": zeros, "first": 0, "counts": []}
    low, high = int(present[0]), int(present[-1])
    return {"zeros": zeros, "first": low - _BIAS, "counts": powers[low : high + 1].tolist()}
