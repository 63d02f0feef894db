"""Error statistics in one pass over memory. Imported with the first bounded unit: it loads Numba.

A part of a few kilobytes is looked at several times while it is in the first-level cache. What is slow to
find out (the largest relative error, whether a rounded error hides a larger one, zeros that changed their
sign) is looked for in those parts alone whose extremes allow that it is there.
"""

# Numba types the bodies of compiled functions, not mypy.
# mypy: disable-error-code="call-arg, unreachable, assignment, arg-type, return-value, no-any-return"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from weightbench.verify.histogram import ZERO, no_counts
from weightcodecs.formats import FloatFormat
from weightcodecs.kernels.bitcast import float_bits, float_of, shift_within

__all__ = ["Found", "all_errors", "errors_inside", "errors_reference", "may_exceed"]

Array = NDArray[Any]
Counts = NDArray[np.int64]

_PART = 512
_MOST = 2.0**400  # squares of errors between this and its inverse neither overflow nor vanish
_UNCOMPILED = 0
_AS_IT_IS, _HALF, _BRAIN = 1, 2, 3
_WIDENING = {"float32": _AS_IT_IS, "float64": _AS_IT_IS, "float16": _HALF, "bfloat16": _BRAIN}


class Found(NamedTuple):
    """What there is to know about decoded values y of originals x; all zero if `values` is.

    Attributes:
        values: how many from the start of the arrays this is about.
        smallest, largest: of x.
        top: largest |y − x|.
        relative: largest |y − x| / |x| over x ≠ 0, or what was found before if that is larger.
        at_zero: largest |y| over x = 0.
        total, squares: sums of y − x and of its squares; infinite or NaN where they overflow.
        signs: zeros that changed their sign.
        differing: values whose bits differ.
    """

    values: int
    smallest: float
    largest: float
    top: float
    relative: float
    at_zero: float
    total: float
    squares: float
    signs: int
    differing: int


def errors_inside(
    x: Array, y: Array, format: FloatFormat, absolute: float, factor: float, relative: float,
    counts: Counts | None = None,
) -> Found:  # fmt: skip
    """Survey values for as long as they are finite and surely keep a bound.

    Args:
        x, y: flat, of this format, contiguous.
        absolute, factor: |y − x| ≤ absolute, or |y − x| ≤ factor·|x|; the other one is 0.
        relative: the largest relative error found before.
        counts: of `histogram.new_counts`, added to; None: errors are not counted.

    Returns:
        what there is in the values before the first part that has to be looked at more closely, or that
        cannot be here: another format than float64, float32, float16 and bfloat16 is such at once.
    """
    widening = _WIDENING.get(format.name, _UNCOMPILED)
    if widening == _UNCOMPILED or (absolute == 0.0) == (factor == 0.0):
        return Found(0, 0.0, 0.0, 0.0, relative, 0.0, 0.0, 0.0, 0, 0)
    return _surveyed(x, y, widening, True, absolute, factor, relative, counts)


def all_errors(x: Array, y: Array, counts: Counts | None = None) -> Found:
    """Survey finite float64 or float32 values, whatever the errors; x and y not empty."""
    return _surveyed(x, y, _AS_IT_IS, False, 0.0, 0.0, 0.0, counts)


def _surveyed(
    x: Array, y: Array, widening: int, checked: bool, absolute: float, factor: float, relative: float,
    counts: Counts | None,
) -> Found:  # fmt: skip
    bits, wide = np.dtype(f"u{x.itemsize}"), np.dtype("f8" if x.itemsize == 8 else "f4")
    a, b = np.empty(_PART, wide), np.empty(_PART, wide)
    integer = np.dtype(f"i{wide.itemsize}")
    p, q = x.view(bits), y.view(bits)
    p.flags.writeable = q.flags.writeable = False  # one kind of array: compiled once
    return Found(
        *_survey(
            p, q, widening, a, b, a.view(integer), b.view(integer),
            checked, absolute, factor, relative, no_counts() if counts is None else counts,
        )
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _survey(
    p: Array, q: Array, widening: int, a: Array, b: Array, a_bits: Array, b_bits: Array,
    checked: bool, absolute: float, factor: float, relative: float, counts: Counts,
) -> Any:  # fmt: skip
    ends, least_bits = np.zeros(2, a_bits.dtype), np.zeros(2, a_bits.dtype)
    least = least_bits.view(a.dtype)
    top = at_zero = total = squares = 0.0
    signs = differing = taken = 0
    # With magnitudes of at least m, differences are multiples of m's last place: exact below this many m.
    # Those of float16 are always exact.
    spare = 2.0**29 if a.itemsize == 4 else 1.0
    while taken < p.size:
        size = min(_PART, p.size - taken)
        u, v, i, j = a[:size], b[:size], a_bits[:size], b_bits[:size]
        _widen(p[taken : taken + size], widening, i)
        _widen(q[taken : taken + size], widening, j)
        low, high, least_bits[0], least_bits[1], part_differing = _patterns(i, j)
        least_x, least_y = np.float64(least[0]), np.float64(least[1])
        part_top, part_total, part_squares = _errors(u, v)
        if checked and not (part_top == 0.0 or 1.0 / _MOST < part_top <= _MOST):  # not finite, too
            break
        # Rounding is monotone, so that this holds for every value if it holds for the extremes. A quotient
        # of 1, the largest where values are rounded to a grid, is exceeded by larger errors alone.
        reach = relative if relative == 1.0 else relative * (1.0 - 2.0**-50)
        part_relative, part_at_zero = relative, 0.0
        if part_top > reach * least_x and _any_above(u, v, reach):
            part_relative, part_at_zero = _quotients(u, v, relative)
        if checked:
            if factor > 0.0:
                within = part_at_zero == 0.0 and factor > 2.0**-900
                within = within and part_relative * (1.0 + 2.0**-50) < factor
            else:
                exact = widening == _HALF or part_top <= spare * min(least_x, least_y)
                within = part_top < absolute or (
                    part_top == absolute and (exact or not may_exceed(u, v, absolute))
                )
            if not within:
                break
        if least_x == 0.0:
            signs += _sign_changes(i, j)
        if counts.size > 0:
            if part_top == 0.0:
                counts[0, ZERO] += size
            else:
                _count_exponents(u, v, counts)
        ends[0] = low if taken == 0 else min(ends[0], low)
        ends[1] = high if taken == 0 else max(ends[1], high)
        top, at_zero, relative = max(top, part_top), max(at_zero, part_at_zero), part_relative
        total, squares, differing = total + part_total, squares + part_squares, differing + part_differing
        taken += size
    magnitude = ~(a_bits.dtype.type(1) << a_bits.dtype.type(8 * a_bits.itemsize - 1))
    for end in range(2):
        if ends[end] < 0:
            ends[end] ^= magnitude
    found = ends.view(a.dtype)
    return (
        taken, np.float64(found[0]), np.float64(found[1]), top, relative, at_zero, total, squares, signs,
        differing,
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _widen(source: Array, widening: int, out: Array) -> None:
    """Write patterns as they are, or those of the float32 that 16-bit floats are."""
    if widening == _AS_IT_IS:
        for i in range(out.size):
            out[i] = source[i]
    elif widening == _BRAIN:
        for i in range(out.size):
            out[i] = np.int32(np.uint32(np.uint32(source[i]) << np.uint32(16)))
    else:
        for i in range(out.size):
            magnitude = np.uint32(np.uint32(source[i]) & np.uint32(0x7FFF))
            sign = np.uint32(np.uint32(np.uint32(source[i]) & np.uint32(0x8000)) << np.uint32(16))
            shifted = np.uint32(magnitude << np.uint32(13))
            rebias = np.uint32((224 if magnitude >= np.uint32(0x7C00) else 112) << 23)
            normal = np.uint32(shifted + rebias)
            tiny: Any = float_bits(float_of(np.uint32(shifted + np.uint32(113 << 23))) - np.float32(2.0**-14))
            out[i] = np.int32(np.uint32((tiny if magnitude < np.uint32(0x400) else normal) | sign))


@njit(nogil=True, cache=True, error_model="numpy")
def _patterns(p: Array, q: Array) -> Any:
    """Return smallest and largest rank of p, smallest magnitudes of p and q, number of differing patterns."""
    # Largest and smallest are taken of integers, since LLVM does not vectorize those of floats as Numba
    # writes them: a pattern with its magnitude inverted where the sign is set grows with its float.
    zero, one = p.dtype.type(0), p.dtype.type(1)
    last = p.dtype.type(8 * p.itemsize - 1)
    magnitude = p.dtype.type(~(one << last))
    low = high = p.dtype.type(p[0] ^ ((p[0] >> last) & magnitude))
    least_p = least_q = magnitude
    differing = zero
    for i in range(p.size):
        rank = p.dtype.type(p[i] ^ ((p[i] >> shift_within(last)) & magnitude))
        low, high = min(low, rank), max(high, rank)
        least_p = min(least_p, p.dtype.type(p[i] & magnitude))
        least_q = min(least_q, p.dtype.type(q[i] & magnitude))
        differing = p.dtype.type(differing + (one if p[i] != q[i] else zero))
    return low, high, least_p, least_q, np.int64(differing)


# Sums may be reordered (that is what lets them be vectorized).
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _errors(x: Array, y: Array) -> Any:
    """Return the largest |y − x|, NaN or infinite if anything is not finite, and the sums."""
    top, total, squares = np.int64(0), 0.0, 0.0
    for i in range(x.size):
        error = np.float64(y[i]) - np.float64(x[i])
        top = max(top, np.int64(float_bits(abs(error))))
        total += error
        squares += error * error
    return float_of(np.uint64(top)), total, squares


@njit(nogil=True, cache=True, error_model="numpy")
def _count_exponents(x: Array, y: Array, counts: Counts) -> None:
    """See `histogram`. Two tables in turn: a counter stored a moment ago makes the next load wait."""
    for i in range(x.size):
        error = abs(np.float64(y[i]) - np.float64(x[i]))
        bits: Any = float_bits(error)
        counts[i & 1, np.uint64(ZERO) if error == 0.0 else bits >> np.uint64(52)] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _any_above(x: Array, y: Array, reach: float) -> bool:
    """Return whether any |y − x| > reach·|x|: if none is, no quotient is larger than before."""
    above = 0
    for i in range(x.size):
        value = np.float64(x[i])
        above += abs(np.float64(y[i]) - value) > reach * abs(value)
    return above > 0


@njit(nogil=True, cache=True, error_model="numpy")
def _quotients(x: Array, y: Array, relative: float) -> Any:
    """Return the largest |y − x| / |x| over x ≠ 0 and `relative`, and the largest |y| over x = 0."""
    at_zero = 0.0
    for i in range(x.size):
        value = np.float64(x[i])
        size = abs(np.float64(y[i]) - value)
        # Branchless, and without a division by zero.
        share = (size if value != 0.0 else 0.0) / (abs(value) if value != 0.0 else 1.0)
        relative = max(relative, share)
        at_zero = max(at_zero, size if value == 0.0 else 0.0)
    return relative, at_zero


@njit(nogil=True, cache=True, error_model="numpy")
def _sign_changes(p: Array, q: Array) -> int:
    magnitude = p.dtype.type(~(p.dtype.type(1) << p.dtype.type(8 * p.itemsize - 1)))
    changed = 0
    for i in range(p.size):
        changed += (p[i] != q[i]) & ((p[i] | q[i]) & magnitude == 0)
    return changed


@njit(nogil=True, cache=True, error_model="numpy")
def may_exceed(x: Array, y: Array, bound: float) -> bool:
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


def errors_reference(x: Array, y: Array) -> Found:
    """`all_errors` in NumPy, for the tests."""
    bits = np.dtype(f"u{x.itemsize}")
    differs = x.view(bits) != y.view(bits)
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        error = y - x
        size = np.abs(error)
        nonzero = x != 0
        relative = (size[nonzero] / np.abs(x[nonzero])).max(initial=0.0)
        signs = np.count_nonzero(differs & (y == x) & ~nonzero)
        return Found(
            x.size, float(x.min()), float(x.max()), float(size.max()), float(relative),
            float(size[~nonzero].max(initial=0.0)), float(error.sum()),
            float((error * error).sum()), int(signs), int(np.count_nonzero(differs)),
        )  # fmt: skip
