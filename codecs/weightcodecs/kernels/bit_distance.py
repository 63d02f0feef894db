"""Bits in which two runs of bit patterns differ: per block, per position, and which bits are set.

The bit distance of two models is the mean Hamming distance of the bit patterns of their weights (Wang et al.,
ZipLLM, 2025, as a concept; the sampling and the variances are ours).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import intrinsic as _intrinsic
from numpy.typing import NDArray

from .jit import kernel
from .unaligned import load64

__all__ = ["block_distances", "count_positions", "differing_bits_reference", "set_moments"]

intrinsic: Any = _intrinsic  # what it makes of a function takes one argument less
_CHUNK = 8192  # bytes of each model that are in the L1 cache together


@intrinsic
def _popcount(typing_context: Any, word: Any) -> Any:
    """Return the number of ones in an unsigned integer, in its own type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


@kernel
def block_distances(a: Any, b: Any, ends: Any, distances: Any) -> None:
    """Set `distances` (k,) to the mean number of differing bits of each block of patterns.

    Args:
        a, b: unsigned patterns (n,) of one type.
        ends: int64 (k,): where each block ends; the first starts at 0, none is empty, the last ends by n.
        distances: float64 (k,), overwritten.
    """
    start = 0
    for block in range(ends.size):
        end = ends[block]
        bits = np.int64(0)
        for i in range(start, end):
            bits += np.int64(_popcount(a[i] ^ b[i]))
        distances[block] = bits / (end - start)
        start = end


@kernel
def set_moments(distances: Any, lengths: Any, first_blocks: Any, means: Any, variances: Any) -> None:
    """Set the mean of each tensor's blocks, and the variance of that mean by successive differences.

    Args:
        distances: float64 (k,), of `block_distances`, blocks in the order of their positions.
        lengths: float64 (k,), patterns in each block.
        first_blocks: int64 (t + 1,): the blocks of tensor j are [first_blocks[j], first_blocks[j + 1]).
        means, variances: float64 (t,), overwritten. A tensor of one block has variance 0.
    """
    for tensor in range(means.size):
        start, end = first_blocks[tensor], first_blocks[tensor + 1]
        total, weight, squares = 0.0, 0.0, 0.0
        for block in range(start, end):
            total += distances[block] * lengths[block]
            weight += lengths[block]
            if block > start:
                step = distances[block] - distances[block - 1]
                squares += step * step
        count = end - start
        means[tensor] = total / weight
        variances[tensor] = squares / (2.0 * (count - 1)) / count if count > 1 else 0.0


@kernel
def _count_positions(a: Any, b: Any, masks: Any, counts: Any) -> None:
    """See `count_positions`; a and b are uint8 (8n,), masks uint64 (bits,)."""
    for start in range(0, a.size, _CHUNK):
        end = min(start + _CHUNK, a.size)
        for bit in range(masks.size):
            mask = masks[bit]
            differing, in_a, in_b = np.int64(0), np.int64(0), np.int64(0)
            for at in range(start, end, 8):
                x, y = load64(a, at), load64(b, at)
                differing += np.int64(_popcount((x ^ y) & mask))
                in_a += np.int64(_popcount(x & mask))
                in_b += np.int64(_popcount(y & mask))
            counts[0, bit] += differing
            counts[1, bit] += in_a
            counts[2, bit] += in_b


def count_positions(a: NDArray[Any], b: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Add up, for each bit position, where patterns differ, where it is set in a, and where in b.

    Eight bytes are looked at at once, one position after the other, while they are in the L1 cache.

    Args:
        a, b: unsigned patterns (n,) of one type, contiguous.
        counts: int64 (3, bits), lowest bit first, added to.
    """
    bits = a.dtype.itemsize * 8
    lowest = sum(1 << at for at in range(0, 64, bits))
    masks = np.array([lowest << bit for bit in range(bits)], np.uint64)
    whole = a.size // (64 // bits) * (64 // bits)
    ends = np.zeros((2, 8), np.uint8)  # what is left over, with zeros behind, which count for nothing
    for end, values in zip(ends, (a, b), strict=True):
        left = values[whole:].view(np.uint8)
        end[: left.size] = left
    _count_positions(a[:whole].view(np.uint8), b[:whole].view(np.uint8), masks, counts)
    _count_positions(ends[0], ends[1], masks, counts)


def differing_bits_reference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """Differing bits of each pair of patterns (n,), in NumPy. For tests."""
    return np.asarray(np.bitwise_count(a ^ b), np.int64)
