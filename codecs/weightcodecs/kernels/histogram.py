"""Byte histograms, and a cheap look that tells incompressible planes from others.

A plane of exponents hits the same few counters over and over; a counter that was stored a moment ago makes
the next load wait for it. Eight tables, used in turn, keep eight increments in flight. The tables belong to
the four segments that the Huffman coder codes side by side, so the size of each of its streams is known
before a bit is written. Source: ours; the several tables are folklore (FSE's histogram uses four).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import load64

_BYTE = np.uint64(0xFF)
_ONE = np.uint32(1)
SEGMENTS = 4
_EQUAL_PAIRS = 2.0**-7.75


@njit(inline="always")
def _count_word(word, counts, even, odd):  # type: ignore[no-untyped-def]
    for shift in range(0, 64, 16):
        counts[even + ((word >> np.uint64(shift)) & _BYTE)] += _ONE
        counts[odd + ((word >> np.uint64(shift + 8)) & _BYTE)] += _ONE


@kernel
def segment_histograms(plane, start, size, histograms):  # type: ignore[no-untyped-def]
    """Count the bytes of ``plane[start : start + size]``, one table for each quarter.

    The quarters are ``size // 4`` bytes each; the last one takes what is left over.

    Args:
        plane: uint8 array.
        start, size: int64, a range inside ``plane``; fewer than 2**32 bytes.
        histograms: uint32 (4, 256), overwritten.
    """
    quarter = size // SEGMENTS
    counts = np.zeros(2 * SEGMENTS * 256, np.uint32)
    words = quarter // 8
    for word in range(words):
        at = start + 8 * word
        _count_word(load64(plane, at), counts, np.uint64(0), np.uint64(256))
        _count_word(load64(plane, at + quarter), counts, np.uint64(512), np.uint64(768))
        _count_word(load64(plane, at + 2 * quarter), counts, np.uint64(1024), np.uint64(1280))
        _count_word(load64(plane, at + 3 * quarter), counts, np.uint64(1536), np.uint64(1792))
    for segment in range(SEGMENTS):
        first = start + segment * quarter
        last = first + quarter if segment < SEGMENTS - 1 else start + size
        for at in range(first + 8 * words, last):
            counts[np.uint64(512 * segment) + np.uint64(plane[at])] += _ONE
        for symbol in range(256):
            histograms[segment, symbol] = (
                counts[512 * segment + symbol] + counts[512 * segment + 256 + symbol]
            )


_SAMPLE_BLOCKS = 64
_SAMPLE_BLOCK = 64
_SAMPLED_FROM = 4 * _SAMPLE_BLOCKS * _SAMPLE_BLOCK


@kernel
def looks_incompressible(plane, start, size):  # type: ignore[no-untyped-def]
    """Guess from 4 KiB of ``plane[start : start + size]`` whether order-0 coding would save less than 1/64.

    The chance that two sampled bytes are equal, ``2**-h``, bounds the entropy from below by ``h``; near the
    uniform distribution the entropy is ``8 - (8 - h) / 2``, so ``h >= 7.75`` means at most 1/8 bit of 8 to
    gain. For 4 KiB the estimate's standard deviation is 0.01 bit. Planes under 16 KiB are always False:
    counting them is cheap.
    """
    if size < _SAMPLED_FROM:
        return False
    counts = np.zeros(512, np.uint32)
    step = (size - _SAMPLE_BLOCK) // (_SAMPLE_BLOCKS - 1)
    for block in range(_SAMPLE_BLOCKS):
        at = start + block * step
        for word in range(0, _SAMPLE_BLOCK, 8):
            _count_word(load64(plane, at + word), counts, np.uint64(0), np.uint64(256))
    pairs = 0
    for symbol in range(256):
        count = np.int64(counts[symbol]) + np.int64(counts[256 + symbol])
        pairs += count * (count - 1)
    sampled = _SAMPLE_BLOCKS * _SAMPLE_BLOCK
    return pairs <= _EQUAL_PAIRS * sampled * (sampled - 1)


@kernel
def add_segments(histograms, counts):  # type: ignore[no-untyped-def]
    """Sum the quarters' histograms (uint32 (4, 256)) into ``counts`` (int64 (256,))."""
    for symbol in range(256):
        counts[symbol] = 0
        for segment in range(SEGMENTS):
            counts[symbol] += np.int64(histograms[segment, symbol])


def histogram_reference(plane: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """What ``segment_histograms`` counts, in NumPy: uint32 (4, 256). For tests."""
    quarter = plane.size // SEGMENTS
    pieces = [plane[k * quarter : (k + 1) * quarter] for k in range(SEGMENTS - 1)] + [plane[3 * quarter :]]
    return np.stack([np.bincount(piece, minlength=256).astype(np.uint32) for piece in pieces])
