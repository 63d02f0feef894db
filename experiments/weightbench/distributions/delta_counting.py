"""Kernels that count differences between two arrays of float patterns: their classes, and their magnitudes.

Tables are int64 and added to, so that pieces of any number can be counted into one. Each stands there twice,
used in turn, see `counting`.
"""

# Numba types the bodies of compiled functions, not mypy.
# mypy: disable-error-code="call-arg, unreachable, assignment, arg-type, return-value, no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightcodecs.formats import FloatFormat
from weightcodecs.kernels.bitcast import float_bits
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.own_width import leading_zeros

__all__ = ["count_changes", "count_classes", "gather", "ordered_difference"]

Array = NDArray[Any]
Counts = NDArray[np.int64]

_NOT_FINITE = 2047


@kernel
def _ordered(word: Any, last: Any, high: Any) -> Any:
    """FM-Delta's map of a pattern to an integer in the order of the floats, in 64 bits."""
    negative = np.uint64(0) - (word >> last)
    return word ^ (high | (negative & (high - np.uint64(1))))


@kernel
def _classes(base: Array, fine: Array, mapped: Any, mantissa: Any, mask: Any, table: Counts) -> None:
    width = 8 * base.itemsize
    last, high = np.uint64(width - 1), np.uint64(1) << np.uint64(width - 1)
    for i in range(base.size):
        p, r = np.uint64(base[i]), np.uint64(fine[i])
        exponent = (p >> mantissa) & mask
        if mapped:
            p, r = _ordered(p, last, high), _ordered(r, last, high)
        size = r - p if r >= p else p - r
        length = np.int64(64) - np.int64(leading_zeros(size))
        table[i & 1, exponent, width + length if r >= p else width - length] += 1


def count_classes(
    base: Array, fine: Array, format: FloatFormat, table: Counts, *, mapped: bool = True
) -> None:
    """Count FM-Delta's classes of the integer deltas of two arrays, by the base's exponent field.

    The delta is that of the patterns mapped to integers in the order of the floats (FM-Delta, NeurIPS 2024),
    or of the patterns as they are. Class B + 1 + k, or B − 1 − k where it is negative, is that of deltas with
    k raw bits below the leading one, k = ⌊log2 |delta|⌋; class B is "the same"; B is the format's width.

    Args:
        base, fine: unsigned patterns (n,) of the format.
        table: int64 (2, 2^exponent bits, 2·B + 1), added to.
        mapped: see above.
    """
    mask = np.uint64((1 << format.exponent_bits) - 1)
    _classes(base, fine, mapped, np.uint64(format.mantissa_bits), mask, table)


@kernel
def _ordered_difference(base: Array, fine: Array, out: Array) -> None:
    width = 8 * base.itemsize
    last, high = np.uint64(width - 1), np.uint64(1) << np.uint64(width - 1)
    for i in range(out.size):
        difference = _ordered(np.uint64(fine[i]), last, high) - _ordered(np.uint64(base[i]), last, high)
        out[i] = out.dtype.type(difference)


def ordered_difference(base: Array, fine: Array) -> Array:
    """Return FM-Delta's integer deltas of unsigned patterns (n,), modulo 2^B."""
    out = np.empty_like(base)
    _ordered_difference(base, fine, out)
    return out


@kernel
def _gather(table: Array, words: Array, out: Array) -> None:
    for i in range(out.size):
        out[i] = table[words[i]]


def gather(table: Array, words: Array) -> Array:
    """Return ``table[words]`` for unsigned words (n,), all below the size of the table; twice as fast."""
    out = np.empty(words.size, table.dtype)
    _gather(table, words, out)
    return out


@kernel
def _changes(base: Array, fine: Array, counts: Counts, squares: Array) -> int:
    same = np.int64(0)
    of_change, of_base = 0.0, 0.0
    for i in range(base.size):
        value = np.float64(base[i])
        change = np.float64(fine[i]) - value + 0.0  # no −0: zeros are taken off the positive ones
        bits: Any = float_bits(change)
        exponent = (bits >> np.uint64(52)) & np.uint64(2047)
        counts[i & 1, bits >> np.uint64(63), exponent] += 1
        same += change == 0.0
        finite = exponent != _NOT_FINITE
        of_change += change * change if finite else 0.0
        of_base += value * value if finite else 0.0
    squares[0] += of_change
    squares[1] += of_base
    return same


def count_changes(base: Array, fine: Array, counts: Counts, squares: Array) -> int:
    """Count fine − base by sign and exponent; return how many are zero.

    Args:
        base, fine: float32 or float64 (n,), read-only.
        counts: int64 (2, 2, 2048), [turn, sign, biased float64 exponent], added to; exponent 2047 is "not
            finite", exponent 0 zero, or less than 2^-1022.
        squares: float64 (2,), added to: squares of the finite changes, and of the base's values there.
    """
    return int(_changes(base, fine, counts, squares))
