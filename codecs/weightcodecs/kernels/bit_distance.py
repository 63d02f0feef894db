"""Bits in which two runs of bit patterns differ: per block, per position, and which bits are set.

The bit distance of two models is the mean Hamming distance of the bit patterns of their weights (Wang et al.,
ZipLLM, 2025, as a concept; the sampling and the variances are ours).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import intrinsic as _intrinsic
from numpy.typing import NDArray

from .jit import kernel
from .unaligned import load64

__all__ = [
    "block_distances",
    "count_bits",
    "differing_bits_reference",
    "masked_distances",
    "repeated",
    "set_moments",
]

intrinsic: Any = _intrinsic  # what it makes of a function takes one argument less


@intrinsic
def _popcount(typing_context: Any, word: Any) -> Any:
    """Return the number of ones in an unsigned integer, in its own type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


@kernel
def _block_bits(a: Any, b: Any, ends: Any, width: Any, bits: Any) -> None:
    """See `block_distances`; a and b are uint8 (n · width,), `bits` float64 (k,): sums."""
    size = min(a.size, b.size)
    at = 0
    for block in range(ends.size):
        end = ends[block] * width
        found = np.int64(0)
        while at + 8 <= end:
            found += np.int64(_popcount(load64(a, at) ^ load64(b, at)))
            at += 8
        if at < end and at + 8 <= size:
            mask = (np.uint64(1) << np.uint64(8 * (end - at))) - np.uint64(1)
            found += np.int64(_popcount((load64(a, at) ^ load64(b, at)) & mask))
        else:
            for tail in range(at, end):
                found += np.int64(_popcount(a[tail] ^ b[tail]))
        at = end
        bits[block] = found


def block_distances(a: NDArray[Any], b: NDArray[Any], ends: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Set `out` (k,) to the number of differing bits of each block of patterns.

    Args:
        a, b: unsigned patterns (n,) of one type, contiguous.
        ends: int64 (k,): where each block ends; the first starts at 0, none is empty, the last ends by n.
        out: float64 (k,), overwritten.
    """
    _block_bits(a.view(np.uint8), b.view(np.uint8), ends, a.dtype.itemsize, out)


@njit(inline="always")
def _tail(patterns, at, end):  # type: ignore[no-untyped-def]
    word = np.uint64(0)
    for byte in range(end - at):
        word |= np.uint64(patterns[at + byte]) << np.uint64(8 * byte)
    return word


@kernel
def _masked_bits(a: Any, b: Any, ends: Any, masks: Any, bits: Any) -> None:
    """See `masked_distances`; a and b are uint8, `ends` in bytes, `bits` float64 (t,)."""
    at = 0
    for run in range(ends.size):
        end, mask = ends[run], masks[run]
        found = np.int64(0)
        while at + 8 <= end:
            found += np.int64(_popcount((load64(a, at) ^ load64(b, at)) & mask))
            at += 8
        if at < end:
            found += np.int64(_popcount((_tail(a, at, end) ^ _tail(b, at, end)) & mask))
        at = end
        bits[run] = found


def masked_distances(
    a: NDArray[Any], b: NDArray[Any], ends: NDArray[np.int64], masks: NDArray[np.uint64], out: NDArray[Any]
) -> None:
    """Set `out` (t,) to the number of bits inside of a mask in which runs of patterns differ.

    Args:
        a, b: unsigned patterns (n,) of one type, contiguous.
        ends: int64 (t,): where each run ends; the first starts at 0, the last ends by n.
        masks: uint64 (t,): of each run, repeated over the whole word (see `repeated`).
        out: float64 (t,), overwritten.
    """
    _masked_bits(a.view(np.uint8), b.view(np.uint8), ends * a.dtype.itemsize, masks, out)


def repeated(mask: int, bits: int) -> int:
    """Return a mask of one pattern of `bits` bits, side by side in 64 bits."""
    return sum(mask << at for at in range(0, 64, bits))


@kernel
def set_moments(bits: Any, lengths: Any, first_blocks: Any, means: Any, variances: Any) -> None:
    """Set the mean of each tensor's blocks, and the variance of that mean by successive differences.

    Args:
        bits: float64 (k,), of `block_distances`, blocks in the order of their positions.
        lengths: float64 (k,), patterns in each block.
        first_blocks: int64 (t + 1,): the blocks of tensor j are [first_blocks[j], first_blocks[j + 1]).
        means, variances: float64 (t,), overwritten. A tensor of one block has variance 0.
    """
    for tensor in range(means.size):
        start, end = first_blocks[tensor], first_blocks[tensor + 1]
        total, weight, squares, before = 0.0, 0.0, 0.0, 0.0
        for block in range(start, end):
            total += bits[block]
            weight += lengths[block]
            distance = bits[block] / lengths[block]
            if block > start:
                squares += (distance - before) * (distance - before)
            before = distance
        count = end - start
        means[tensor] = total / weight
        variances[tensor] = squares / (2.0 * (count - 1)) / count if count > 1 else 0.0


@njit(inline="always")
def _add(ones, x, y):  # type: ignore[no-untyped-def]
    """Add three words bit by bit: (carries, sums)."""
    half = ones ^ x
    return (ones & x) | (half & y), half ^ y


@kernel
def _count_bits(patterns: Any, firsts: Any, masks: Any, counts: Any) -> None:
    """See `count_bits`; patterns are uint8, `firsts` in bytes, `masks` uint64 (bits,)."""
    for tensor in range(firsts.size - 1):
        at, end = firsts[tensor], firsts[tensor + 1]
        ones = twos = fours = np.uint64(0)
        while at + 64 <= end:
            carry, ones = _add(ones, load64(patterns, at), load64(patterns, at + 8))
            other, ones = _add(ones, load64(patterns, at + 16), load64(patterns, at + 24))
            four, twos = _add(twos, carry, other)
            carry, ones = _add(ones, load64(patterns, at + 32), load64(patterns, at + 40))
            other, ones = _add(ones, load64(patterns, at + 48), load64(patterns, at + 56))
            more, twos = _add(twos, carry, other)
            eights, fours = _add(fours, four, more)
            for bit in range(masks.size):
                counts[tensor, bit] += 8 * np.int64(_popcount(eights & masks[bit]))
            at += 64
        for bit in range(masks.size):
            mask = masks[bit]
            counts[tensor, bit] += 4 * np.int64(_popcount(fours & mask)) + 2 * np.int64(
                _popcount(twos & mask)
            )
            counts[tensor, bit] += np.int64(_popcount(ones & mask))
        while at < end:
            word = load64(patterns, at) if at + 8 <= end else _tail(patterns, at, end)
            for bit in range(masks.size):
                counts[tensor, bit] += np.int64(_popcount(word & masks[bit]))
            at += 8


def count_bits(patterns: NDArray[Any], firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """Add up how often each bit position is set in each of several runs of patterns.

    Eight words are added bit by bit into one that carries eights, and only its bits are counted (Harley and
    Seal's population count, each position by itself).

    Args:
        patterns: unsigned (n,), contiguous.
        firsts: int64 (t + 1,), ascending: run j is [firsts[j], firsts[j + 1]), inside the patterns.
        counts: int64 (t, bits), lowest bit first, added to.
    """
    bits = patterns.dtype.itemsize * 8
    masks = np.array([repeated(1 << bit, bits) for bit in range(bits)], np.uint64)
    _count_bits(patterns.view(np.uint8), firsts * patterns.dtype.itemsize, masks, counts)


def differing_bits_reference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """Differing bits of each pair of patterns (n,), in NumPy. For tests."""
    return np.asarray(np.bitwise_count(a ^ b), np.int64)
