"""The kernel that counts values of a tensor by the cell they are in: the scale of their row and their code.

Rows of one scale are taken together, so that memory is that of the largest such group: its values are sorted
by code, and each code's values counted in a table of all patterns that is wiped by walking them once more.
"""

# Numba types the bodies of compiled functions, not mypy.
# mypy: disable-error-code="call-arg, unreachable, assignment, arg-type, return-value, no-any-return"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weightcodecs.kernels.bitcast import float_of
from weightcodecs.kernels.jit import kernel

__all__ = ["CellTotals", "Edges", "count_cells"]

Array = NDArray[Any]

_TALLIES = 14
_SMALL_NLOGN = np.array([0.0, *(n * np.log2(n) for n in range(1, 1024))])  # most cells are small


class CellTotals(NamedTuple):
    """Sums over the cells of a tensor; n is a number of values, "n log n" is n·log2 n.

    Attributes:
        scale_nlogn, cell_nlogn, value_nlogn, high_nlogn, low_nlogn: Σ n log n over scales, over cells (scale,
            code), and over different values, high bytes and low bytes in a cell.
        scales, cells, values, highs, lows: how many of each there are.
        known: values in bins, those of finite scales.
        log2_codes: Σ over `known` of log2 of the tensor's own patterns in the bin.
        log2_patterns: the same of all finite patterns of the format.
        outside: of `known`, values that are not in the bin of their code.
    """

    scale_nlogn: float
    cell_nlogn: float
    value_nlogn: float
    high_nlogn: float
    low_nlogn: float
    scales: int
    cells: int
    values: int
    highs: int
    lows: int
    known: int
    log2_codes: float
    log2_patterns: float
    outside: int


class Edges(NamedTuple):
    """What makes a bin.

    Attributes:
        lower, upper: float64 (256,): interval [lower, upper] of w/scale that each code (as uint8) stands for.
        values: float64 (2^16,): value of each pattern.
        supported: float64 (s,): values of the patterns that occur in the tensor, ascending, one a pattern.
        representable: float64 (r,): values of all finite patterns, ascending, one a pattern.
    """

    lower: Array
    upper: Array
    values: Array
    supported: Array
    representable: Array


@kernel
def _nlogn(count: Any) -> float:
    return (
        _SMALL_NLOGN[count] if count < _SMALL_NLOGN.size else np.float64(count) * np.log2(np.float64(count))
    )


@kernel
def _before(ascending: Array, limit: float, inclusive: bool) -> int:
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) >> 1
        if ascending[middle] < limit or (inclusive and ascending[middle] == limit):
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _distinct(words: Array, table: Array, symbols: Array, counts: Array) -> int:
    """Set what different words there are, and how often; leave the table of zeros as it was."""
    for word in words:
        table[word] += np.uint32(1)
    found = 0
    for word in words:
        count = table[word]
        symbols[found], counts[found] = word, count  # without a branch that nobody could predict
        table[word] = np.uint32(0)
        found += count != 0
    return found


@kernel
def _add_bytes(symbols: Array, counts: Array, shift: int, table: Array, sums: Array, at: int) -> None:
    """Add n log n of one byte of the words, and how many different ones there are."""
    for i in range(symbols.size):
        table[(symbols[i] >> shift) & 0xFF] += counts[i]
    for symbol in symbols:
        count = table[(symbol >> shift) & 0xFF]
        if count:
            sums[at] += _nlogn(count)
            sums[at + 5] += 1.0
            table[(symbol >> shift) & 0xFF] = np.uint32(0)


@kernel
def _add_bin(symbols: Array, counts: Array, size: int, low: float, high: float, values: Array,
             supported: Array, representable: Array, sums: Array) -> None:  # fmt: skip
    own = _before(supported, high, True) - _before(supported, low, False)
    every = _before(representable, high, True) - _before(representable, low, False)
    sums[10] += size
    sums[11] += size * np.log2(np.float64(max(own, 1)))
    sums[12] += size * np.log2(np.float64(max(every, 1)))
    for i in range(symbols.size):
        value = values[symbols[i]]
        sums[13] += 0 if low <= value <= high else counts[i]


@kernel
def _cells(words: Array, codes: Array, row: int, order: Array, scales: Array, has_scales: bool,
           lower: Array, upper: Array, values: Array, supported: Array, representable: Array,
           sums: Array) -> None:  # fmt: skip
    table = np.zeros(1 << 16, np.uint32)
    starts = np.empty(257, np.int64)
    held = np.empty(0, np.uint16)
    symbols, counts = np.empty((1 << 16) + 1, np.uint16), np.empty((1 << 16) + 1, np.uint32)
    first = 0
    while first < order.size:
        last = first
        while last < order.size and scales[order[last]] == scales[order[first]]:
            last += 1
        starts[:] = 0
        for place in range(first, last):
            begin = order[place] * row
            for i in range(begin, min(begin + row, words.size)):
                starts[np.int64(codes[i]) + 1] += 1
        total = 0
        for code in range(256):
            total += starts[code + 1]
            starts[code + 1] = total
        if held.size < total:
            held = np.empty(total, np.uint16)
        for place in range(first, last):
            begin = order[place] * row
            for i in range(begin, min(begin + row, words.size)):
                code = np.int64(codes[i])
                held[starts[code]] = words[i]
                starts[code] += 1
        sums[0] += _nlogn(total)
        sums[5] += 1.0
        begin = 0
        scale = np.float64(float_of(scales[order[first]]))
        for code in range(256):
            end = starts[code]
            if end > begin:
                found = _distinct(held[begin:end], table, symbols, counts)
                sums[1] += _nlogn(end - begin)
                sums[6] += 1.0
                for i in range(found):
                    sums[2] += _nlogn(counts[i])
                sums[7] += found
                _add_bytes(symbols[:found], counts[:found], 8, table, sums, 3)
                _add_bytes(symbols[:found], counts[:found], 0, table, sums, 4)
                if has_scales and scale < np.inf:
                    _add_bin(
                        symbols[:found], counts[:found], end - begin, lower[code] * scale,
                        upper[code] * scale, values, supported, representable, sums,
                    )  # fmt: skip
            begin = end
        first = last


def count_cells(words: Array, codes: Array, row: int, scales: Array | None, edges: Edges) -> CellTotals:
    """Count the values of a tensor by (scale, code).

    Args:
        words: uint16 (n,): patterns of 16-bit floats.
        codes: uint8 (n,): their codes.
        row: how many consecutive values share a scale.
        scales: float32 (⌈n / row⌉,), told apart by their bits; None: one scale, and no bins.
        edges: see there.
    """
    bits = np.zeros(1, np.uint32) if scales is None else np.ascontiguousarray(scales).view(np.uint32)
    order = np.argsort(bits, kind="stable")
    sums = np.zeros(_TALLIES)
    _cells(words, codes, row if bits.size > 1 else words.size, order, bits, scales is not None, *edges, sums)
    integers = set(range(5, 11)) | {13}
    return CellTotals(*(int(x) if at in integers else float(x) for at, x in enumerate(sums)))
