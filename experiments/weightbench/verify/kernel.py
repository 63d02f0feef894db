"""Error statistics of a block in one pass. Imported with the first bounded unit: it loads Numba."""

# Numba types the bodies of compiled functions, not mypy.
# mypy: disable-error-code="call-arg, unreachable, assignment, arg-type, return-value, no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from weightcodecs.kernels.bitcast import float_bits, float_of, shift_within

__all__ = ["block_errors", "block_errors_reference", "count_nonfinite", "may_exceed"]

Floats = NDArray[Any]
Numbers = tuple[float, float, float, float, float, float, float, int, int]

_PART = 512  # values; the slowest statistic is taken of those parts only that can change it


# Sums may be reordered (that is what lets them be vectorized); inputs are finite, and an error that overflows
# is an infinity, which only `ninf` would forbid.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})
def block_errors(x: Floats, y: Floats, x_bits: NDArray[Any], y_bits: NDArray[Any]) -> Numbers:
    """Return what there is to know about decoded values `y` of originals `x`.

    Args:
        x, y: finite, shape (n,), n > 0, float32 or float64; all is computed in float64.
        x_bits, y_bits: the same memory as int32 or int64.

    Returns:
        smallest x, largest x, largest |y − x|, largest |y − x| / |x| over x ≠ 0 and largest |y| over x = 0
        (0 if there are none), sum and sum of squares of y − x (infinite or NaN where they overflow), zeros
        that changed their sign, values whose bits differ.
    """
    relative, at_zero, total, squares = 0.0, 0.0, 0.0, 0.0
    # Largest and smallest are taken of integers, since LLVM does not vectorize those of floats as Numba
    # writes them: a pattern with its magnitude inverted where the sign is set grows with its float.
    last = x_bits.dtype.type(8 * x_bits.itemsize - 1)
    magnitude = x_bits.dtype.type(~(x_bits.dtype.type(1) << last))
    low = high = x_bits.dtype.type(x_bits[0] ^ ((x_bits[0] >> last) & magnitude))
    top = np.int64(0)
    signs = differing = 0
    for start in range(0, x.size, _PART):
        a, b = x[start : start + _PART], y[start : start + _PART]
        p, q = x_bits[start : start + _PART], y_bits[start : start + _PART]
        zero, one = x_bits.dtype.type(0), x_bits.dtype.type(1)
        part_differing = part_signs = zero
        for i in range(p.size):
            rank = x_bits.dtype.type(p[i] ^ ((p[i] >> shift_within(last)) & magnitude))
            low = min(low, rank)
            high = max(high, rank)
            part_differing += one if p[i] != q[i] else zero
            part_signs += one if (p[i] != q[i]) & ((p[i] | q[i]) & magnitude == zero) else zero
        differing += part_differing
        signs += part_signs
        # Division is slow: most parts have no value whose quotient could be the largest so far. The bound is
        # a little too small, so that rounding passes over none.
        reach = relative * (1.0 - 2.0**-50)
        candidates = 0
        for i in range(a.size):
            value = np.float64(a[i])
            error = np.float64(b[i]) - value
            size = abs(error)
            top = max(top, np.int64(float_bits(size)))
            total += error
            squares += error * error
            candidates += (size > 0.0) & (size >= reach * abs(value))
        if candidates:
            for i in range(a.size):
                value = np.float64(a[i])
                size = abs(np.float64(b[i]) - value)
                # Branchless, and without a division by zero.
                share = (size if value != 0.0 else 0.0) / (abs(value) if value != 0.0 else 1.0)
                relative = max(relative, share)
                at_zero = max(at_zero, size if value == 0.0 else 0.0)
    ends = np.array([low, high]) ^ ((np.array([low, high]) >> last) & magnitude)
    found = ends.astype(x_bits.dtype).view(x.dtype)
    return (
        np.float64(found[0]), np.float64(found[1]), float_of(np.uint64(top)), relative, at_zero,
        total, squares, signs, differing,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def count_nonfinite(x_bits: NDArray[Any], y_bits: NDArray[Any], exponent: Any) -> int:
    """Return at how many places either of two patterns (unsigned) has all bits of the mask `exponent` set."""
    found = 0
    for i in range(x_bits.size):
        found += (x_bits[i] & exponent == exponent) | (y_bits[i] & exponent == exponent)
    return found


# Without fastmath: the residue must not be optimized away.
@njit(nogil=True, cache=True, error_model="numpy")
def may_exceed(x: Floats, y: Floats, bound: float) -> bool:
    """Return whether any |y − x| > bound, exactly; float32 or float64, finite.

    The rounded difference decides, and where it equals the bound its residue (TwoSum: Knuth, TAOCP 2, 4.2.2);
    see `exact`.
    """
    found = 0
    for i in range(x.size):
        a, b = np.float64(y[i]), -np.float64(x[i])
        total = a + b
        of_a = total - b
        residue = (a - of_a) + (b - (total - of_a))
        outward = residue if total > 0.0 else -residue
        size = abs(total)
        found += (size > bound) | ((size == bound) & (outward > 0.0))
    return found > 0


def block_errors_reference(x: Floats, y: Floats, x_bits: NDArray[Any], y_bits: NDArray[Any]) -> Numbers:
    """The same in NumPy, for the tests."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        error = y - x
        size = np.abs(error)
        nonzero = x != 0
        relative = (size[nonzero] / np.abs(x[nonzero])).max(initial=0.0)
        signs = np.count_nonzero((x_bits != y_bits) & (y == x) & ~nonzero)
        return (
            float(x.min()), float(x.max()), float(size.max()), float(relative),
            float(size[~nonzero].max(initial=0.0)), float(error.sum()),
            float((error * error).sum()), int(signs), int(np.count_nonzero(x_bits != y_bits)),
        )  # fmt: skip
