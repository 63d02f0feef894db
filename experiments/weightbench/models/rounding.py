"""Casting floats to another format: round to nearest even, once, with an explicit policy for overflow."""

from __future__ import annotations

from typing import Any, Literal

import ml_dtypes
import numpy as np

from weightcodecs.formats import get_format

from .model import Array

__all__ = ["Overflow", "lost_values", "round_to"]

Overflow = Literal["refuse", "saturate", "ieee"]


def round_to(values: Array, name: str) -> Array:
    """Return `values` in the format `name`, rounded to nearest even; what is too large becomes Inf or NaN.

    Values of 64 bits go to formats of 16 and 8 bits over float32 rounded to odd, because rounding to nearest
    twice is not rounding to nearest (S. Boldo, G. Melquiond: Emulation of FMA and correctly rounded sums,
    IEEE ToC 2008, the theorem on double rounding). All others fit into float32 exactly.
    """
    target = get_format(name).dtype
    if values.dtype == target:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        if target.itemsize >= 4 or (target == np.float16 and values.dtype == np.float64):
            return values.astype(target)  # NumPy's own casts round once
        middle = _to_odd(values) if values.dtype == np.float64 else values.astype(np.float32)
        return middle.astype(target)


def _to_odd(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float64 values in float32: exact where possible, else the neighbour with an odd last bit."""
    nearest = values.astype(np.float32)
    back = nearest.astype(np.float64)
    bits = nearest.view(np.uint32)
    # Rounded away from zero, or to infinity: one step back gives truncation. Patterns order by magnitude.
    truncated = bits - (np.abs(back) > np.abs(values))
    inexact = (back != values) & ~np.isnan(values)
    return np.where(inexact, truncated | 1, bits).astype(np.uint32).view(np.float32)


def lost_values(before: Array, after: Array) -> np.ndarray[Any, Any]:
    """Return where a cast left the range of its format: a number, or an infinity that became NaN."""
    lost: np.ndarray[Any, Any] = ~np.isfinite(after)
    if lost.any():
        lost &= np.isfinite(before) | (np.isnan(after) & ~np.isnan(before))
    return lost


def saturated(before: Array, after: Array, lost: np.ndarray[Any, Any]) -> Array:
    """Return `after` with lost values replaced by the largest number of its format, of the same sign."""
    largest = float(ml_dtypes.finfo(after.dtype).max)  # type: ignore[no-untyped-call]
    signed = np.where(np.signbit(before), -largest, largest).astype(after.dtype)
    result: Array = np.where(lost, signed, after)
    return result
