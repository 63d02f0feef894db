"""Error statistics of a block in one pass. Imported with the first bounded unit: it loads Numba."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["block_errors", "block_errors_reference"]

Floats = NDArray[np.float64]
Numbers = tuple[float, float, float, float, float, float, float, int]

_SIGN = np.int64(-(2**63))


# Sums may be reordered (that is what lets them be vectorized); inputs are finite, and an error that overflows
# is an infinity, which only `ninf` would forbid.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})
def block_errors(x: Floats, y: Floats, x_bits: NDArray[np.int64], y_bits: NDArray[np.int64]) -> Numbers:
    """Return what there is to know about decoded values `y` of originals `x`.

    Args:
        x, y: finite, shape (n,), n > 0.
        x_bits, y_bits: the same memory as int64.

    Returns:
        smallest x, largest x, largest |y − x|, largest |y − x| / |x| over x ≠ 0 and largest |y| over x = 0
        (0 if there are none), sum and sum of squares of y − x (infinite or NaN where they overflow), zeros
        that changed their sign.
    """
    low, high = x[0], x[0]
    top, relative, at_zero, total, squares = 0.0, 0.0, 0.0, 0.0, 0.0
    signs = 0
    for i in range(x.size):
        value = x[i]
        error = y[i] - value
        size = abs(error)
        low = min(low, value)
        high = max(high, value)
        top = max(top, size)
        # Branchless, and without a division by zero.
        relative = max(relative, (size if value != 0.0 else 0.0) / (abs(value) if value != 0.0 else 1.0))
        at_zero = max(at_zero, size if value == 0.0 else 0.0)
        total += error
        squares += error * error
        signs += (x_bits[i] ^ y_bits[i] == _SIGN) & (value == 0.0)
    return low, high, top, relative, at_zero, total, squares, signs


def block_errors_reference(
    x: Floats, y: Floats, x_bits: NDArray[np.int64], y_bits: NDArray[np.int64]
) -> Numbers:
    """The same in NumPy, for the tests."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = y - x
        size = np.abs(error)
        nonzero = x != 0
        relative = (size[nonzero] / np.abs(x[nonzero])).max(initial=0.0)
        signs = np.count_nonzero((x_bits ^ y_bits == _SIGN) & ~nonzero)
        return (
            float(x.min()), float(x.max()), float(size.max()), float(relative),
            float(size[~nonzero].max(initial=0.0)), float(error.sum()),
            float((error * error).sum()), int(signs),
        )  # fmt: skip
