"""Numbers that are equally likely, each with a range of its own, at nearly log2(range) bits. Source: ours.

Number k is below `ranges[k]` (1 to 255), and whoever decodes knows the ranges. Four numbers in a row become
one in mixed radix, ((v0·r1 + v1)·r2 + v2)·r3 + v3 < r0·r1·r2·r3 = R, and that is written in a phase-in code
(truncated binary; Golomb 1966 for the remainder): with k = ⌊log2 R⌋, the first 2^(k+1) − R values take k bits
and the others k + 1. It wastes 0.057 bit on average, here for four numbers: 0.014 bit each. One step of the
bit reader gives four numbers; the divisions that take them apart are multiplications by a reciprocal.

Bits are filled from the lowest one; a value's leading k bits come first, its last bit after them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel
from .unaligned import bit_length, load64, store64

__all__ = [
    "MAX_RANGE",
    "RECIPROCALS",
    "pack_uniform",
    "pack_uniform_reference",
    "unpack_uniform",
    "write_bits",
]

MAX_RANGE = 255
_SHIFT = np.uint64(40)
# ceil(2^40 / r): v·RECIPROCALS[r] >> 40 is v // r for v < 2^32, and v·RECIPROCALS[r] < 2^64 for v < 255^3·r.
RECIPROCALS: NDArray[np.uint64] = np.array(
    [0] + [-(-(1 << 40) // r) for r in range(1, MAX_RANGE + 1)], np.uint64
)
_ONE, _THREE, _SEVEN = np.uint64(1), np.uint64(3), np.uint64(7)


@kernel
def write_bits(stream: Any, at: Any, held: Any, filled: Any, value: Any, bits: Any) -> Any:
    """Append the `bits` (at most 48) of `value` to `held`, and what is whole bytes of it to `stream[at:]`.

    Returns:
        at, held and filled (below 8) afterwards; eight bytes at `at` have been overwritten.
    """
    held |= value << filled
    filled += bits
    store64(stream, at, held)
    at += np.int64(filled >> _THREE)
    held >>= filled & ~_SEVEN
    return at, held, filled & _SEVEN


@kernel
def pack_uniform(values: Any, ranges: Any, size: Any, stream: Any, at: Any, held: Any, filled: Any) -> Any:
    """Append `values[:size]` to a stream; see `write_bits` for at, held and filled, which are returned.

    Args:
        values, ranges: uint8, at least `size` long; values[k] < ranges[k].
        stream: uint8 with 4·⌈size / 4⌉ + 8 bytes from `at` on.
    """
    for first in range(0, size, 4):
        value, total = np.uint64(0), _ONE
        for index in range(first, min(first + 4, size)):
            value = value * np.uint64(ranges[index]) + np.uint64(values[index])
            total *= np.uint64(ranges[index])
        log = bit_length(total) - _ONE
        short = (_ONE << (log + _ONE)) - total
        if value < short:
            at, held, filled = write_bits(stream, at, held, filled, value, log)
        else:
            value += short
            code = (value >> _ONE) | ((value & _ONE) << log)
            at, held, filled = write_bits(stream, at, held, filled, code, log + _ONE)
    return at, held, filled


@kernel
def _read(stream: Any, position: Any, last: Any, total: Any) -> Any:
    """One value below `total`, and the bit position behind it."""
    byte = min(position >> 3, last)
    word = load64(stream, byte) >> (np.uint64(position) & _SEVEN)
    log = bit_length(total) - _ONE
    short = (_ONE << (log + _ONE)) - total
    lead = word & ((_ONE << log) - _ONE)
    more = ((word >> log) & _ONE) + lead - short
    longer = lead >= short
    return lead + (more if longer else np.uint64(0)), position + np.int64(log) + longer


@kernel
def unpack_uniform(
    stream: Any, position: Any, last: Any, ranges: Any, values: Any, size: Any, inverse: Any
) -> Any:
    """Decode into `values[:size]`; safe on any bits.

    Args:
        stream: uint8, 8 bytes and more.
        position: bit where the first code starts; it may lie anywhere.
        last: byte offset of the last eight bytes that may be read.
        ranges: uint8, 1 to 255 each.
        values: uint8, written; values[k] < ranges[k] whatever the bits are.
        inverse: RECIPROCALS.

    Returns:
        the bit position behind the last code.
    """
    whole = size & ~3
    for k in range(0, whole, 4):
        r0, r1 = np.uint64(ranges[k]), np.uint64(ranges[k + 1])
        r2, r3 = np.uint64(ranges[k + 2]), np.uint64(ranges[k + 3])
        upper, lower = r0 * r1, r2 * r3
        value, position = _read(stream, position, last, upper * lower)
        rest = (value * inverse[r3]) >> _SHIFT
        values[k + 3] = value - rest * r3
        value = (rest * inverse[r2]) >> _SHIFT
        values[k + 2] = rest - value * r2
        rest = (value * inverse[r1]) >> _SHIFT
        values[k + 1] = value - rest * r1
        values[k] = rest
    if whole < size:
        total = _ONE
        for k in range(whole, size):
            total *= np.uint64(ranges[k])
        value, position = _read(stream, position, last, total)
        for k in range(size - 1, whole - 1, -1):
            rest = (value * inverse[np.uint64(ranges[k])]) >> _SHIFT
            values[k] = value - rest * np.uint64(ranges[k])
            value = rest
    return position


def pack_uniform_reference(values: list[int], ranges: list[int]) -> str:
    """The same stream in plain Python, as the text of its bits in reading order."""
    text = ""
    for first in range(0, len(values), 4):
        value, total = 0, 1
        for v, r in zip(values[first : first + 4], ranges[first : first + 4], strict=True):
            value, total = value * r + v, total * r
        log = total.bit_length() - 1
        short = (2 << log) - total
        lead, tail = (value, "") if value < short else (value + short >> 1, str(value + short & 1))
        text += f"{lead:0{log}b}"[::-1] * (log > 0) + tail
    return text
