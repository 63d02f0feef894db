"""Coding two symbols at a time gives the same counts and the same streams."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from weightcodecs.kernels.histogram import histogram_reference
from weightcodecs.kernels.huffman_code import canonical_codes, code_lengths
from weightcodecs.kernels.huffman_encode import encode_streams, encoding_table, stream_sizes
from weightcodecs.kernels.huffman_pairs import (
    MAX_BYTES,
    MIN_BYTES,
    encode_pairs,
    pair_histograms,
    pair_numbers,
)

Plane = NDArray[np.uint8]


def skewed(window: int, size: int, zeros: float, seed: int) -> Plane:
    random = np.random.default_rng(seed)
    symbols = (window + np.minimum(random.geometric(0.3, size), 63)).astype(np.uint8)
    plane: Plane = np.where(random.random(size) < zeros, 0, symbols).astype(np.uint8)
    plane.flags.writeable = False
    return plane


def window_of(plane: Plane, start: int, size: int) -> tuple[int, NDArray[np.uint64]]:
    words = np.empty(size // 8, np.uint64)
    return int(pair_numbers(plane, start, size, words)), words


@pytest.mark.parametrize("window", [0, 64, 128, 192])
@pytest.mark.parametrize("zeros", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("size", [MIN_BYTES, MIN_BYTES + 32, 1 << 17])
def test_counts_and_streams_are_the_same(window: int, zeros: float, size: int) -> None:
    plane = skewed(window, size + 5, zeros, window + size)
    found, words = window_of(plane, 5, size)
    assert found == window
    histograms = np.empty((4, 256), np.uint32)
    pair_histograms(words, size, window, histograms)
    np.testing.assert_array_equal(histograms, histogram_reference(plane[5:]))
    lengths, codes = np.empty(256, np.uint8), np.empty(256, np.uint64)
    entries, sizes = np.empty(256, np.uint64), np.empty(4, np.int64)
    code_lengths(histograms.sum(axis=0, dtype=np.int64), lengths)
    canonical_codes(lengths, codes)
    encoding_table(lengths, codes, entries)
    total = stream_sizes(histograms, lengths, sizes)
    by_one, by_two = np.full((2, total + 16), 0xEE, np.uint8)
    encode_streams(plane, 5, size, entries, by_one, 3, sizes)
    encode_pairs(plane, 5, size, words, window, entries, by_two, 3, sizes)
    np.testing.assert_array_equal(by_one, by_two)


def test_other_planes_have_no_window() -> None:
    plane = skewed(64, 1 << 17, 0.01, 1).copy()
    assert window_of(plane, 0, plane.size)[0] == 64
    for place in (0, 4095, 4096, 100_000, plane.size - 1):
        for symbol in (1, 63, 64, 128, 255):
            changed = plane.copy()
            changed[place] = symbol
            assert window_of(changed, 0, plane.size)[0] == -1
    assert window_of(plane, 0, plane.size - 8)[0] == -1
    assert window_of(plane, 0, MIN_BYTES - 32)[0] == -1
    assert window_of(np.zeros(2 * MAX_BYTES, np.uint8), 0, MAX_BYTES + 32)[0] == -1
