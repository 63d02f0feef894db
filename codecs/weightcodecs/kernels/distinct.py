"""The distinct bit patterns of a stream of values, and for each value which of them it is.

8- and 16-bit values by a table of all patterns; 32-bit values by sorting words of (pattern, position), which
sort at memory speed and need no second look-up; 64-bit values by NumPy. Source: ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel

__all__ = ["distinct_patterns", "distinct_patterns_reference"]


def distinct_patterns(bits: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """Return the distinct values of `bits`, ascending, and the rank of each element among them.

    Args:
        bits: unsigned integers (n,), n below 2^32.

    Returns:
        (distinct, ranks): dtype of `bits` (k,), and uint32 (n,) with ``distinct[ranks] == bits``.
    """
    if bits.size >= 1 << 32:
        raise ValueError("distinct_patterns: at most 2^32 - 1 values at once")
    if bits.itemsize <= 2:
        present = np.zeros(1 << (8 * bits.itemsize), np.bool_)
        present[bits] = True
        rank = np.cumsum(present, dtype=np.uint32) - np.uint32(1)
        return np.flatnonzero(present).astype(bits.dtype), rank[bits]
    if bits.itemsize == 4:
        words = bits.astype(np.uint64)
        words <<= np.uint64(32)
        words |= np.arange(bits.size, dtype=np.uint32)
        words.sort()
        ranks = np.empty(bits.size, np.uint32)
        distinct = np.empty(bits.size, np.uint32)
        count = _rank(words, ranks, distinct)
        del words
        return distinct[:count].copy(), ranks
    return distinct_patterns_reference(bits)


@kernel
def _rank(words: Any, ranks: Any, distinct: Any) -> Any:
    count = 0
    for word in words:
        pattern = np.uint32(word >> np.uint64(32))
        if count == 0 or distinct[count - 1] != pattern:
            distinct[count] = pattern
            count += 1
        ranks[np.int64(word & np.uint64(0xFFFFFFFF))] = count - 1
    return count


def distinct_patterns_reference(bits: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """The same by NumPy."""
    distinct, ranks = np.unique(bits, return_inverse=True)
    return distinct, ranks.astype(np.uint32)
