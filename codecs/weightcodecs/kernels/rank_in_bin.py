"""A float given its quantised code: its place among the floats that have that code. Source: ours, after the
observation of QStore (PVLDB 19(3), 2026) that floats with one code under one scale lie in one narrow
interval.

A quantiser's code c says that w/a lies in an interval [lower, upper] (a is the scale). Cut the line into
cells of the width W = 2^(x − bias), a power of two: cell g ≥ 0 is [g·W, (g+1)·W), and cell −1−g the same for
negative numbers, −0.0 included. W is the spacing of floats at the interval's outer end, or the smallest power
of two above it for which the interval has at most 255 cells. Then

* a cell is as likely as any other of its interval, near enough: `uniform_code` codes which one it is;
* with L the bit length of g ≥ 1, a cell holds 2^r floats, r = mantissa + 1 − max(L, 2 − x): as they are
  equally far apart, r bits say which, as they are. Cell 0 holds every smaller magnitude: all its bits follow.

Both directions are integer arithmetic, so any bit pattern inside a cell comes back exactly; what lies in no
cell of its code is an escape, which the caller keeps apart. The intervals are widened by 2^-20 of themselves,
so that a quantiser that rounds a tie or divides in another way makes no escapes.

Scale 0 stands for a group of +0.0; under an infinite or NaN scale every pattern is stored as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel
from .unaligned import bit_length, load64
from .uniform_code import MAX_RANGE, pack_uniform, unpack_uniform, write_bits

__all__ = ["bin_cells", "decode_ranks", "encode_ranks"]

_ONE, _SEVEN = np.uint64(1), np.uint64(7)
_FAR = 4096  # as x: a cell wider than any float


@kernel
def bin_cells(
    scale: Any, lower: Any, upper: Any, mantissa: Any, bias: Any, first: Any, ranges: Any, unit: Any
) -> Any:
    """Fill the table of one scale.

    Args:
        scale: float32.
        lower, upper: float64 (codes,), finite: the interval of w/scale for each code, lower < upper.
        mantissa, bias: of the float format.
        first: int64 (codes,), written: the first cell of each interval.
        ranges: uint8 (codes,), written: how many cells it has, 1 to 255.
        unit: int64 (codes,), written: x.
    """
    if not scale > 0 or scale == np.inf:
        ranges[:] = 1 if scale == 0 else 2
        first[:] = 0 if scale == 0 else -1
        unit[:] = _FAR
        return
    size = np.float64(scale)
    top = np.empty(lower.size, np.float64)
    for code in range(lower.size):
        top[code] = max(abs(lower[code]), abs(upper[code])) * size
    exponent = top.view(np.int64)
    power = np.empty(lower.size, np.int64)
    for code in range(lower.size):
        # The spacing of floats with the exponent of the outer end, not below that of subnormal numbers.
        power[code] = min(max((exponent[code] >> 52) - 1023, 1 - bias), bias)
        exponent[code] = (1023 + mantissa - power[code]) << 52
    # The end nearer to zero begins with the first float that is not nearer: round up to one.
    inner = np.empty(lower.size, np.float64)
    for code in range(lower.size):
        inner[code] = max(max(lower[code], -upper[code]), 0.0) * size
    nearest = inner.view(np.int64)
    spare = (1 << (52 - mantissa)) - 1
    for code in range(lower.size):
        nearest[code] = (nearest[code] + spare) & ~spare
    # Scales beyond the format's range reach further than its largest binade; no cell does.
    limit = np.float64((2 << mantissa) - 1)
    for code in range(lower.size):
        far = np.int64(min(max(abs(lower[code]), abs(upper[code])) * size * top[code], limit))
        near = np.int64(min(inner[code] * top[code], limit))
        if lower[code] >= 0:
            start, stop = near, max(near, far)
        elif upper[code] < 0:
            start, stop = min(~far, ~near), ~near
        else:
            start = ~np.int64(min(-lower[code] * size * top[code], limit))
            stop = np.int64(min(upper[code] * size * top[code], limit))
        wide = np.int64(bit_length(np.uint64(stop - start)))
        shift: Any = max(wide - 8, 0)
        shift += (stop >> shift) - (start >> shift) >= MAX_RANGE
        first[code] = start >> shift
        ranges[code] = (stop >> shift) - (start >> shift) + 1
        unit[code] = power[code] - mantissa + shift + bias


@kernel
def encode_ranks(
    patterns: Any, codes: Any, scales: Any, group: Any, start: Any, stop: Any, lower: Any, upper: Any,
    mantissa: Any, bias: Any, bits: Any, ranks: Any, rest: Any, escapes: Any, sizes: Any,
) -> None:  # fmt: skip
    """Code the elements start to stop − 1.

    Args:
        patterns: uint16 or uint32, all elements.
        codes: uint8, of all elements, each below lower.size.
        scales: float32; element i has scales[i // group].
        lower, upper, mantissa, bias: see `bin_cells`; bits: of a pattern.
        ranks: uint8 (4·n + 16,) for n elements, written: the cells' stream.
        rest: uint8 (n·bits / 8 + 16,), written: the bits inside cells.
        escapes: int64 (n,), written: the elements in no cell of their code.
        sizes: int64 (3,), written: bytes of ranks and rest, number of escapes.
    """
    first = np.empty(lower.size, np.int64)
    unit = np.empty(lower.size, np.int64)
    table = np.empty(lower.size, np.uint8)
    longest = min(group, stop - start)
    ranges = np.empty(longest, np.uint8)
    values = np.empty(longest, np.uint8)
    magnitude_mask = (_ONE << np.uint64(bits - 1)) - _ONE
    fraction_mask = (_ONE << np.uint64(mantissa)) - _ONE
    at = rest_at = escaped = 0
    held = filled = rest_held = rest_filled = np.uint64(0)
    at_element = start
    while at_element < stop:
        scale = scales[at_element // group]
        end = min((at_element // group + 1) * group, stop)
        bin_cells(scale, lower, upper, mantissa, bias, first, table, unit)
        for i in range(at_element, end):
            code = codes[i]
            pattern = np.uint64(patterns[i])
            magnitude = pattern & magnitude_mask
            field = np.int64(magnitude >> np.uint64(mantissa))
            significand = magnitude & fraction_mask
            significand |= np.uint64(field > 0) << np.uint64(mantissa)
            shift = mantissa + unit[code] - max(field, 1)
            cell = np.int64(significand >> np.uint64(min(max(shift, 0), 63)))
            signed = ~cell if pattern > magnitude_mask else cell
            rank = signed - first[code]
            inside = shift >= 0 and rank >= 0 and rank < table[code]
            # A zero under scale 0 costs nothing; all else there is an escape.
            inside = inside and (scale != 0 or pattern == 0)
            if not inside:
                escapes[escaped] = i
                escaped += 1
                rank = 0
                signed = first[code]
                cell = ~signed if signed < 0 else signed
                magnitude = np.uint64(0)
                significand = np.uint64(0)
            values[i - at_element] = rank
            ranges[i - at_element] = table[code]
            count = np.int64(bits - 1 if scale != 0 else 0)
            inner = magnitude
            if cell > 0:
                count = mantissa + 1 - max(np.int64(bit_length(np.uint64(cell))), 2 - unit[code])
                inner = significand & ((_ONE << np.uint64(count)) - _ONE)
            rest_at, rest_held, rest_filled = write_bits(
                rest, rest_at, rest_held, rest_filled, inner, np.uint64(count)
            )
        at, held, filled = pack_uniform(values, ranges, end - at_element, ranks, at, held, filled)
        at_element = end
    ranks[at] = held
    rest[rest_at] = rest_held
    sizes[0] = at + (filled > 0)
    sizes[1] = rest_at + (rest_filled > 0)
    sizes[2] = escaped


@kernel
def decode_ranks(
    stream: Any, ranks_at: Any, rest_at: Any, rest_end: Any, codes: Any, scales: Any, group: Any, start: Any,
    stop: Any, lower: Any, upper: Any, mantissa: Any, bias: Any, bits: Any, inverse: Any, patterns: Any,
) -> Any:  # fmt: skip
    """Decode the elements start to stop − 1 into `patterns`; safe on any bits, codes and scales.

    Args:
        stream: uint8, at least 8 bytes; ranks at [ranks_at, rest_at), the bits inside cells up to rest_end.
        codes: uint8, of all elements, each below lower.size.
        patterns: uint16 or uint32, of all elements; escapes come out as anything.
        inverse: RECIPROCALS; the others as for `encode_ranks`.

    Returns:
        True if both streams were used up exactly.
    """
    first = np.empty(lower.size, np.int64)
    unit = np.empty(lower.size, np.int64)
    table = np.empty(lower.size, np.uint8)
    cells = np.empty(lower.size, np.int64)
    longest = min(group, stop - start)
    ranges = np.empty(longest, np.uint8)
    values = np.empty(longest, np.uint8)
    magnitude_mask = (_ONE << np.uint64(bits - 1)) - _ONE
    full = np.int64(mantissa + 1)
    fraction = np.uint64(mantissa)
    last = stream.size - 8
    position, rest = 8 * ranks_at, 8 * rest_at
    at = start
    while at < stop:
        scale = scales[at // group]
        end = min((at // group + 1) * group, stop)
        size = end - at
        bin_cells(scale, lower, upper, mantissa, bias, first, table, unit)
        if scale == 0:
            for i in range(at, end):
                patterns[i] = 0
            at = end
            continue
        for code in range(lower.size):  # one load for both in the loop below
            cells[code] = (first[code] << 16) | (unit[code] + _FAR)
        begin = np.uint64(at)  # unsigned indices: Numba looks whether signed ones are negative
        for k in range(np.uint64(size)):
            ranges[k] = table[np.uint64(codes[begin + k])]
        position = unpack_uniform(stream, position, last, ranges, values, size, inverse)
        for k in range(np.uint64(size)):
            entry = cells[np.uint64(codes[begin + k])]
            x = (entry & 0xFFFF) - _FAR
            signed = (entry >> 16) + np.int64(values[k])
            sign = signed >> 63
            cell = np.uint64(signed ^ sign)
            level = max(np.int64(bit_length(cell)), 2 - x)
            count = np.uint64(full - level)
            base = (np.uint64(x + level - 2) << fraction) + (cell << count)
            if cell == 0:
                count = np.uint64(bits - 1)
                base = np.uint64(0)
            word = load64(stream, min(rest >> 3, last)) >> (np.uint64(rest) & _SEVEN)
            rest += np.int64(count)
            magnitude = (base + (word & ((_ONE << count) - _ONE))) & magnitude_mask
            patterns[begin + k] = magnitude | (np.uint64(sign) & ~magnitude_mask)
        at = end
    return (position + 7) >> 3 == rest_at and (rest + 7) >> 3 == rest_end
