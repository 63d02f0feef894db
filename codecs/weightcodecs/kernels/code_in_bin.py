"""An INT8 code given the NF4 code of the same value: its place among the codes that go with it. Source: ours.

The NF4 code and its block's scale say in which interval the value lies, and the row's scale which INT8 codes
that interval holds: some 20 of 255, about equally likely. Their number never depends on the code itself, so
`uniform_code` codes the rank. A code outside is an escape, which the caller keeps apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel
from .uniform_code import MAX_RANGE, pack_uniform, unpack_uniform

__all__ = ["decode_codes_in_bins", "encode_codes_in_bins"]

_TOLERANCE = 2.0**-18


@kernel
def _codes_of_bins(fine: Any, coarse: Any, lower: Any, upper: Any, first: Any, ranges: Any) -> None:
    """Fill the first INT8 code of each NF4 code's interval and how many there are, 1 to 255."""
    ratio = 127.0 * np.float64(coarse) / np.float64(fine)
    for code in range(lower.size):
        if not (ratio >= 0 and ratio < 1e6):  # a scale that is 0, infinite or NaN: any code but one
            first[code], ranges[code] = -127, MAX_RANGE
            continue
        margin = 0.5 + _TOLERANCE * (1 + ratio)
        start: Any = min(max(np.int64(np.ceil(lower[code] * ratio - margin)), -127), 127)
        stop: Any = min(max(np.int64(np.floor(upper[code] * ratio + margin)), -127), 127)
        first[code] = start
        ranges[code] = stop - start + 1


@kernel
def encode_codes_in_bins(
    codes: Any, given: Any, fine: Any, row: Any, coarse: Any, block: Any, start: Any, stop: Any,
    lower: Any, upper: Any, ranks: Any, escapes: Any, sizes: Any,
) -> None:  # fmt: skip
    """Code the elements start to stop − 1.

    Args:
        codes: int8, given: uint8 below lower.size, of all elements.
        fine, coarse: float32; element i has fine[i // row] and coarse[i // block].
        lower, upper: float64 (16,), see quantise.code_intervals.
        ranks: uint8 (4·n + 16,), written.
        escapes: int64 (n,), written: the elements whose code is not in its interval.
        sizes: int64 (2,), written: bytes of ranks, number of escapes.
    """
    first = np.empty(lower.size, np.int64)
    table = np.empty(lower.size, np.uint8)
    values = np.empty(block, np.uint8)
    ranges = np.empty(block, np.uint8)
    held = filled = np.uint64(0)
    at = escaped = 0
    begin = start
    while begin < stop:
        end = min(min((begin // block + 1) * block, (begin // row + 1) * row), stop)
        _codes_of_bins(fine[begin // row], coarse[begin // block], lower, upper, first, table)
        for i in range(begin, end):
            rank = np.int64(codes[i]) - first[given[i]]
            ranges[i - begin] = table[given[i]]
            if rank < 0 or rank >= table[given[i]]:
                escapes[escaped] = i
                escaped += 1
                rank = 0
            values[i - begin] = rank
        at, held, filled = pack_uniform(values, ranges, end - begin, ranks, at, held, filled)
        begin = end
    ranks[at] = held
    sizes[0] = at + (filled > 0)
    sizes[1] = escaped


@kernel
def decode_codes_in_bins(
    stream: Any, ranks_at: Any, ranks_end: Any, given: Any, fine: Any, row: Any, coarse: Any, block: Any,
    start: Any, stop: Any, lower: Any, upper: Any, inverse: Any, codes: Any,
) -> Any:  # fmt: skip
    """Decode the elements start to stop − 1 into int8 `codes`; safe on any bits; True if all bits were used.

    `stream` has at least eight bytes, `inverse` is RECIPROCALS; the others as for `encode_codes_in_bins`.
    """
    first = np.empty(lower.size, np.int64)
    table = np.empty(lower.size, np.uint8)
    values = np.empty(block, np.uint8)
    ranges = np.empty(block, np.uint8)
    position = 8 * ranks_at
    begin = start
    while begin < stop:
        end = min(min((begin // block + 1) * block, (begin // row + 1) * row), stop)
        _codes_of_bins(fine[begin // row], coarse[begin // block], lower, upper, first, table)
        for i in range(begin, end):
            ranges[i - begin] = table[given[i]]
        position = unpack_uniform(stream, position, stream.size - 8, ranges, values, end - begin, inverse)
        for i in range(begin, end):
            codes[i] = first[given[i]] + np.int64(values[i - begin])
        begin = end
    return (position + 7) >> 3 == ranks_end
