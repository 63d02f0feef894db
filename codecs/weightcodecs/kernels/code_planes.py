"""A block of integer codes as byte planes and bit planes, for `fixed_point`, which describes the layout.

The loops run over slices from their first element, and every constant has the arrays' own type: an index that
might be negative, or one wider operand, keeps LLVM from vectorising them. Arrays that are one memory seen as
two types (low and low_words) come in twice for the same reason.
"""

from __future__ import annotations

import numpy as np

from .bitcast import shift_within
from .jit import kernel

__all__ = ["join_codes", "split_codes"]


@kernel
def split_codes(codes, planes, column, count, rest, depth, low, low_words):  # type: ignore[no-untyped-def]
    """Write `count` codes into the byte planes from `column` and into the bit planes `rest` of this block."""
    width = planes.shape[0]
    end = column + count
    for top in range(0, width - 2, 3):
        shift = codes.dtype.type(depth + 8 * (width - 3 - top))
        a, b, c = planes[top, column:end], planes[top + 1, column:end], planes[top + 2, column:end]
        _take_three(codes, shift, a, b, c)
    for plane in range(width // 3 * 3, width):
        shift = codes.dtype.type(depth + 8 * (width - 1 - plane))
        _take_byte(codes, shift, planes[plane, column:end])
    if depth == 0:
        return
    lane = (count + 63) // 64
    _take_byte(codes, codes.dtype.type(0), low[:count])
    low[count : lane * 64] = 0
    for bit in range(depth):
        _gather_bit(low_words, lane, np.uint64(bit), rest[bit * lane : (bit + 1) * lane])


@kernel
def _take_three(codes, shift, a, b, c):  # type: ignore[no-untyped-def]
    eight, sixteen = codes.dtype.type(8), codes.dtype.type(16)
    known = shift_within(shift)
    for i in range(a.size):
        code = codes.dtype.type(codes[i] >> known)
        a[i] = np.uint8(code >> sixteen)
        b[i] = np.uint8(code >> eight)
        c[i] = np.uint8(code)


@kernel
def _take_byte(codes, shift, plane):  # type: ignore[no-untyped-def]
    known = shift_within(shift)
    for i in range(plane.size):
        plane[i] = np.uint8(codes[i] >> known)


@kernel
def _gather_bit(words, lane, bit, out):  # type: ignore[no-untyped-def]
    ones = np.uint64(0x0101010101010101)
    a, b, c, d = words[:lane], words[lane : 2 * lane], words[2 * lane : 3 * lane], words[3 * lane : 4 * lane]
    e, f, g, h = words[4 * lane :], words[5 * lane :], words[6 * lane :], words[7 * lane :]
    for i in range(out.size):
        out[i] = (
            ((a[i] >> bit) & ones)
            | (((b[i] >> bit) & ones) << np.uint64(1))
            | (((c[i] >> bit) & ones) << np.uint64(2))
            | (((d[i] >> bit) & ones) << np.uint64(3))
            | (((e[i] >> bit) & ones) << np.uint64(4))
            | (((f[i] >> bit) & ones) << np.uint64(5))
            | (((g[i] >> bit) & ones) << np.uint64(6))
            | (((h[i] >> bit) & ones) << np.uint64(7))
        )


@kernel
def join_codes(planes, column, count, rest, depth, codes, low, low_words):  # type: ignore[no-untyped-def]
    """Turn what `split_codes` wrote back into codes; there are byte planes, or bit planes, or both."""
    end = column + count
    top = planes.shape[0] - 1
    if depth:
        lane = (count + 63) // 64
        _scatter_bits(rest, lane, depth, low_words)
        if top < 0:
            _put_byte(low[:count], codes)
        else:
            _put_two(low[:count], planes[top, column:end], codes.dtype.type(depth), codes)
        top -= 1
    elif top >= 2:
        _put_three(planes[top, column:end], planes[top - 1, column:end], planes[top - 2, column:end], codes)
        top -= 3
    else:
        _put_byte(planes[top, column:end], codes)
        top -= 1
    while top >= 0:
        shift = codes.dtype.type(depth + 8 * (planes.shape[0] - 1 - top))
        if top > 0:
            _or_two(planes[top, column:end], planes[top - 1, column:end], shift, codes)
        else:
            _or_byte(planes[top, column:end], shift, codes)
        top -= 2


@kernel
def _scatter_bits(rest, lane, depth, low_words):  # type: ignore[no-untyped-def]
    if depth >= 3:
        _put_bits(rest[:lane], rest[lane : 2 * lane], rest[2 * lane : 3 * lane], low_words)
        first = 3
    else:
        first = 0
        low_words[: 8 * lane] = 0
    for bit in range(first, depth):
        _or_bit(rest[bit * lane : (bit + 1) * lane], np.uint64(bit), low_words)


@kernel
def _put_bits(a, b, c, low_words):  # type: ignore[no-untyped-def]
    ones = np.uint64(0x0101010101010101)
    for j in range(8):
        position = np.uint64(j)
        low = low_words[j * a.size : (j + 1) * a.size]
        for i in range(low.size):
            low[i] = (
                ((a[i] >> position) & ones)
                | (((b[i] >> position) & ones) << np.uint64(1))
                | (((c[i] >> position) & ones) << np.uint64(2))
            )


@kernel
def _or_bit(source, bit, low_words):  # type: ignore[no-untyped-def]
    ones = np.uint64(0x0101010101010101)
    for j in range(8):
        position = np.uint64(j)
        low = low_words[j * source.size : (j + 1) * source.size]
        for i in range(low.size):
            low[i] |= ((source[i] >> position) & ones) << bit


@kernel
def _put_byte(plane, codes):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        codes[i] = plane[i]


@kernel
def _put_two(low, plane, shift, codes):  # type: ignore[no-untyped-def]
    known = shift_within(shift)
    for i in range(plane.size):
        codes[i] = codes.dtype.type(low[i]) | codes.dtype.type(codes.dtype.type(plane[i]) << known)


@kernel
def _put_three(lowest, middle, highest, codes):  # type: ignore[no-untyped-def]
    eight, sixteen = codes.dtype.type(8), codes.dtype.type(16)
    for i in range(lowest.size):
        pair = codes.dtype.type(lowest[i]) | codes.dtype.type(codes.dtype.type(middle[i]) << eight)
        codes[i] = pair | codes.dtype.type(codes.dtype.type(highest[i]) << sixteen)


@kernel
def _or_byte(plane, shift, codes):  # type: ignore[no-untyped-def]
    known = shift_within(shift)
    for i in range(plane.size):
        codes[i] |= codes.dtype.type(codes.dtype.type(plane[i]) << known)


@kernel
def _or_two(lower, upper, shift, codes):  # type: ignore[no-untyped-def]
    eight = codes.dtype.type(8)
    known = shift_within(shift)
    for i in range(lower.size):
        pair = codes.dtype.type(lower[i]) | codes.dtype.type(codes.dtype.type(upper[i]) << eight)
        codes[i] |= codes.dtype.type(pair << known)
