"""Content-defined cut points: a Gear hash over bytes, cuts behind whole elements only.

The hash of a position sums table[byte] << age over the last 64 bytes modulo 2^64, so a cut depends on the
content before it and not on where the chunk began. Chunks are between a smallest and a largest size; below
the normal size a cut needs more zero bits than above it, which gathers sizes around the normal one. Sources:
Gear hash, Xia et al., "Ddelta" (2014); normalised chunking, Xia et al., "FastCDC" (USENIX ATC 2016). Cutting
between elements and starting the hash 64 bytes before the smallest size are ours.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel

__all__ = ["WINDOW", "cut_points", "cut_points_reference", "gear_table"]

WINDOW = 64


@cache
def gear_table() -> NDArray[np.uint64]:
    """Return the 256 random words of the hash: SplitMix64 (Steele et al., 2014) from seed 0."""
    words = []
    for i in range(1, 257):
        z = i * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        words.append(z ^ (z >> 31))
    table = np.array(words, np.uint64)
    table.flags.writeable = False
    return table


def cut_points(data: NDArray[np.uint8], width: int, average: int) -> NDArray[np.int64]:
    """Return where the chunks of `data` end; the last end is the size of `data`.

    Args:
        data: uint8 (n,), n a multiple of `width`.
        width: bytes of an element, 1 to 64.
        average: the normal size in bytes, at least 256; chunks have from a quarter of it to four times as
            much.

    Raises:
        ValueError: an argument outside these limits.
    """
    if not 1 <= width <= WINDOW or average < 4 * WINDOW or data.ndim != 1 or data.size % width:
        raise ValueError("cut_points: needs whole elements of 1 to 64 bytes and an average of at least 256")
    smallest, largest, harder, easier = _limits(width, average)
    ends = np.empty(data.size // smallest + 1, np.int64)
    count = _cut(data, width, smallest, average, largest, harder, easier, gear_table(), ends)
    return ends[:count]


def _limits(width: int, average: int) -> tuple[int, int, np.uint64, np.uint64]:
    """Smallest and largest size, and the bits that must be zero below and above the normal size."""
    smallest = -(-(average // 4) // width) * width
    largest = max(4 * average // width * width, smallest)
    bits = max(round(np.log2(average / width)), 2)
    masks = [((1 << n) - 1) << (64 - n) for n in (bits + 1, bits - 1)]
    return smallest, largest, np.uint64(masks[0]), np.uint64(masks[1])


@kernel
def _cut(
    data: Any,
    width: Any,
    smallest: Any,
    normal: Any,
    largest: Any,
    harder: Any,
    easier: Any,
    table: Any,
    ends: Any,
) -> Any:
    count = 0
    start = 0
    one = np.uint64(1)
    while data.size - start > smallest:
        stop = min(start + largest, data.size)
        hash = np.uint64(0)
        for at in range(start + smallest - 64, start + smallest):
            hash = (hash << one) + table[data[at]]
        end = start + smallest
        while end < stop:
            mask = harder if end - start < normal else easier
            if hash & mask == 0:
                break
            for at in range(end, end + width):
                hash = (hash << one) + table[data[at]]
            end += width
        ends[count] = end
        count += 1
        start = end
    if start < data.size:
        ends[count] = data.size
        count += 1
    return count


def cut_points_reference(data: NDArray[np.uint8], width: int, average: int) -> NDArray[np.int64]:
    """The same cuts, written plainly."""
    smallest, largest, harder, easier = _limits(width, average)
    hashes = np.zeros(data.size + 1, np.uint64)  # of the 64 bytes before each position
    words = gear_table()[data]
    for age in range(min(WINDOW, data.size)):
        hashes[age + 1 :] += words[: data.size - age] << np.uint64(age)
    ends, start = [], 0
    while start < data.size:
        end = min(start + smallest, data.size)
        while end < min(start + largest, data.size):
            if not hashes[end] & (harder if end - start < average else easier):
                break
            end += width
        ends.append(end)
        start = end
    return np.array(ends, np.int64)
