"""Kernels that count patterns: halves of words, bytes of words, and the length of a Huffman code.

Each counter stands in two tables, used in turn: one that was stored a moment ago would make the next load
wait for it.
"""

# Numba types the bodies of compiled functions, not mypy.
# mypy: disable-error-code="call-arg, unreachable, assignment, arg-type, return-value, no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightcodecs.kernels.jit import kernel

__all__ = ["HIGH", "count_bytes", "count_highest", "count_zeros", "huffman_total_bits"]

Array = NDArray[Any]

HIGH = 16
"""The highest bits of a word that are counted as one symbol."""
_BLOCK = 4096  # words that stay in the first-level cache while their bytes are counted one after the other


@kernel
def _highest(words: Array, shift: Any, counts: Array) -> None:
    at = np.int64(0)
    while at + 2 <= words.size:
        counts[0, words[at] >> shift] += np.uint32(1)
        counts[1, words[at + 1] >> shift] += np.uint32(1)
        at += 2
    if at < words.size:
        counts[0, words[at] >> shift] += np.uint32(1)


def count_highest(words: Array, counts: NDArray[np.uint32]) -> None:
    """Count the highest 16 bits (all, if there are fewer) of unsigned words (n,).

    `counts` is uint32 (2, 2^16 or 2^8), added to; it must not have counted more than 2^32 words.
    """
    _highest(words, words.dtype.type(max(8 * words.itemsize - HIGH, 0)), counts)


@kernel
def _bytes(words: Array, counts: Array) -> None:
    for start in range(0, words.size, _BLOCK):
        stop = min(start + _BLOCK, words.size)
        for plane in range(counts.shape[1]):
            shift = np.uint64(8 * plane)
            for i in range(start, stop):
                counts[i & 1, plane, (np.uint64(words[i]) >> shift) & np.uint64(0xFF)] += np.uint32(1)


def count_bytes(words: Array, counts: NDArray[np.uint32]) -> None:
    """Count the lowest bytes of unsigned words (n,), each by itself.

    `counts` is uint32 (2, bytes, 256), added to; it must not have counted more than 2^32 words.
    """
    _bytes(words, counts)


@kernel
def _zeros(words: Array, magnitude: Any) -> int:
    found = np.int64(0)
    for i in range(words.size):
        found += (words[i] & magnitude) == 0
    return found


def count_zeros(words: Array) -> int:
    """Count unsigned patterns (n,) of floats that are zeros, of either sign."""
    magnitude = (1 << (8 * words.itemsize - 1)) - 1
    return int(_zeros(words, words.dtype.type(magnitude)))


@kernel
def _huffman(ascending: Array, merged: Array) -> int:
    """Total length of a Huffman code by two queues (van Leeuwen 1976): leaves sorted, merged in order."""
    leaf, package, total = 0, 0, np.int64(0)
    for made in range(ascending.size - 1):
        weight = np.int64(0)
        for _ in range(2):
            if package >= made or (leaf < ascending.size and ascending[leaf] <= merged[package]):
                weight += ascending[leaf]
                leaf += 1
            else:
                weight += merged[package]
                package += 1
        merged[made] = weight
        total += weight
    return total


def huffman_total_bits(counts: NDArray[np.int64]) -> int:
    """Return the bits that an optimal prefix code, of any length, takes for symbols that occur so often.

    The code table is not counted. A lone symbol takes none: coders say it once.
    """
    ascending = np.sort(counts[counts > 0])
    return int(_huffman(ascending, np.empty(max(ascending.size - 1, 0), np.int64)))
