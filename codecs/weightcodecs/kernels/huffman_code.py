"""Optimal length-limited Huffman codes: code lengths from counts, canonical codes from code lengths.

Lengths come from package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited
Huffman codes", J. ACM 37(3), 1990), so no code within the limit is shorter. The lists of the algorithm are
kept as one flag per item (leaf or package): walking them back from the root gives the lengths.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from weightcodecs.kernels.jit import kernel

MAX_CODE_BITS = 11
_HUGE = np.int64(1) << 62


@kernel
def _sort_by_count(counts, symbols):  # type: ignore[no-untyped-def]
    """The symbols that occur into ``symbols``, rarest first, equal counts by symbol; how many they are."""
    present = 0
    keys = np.empty(256, np.int64)
    for symbol in range(256):
        if counts[symbol] > 0:
            keys[present] = (np.int64(counts[symbol]) << 8) | symbol
            present += 1
    for gap in (109, 41, 19, 5, 1):  # Shell's sort: little to compile, and fast enough for 256 keys
        for place in range(gap, present):
            key = keys[place]
            at = place
            while at >= gap and keys[at - gap] > key:
                keys[at] = keys[at - gap]
                at -= gap
            keys[at] = key
    for rank in range(present):
        symbols[rank] = keys[rank] & 255
    return present


@kernel
def code_lengths(counts, lengths):  # type: ignore[no-untyped-def]
    """Optimal code lengths of at most ``MAX_CODE_BITS`` bits.

    Args:
        counts: integers (256,), how often each symbol occurs; they sum to less than 2**32.
        lengths: uint8 (256,), overwritten; 0 for a symbol that does not occur.

    Returns:
        Number of symbols that occur. With fewer than two there is no code, and ``lengths`` is all 0.
    """
    symbols = np.empty(256, np.int64)
    lengths[:] = 0
    present = _sort_by_count(counts, symbols)
    if present < 2:
        return present
    items = 2 * present
    is_leaf = np.empty((MAX_CODE_BITS, items), np.uint8)
    weights = np.empty(present + 1, np.int64)
    for rank in range(present):
        weights[rank] = np.int64(counts[symbols[rank]])
    weights[present] = _HUGE
    packages = np.empty(present + 1, np.int64)
    packages[0] = _HUGE
    merged = np.empty(items, np.int64)
    for level in range(MAX_CODE_BITS):
        leaf = 0
        package = 0
        item = 0
        # Leaves first on ties, so that a list is the same whoever builds it.
        while weights[leaf] < _HUGE or packages[package] < _HUGE:
            take_leaf = weights[leaf] <= packages[package]
            is_leaf[level, item] = take_leaf
            merged[item] = weights[leaf] if take_leaf else packages[package]
            leaf += take_leaf
            package += not take_leaf
            item += 1
        for pair in range(item // 2):
            packages[pair] = merged[2 * pair] + merged[2 * pair + 1]
        packages[item // 2] = _HUGE
    selected = 2 * present - 2
    for level in range(MAX_CODE_BITS - 1, -1, -1):
        leaves = 0
        for item in range(selected):
            leaves += is_leaf[level, item]
        for rank in range(leaves):
            lengths[symbols[rank]] += np.uint8(1)
        selected = 2 * (selected - leaves)
    return present


@kernel
def canonical_codes(lengths, codes):  # type: ignore[no-untyped-def]
    """Canonical codes: shorter codes first, equal lengths in the order of the symbols.

    Args:
        lengths: uint8 (256,), each at most ``MAX_CODE_BITS``; 0 means no code.
        codes: uint64 (256,), overwritten: the code in its lowest ``lengths[symbol]`` bits.

    Returns:
        The share of the code space in use, in units of ``2**-MAX_CODE_BITS``; a complete code uses
        ``2**MAX_CODE_BITS`` of it, and only that is decodable.
    """
    of_length = np.zeros(MAX_CODE_BITS + 1, np.int64)
    for symbol in range(256):
        of_length[lengths[symbol]] += 1
    of_length[0] = 0
    next_code = np.zeros(MAX_CODE_BITS + 1, np.int64)
    used = 0
    for length in range(1, MAX_CODE_BITS + 1):
        next_code[length] = used >> (MAX_CODE_BITS - length)
        used += of_length[length] << (MAX_CODE_BITS - length)
    for symbol in range(256):
        length = lengths[symbol]
        if length > 0:
            codes[symbol] = np.uint64(next_code[length])
            next_code[length] += 1
        else:
            codes[symbol] = np.uint64(0)
    return used


def optimal_total_bits_reference(counts: NDArray[np.integer]) -> int:
    """Coded size in bits by textbook package-merge over explicit lists. For tests."""
    leaves = sorted((int(count), 1) for count in counts if count > 0)
    if len(leaves) < 2:
        return 0
    level: list[tuple[int, int]] = []
    for _ in range(MAX_CODE_BITS):
        merged = list(heapq.merge(leaves, level))
        level = [(a[0] + b[0], 0) for a, b in zip(merged[::2], merged[1::2], strict=False)]
    return sum(weight for weight, _ in level[: len(leaves) - 1])
