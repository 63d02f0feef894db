"""Is |decoded − original| > bound? Answered without rounding error, on float64 arrays.

A rounded difference equals the true one only up to half an ulp, and codecs do reach their bounds exactly (a
tie when rounding to nearest), so near the bound the rounding residues decide. They come from the error-free
transformations TwoDiff (Knuth, TAOCP 2, 4.2.2) and TwoProduct (Dekker 1971); where those might overflow or
underflow, rational numbers decide.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["exceeds_absolute", "exceeds_relative"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NEAR = 2.0**-50  # errors this close to the bound, relatively, are decided by their residues
_SMALL, _LARGE = 2.0**-900, 2.0**900
_SPLIT = 2.0**27 + 1


def exceeds_absolute(original: Floats, decoded: Floats, bound: float) -> Bools:
    """Return where |decoded − original| > bound ≥ 0, exactly; inputs finite, shape (n,)."""
    with np.errstate(over="ignore"):
        error = np.abs(decoded - original)
    beyond = np.asarray(error > bound)
    if bound == 0.0:
        return beyond  # gradual underflow: a difference is 0 only between equal numbers
    # Rounding is monotone and the bound is a float64: only where the rounded error equals it can a residue
    # make the true error larger, and never can it make it smaller than a bound that it exceeds.
    tied = np.flatnonzero(error == bound)
    if tied.size:
        _, residue = _distance(original[tied], decoded[tied])
        beyond[tied] = residue > 0
    return beyond


def exceeds_relative(original: Floats, decoded: Floats, bound: float) -> Bools:
    """Return where |decoded − original| > bound·|original|, exactly; inputs finite, shape (n,)."""
    size = np.abs(original)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        error = np.abs(decoded - original)
        limit = bound * size
        near_limit = np.abs(error - limit) <= _NEAR * limit
    beyond = np.asarray(error > limit)
    # Equal numbers and zeros are decided without rounding already.
    near = np.flatnonzero((near_limit | (limit < _SMALL) | (error > _LARGE)) & (error > 0) & (size > 0))
    if not near.size:
        return beyond
    error, limit, size = error[near], limit[near], size[near]
    safe = (np.minimum(limit, size) >= _SMALL) & (np.maximum(limit, size) <= _LARGE) & (error <= _LARGE)
    safe &= _SMALL <= bound <= _LARGE
    pick = near[safe]
    beyond[pick] = _compare(original[pick], decoded[pick], bound)
    factor = Fraction(bound)
    for index in near[~safe]:
        x, y = Fraction(float(original[index])), Fraction(float(decoded[index]))
        beyond[index] = abs(y - x) > factor * abs(x)
    return beyond


def _compare(original: Floats, decoded: Floats, bound: float) -> Bools:
    """|decoded − original| > bound·|original| for numbers within 2^±900 whose two sides nearly agree."""
    error, error_residue = _distance(original, decoded)
    limit, limit_residue = _product(np.abs(original), bound)
    # error + error_residue > limit + limit_residue; limit − error is exact (Sterbenz).
    gap = limit - error
    difference, rest = _difference(error_residue, limit_residue)
    return np.asarray((difference > gap) | ((difference == gap) & (rest > 0)))


def _difference(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """TwoDiff: a − b = d + residue without error."""
    d = a - b
    t = d - a
    return d, (a - (d - t)) - (b + t)


def _distance(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """|b − a| = d + residue without error."""
    d, residue = _difference(b, a)
    sign = np.where(d < 0, -1.0, 1.0)
    return d * sign, residue * sign


def _product(a: Floats, b: float) -> tuple[Floats, Floats]:
    """TwoProduct: a·b = p + residue without error."""
    p = a * b
    t = _SPLIT * a
    a_high = t - (t - a)
    a_low = a - a_high
    s = _SPLIT * b
    b_high = s - (s - b)
    b_low = b - b_high
    return p, a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)
