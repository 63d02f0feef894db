"""Huffman kernels against textbook code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from weightcodecs.kernels import huffman_reference as reference
from weightcodecs.kernels.code_table import MAX_TABLE_BYTES, read_table, write_table
from weightcodecs.kernels.histogram import histogram_reference, looks_incompressible, segment_histograms
from weightcodecs.kernels.huffman_code import (
    MAX_CODE_BITS,
    canonical_codes,
    code_lengths,
    optimal_total_bits_reference,
)
from weightcodecs.kernels.huffman_encode import encode_streams, encoding_table, stream_sizes
from weightcodecs.kernels.plane_chunk import ALLOW_HUFFMAN, HUFFMAN, encode_chunk

Plane = NDArray[np.uint8]


def lengths_of(counts: NDArray[np.integer]) -> NDArray[np.uint8]:
    lengths = np.full(256, 99, np.uint8)
    code_lengths(counts, lengths)
    return lengths


def test_histogram(plane: Plane) -> None:
    histograms = np.empty((4, 256), np.uint32)
    segment_histograms(plane, 0, plane.size, histograms)
    np.testing.assert_array_equal(histograms, histogram_reference(plane))
    if plane.size > 9:
        segment_histograms(plane, 3, plane.size - 7, histograms)
        np.testing.assert_array_equal(histograms, histogram_reference(plane[3:-4]))


def test_only_noise_looks_incompressible() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, 100_000, np.uint8)
    assert looks_incompressible(noise, 0, noise.size)
    assert not looks_incompressible(noise, 0, 16_383)
    noise[random.random(noise.size) < 0.1] = 0
    assert not looks_incompressible(noise, 0, noise.size)


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(np.uint32, 256, elements=st.sampled_from([0, 0, 0, 1, 2, 3, 10, 500, 2**20]), fill=st.just(0))
)
def test_code_lengths_are_optimal(counts: NDArray[np.uint32]) -> None:
    lengths = lengths_of(counts)
    present = np.count_nonzero(counts)
    if present < 2:
        assert not lengths.any()
        return
    assert lengths.max() <= MAX_CODE_BITS
    np.testing.assert_array_equal(lengths > 0, counts > 0)
    assert int((lengths * counts.astype(np.int64)).sum()) == optimal_total_bits_reference(counts)
    codes = np.empty(256, np.uint64)
    assert canonical_codes(lengths, codes) == 1 << MAX_CODE_BITS
    expected = reference.canonical_code(lengths)
    assert {s: (int(codes[s]), int(lengths[s])) for s in expected} == expected


def test_fibonacci_counts_reach_the_limit() -> None:
    counts = np.zeros(256, np.uint32)
    counts[:2] = 1
    for symbol in range(2, 40):
        counts[symbol] = counts[symbol - 1] + counts[symbol - 2]
    assert lengths_of(counts).max() == MAX_CODE_BITS
    assert int((lengths_of(counts) * counts.astype(np.int64)).sum()) == optimal_total_bits_reference(counts)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.uint8, 256, elements=st.integers(0, 15), fill=st.just(0)), st.integers(0, 255))
def test_code_table_round_trip(numbers: NDArray[np.uint8], symbol: int) -> None:
    numbers[symbol] |= 1
    table = np.full(MAX_TABLE_BYTES + 8, 0xEE, np.uint8)
    position = write_table(numbers, table)
    assert (table[(position + 7) // 8 + 8 :] == 0xEE).all()
    table[(position + 7) // 8 :] = 0
    decoded = np.full(256, 77, np.uint8)
    assert read_table(table, decoded) == position
    np.testing.assert_array_equal(decoded, numbers)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=0, max_size=MAX_TABLE_BYTES))
def test_arbitrary_code_tables_are_read_or_refused(content: bytes) -> None:
    table = np.zeros(MAX_TABLE_BYTES + 8, np.uint8)
    table[: len(content)] = np.frombuffer(content, np.uint8)
    numbers = np.empty(256, np.uint8)
    position = read_table(table, numbers)
    assert position == -1 or (16 < position <= 8 * MAX_TABLE_BYTES and 0 < numbers.max() <= 15)


@pytest.mark.parametrize("seed", range(8))
def test_streams_match_the_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(300, 3000))
    plane = np.minimum(random.geometric(random.uniform(0.05, 0.7), size), 255).astype(np.uint8)
    plane.flags.writeable = False
    histograms = histogram_reference(plane)
    lengths = lengths_of(histograms.sum(axis=0))
    codes, entries, sizes = np.empty(256, np.uint64), np.empty(256, np.uint64), np.empty(4, np.int64)
    canonical_codes(lengths, codes)
    encoding_table(lengths, codes, entries)
    stream = np.full(stream_sizes(histograms, lengths, sizes) + 16, 0xEE, np.uint8)
    encode_streams(plane, 0, size, entries, stream, 0, sizes)
    code = reference.canonical_code(lengths)
    pieces = reference.quarters(plane.tobytes())
    expected = [reference.encode_stream(piece, code) for piece in pieces]
    assert sizes.tolist() == [len(piece) for piece in expected]
    assert stream.tobytes() == b"".join(expected) + b"\xee" * 16
    assert [reference.decode_stream(s, code, len(p)) for s, p in zip(expected, pieces, strict=True)] == pieces


def test_a_gaussian_exponent_plane_needs_few_header_bytes() -> None:
    values = np.random.default_rng(1).standard_normal(1 << 17).astype(np.float32) * np.float32(0.02)
    exponents = (values.view(np.uint32) >> 23).astype(np.uint8)
    exponents.flags.writeable = False
    lengths = lengths_of(np.bincount(exponents, minlength=256))
    room = np.empty(exponents.size + 1, np.uint8)
    coded = encode_chunk(exponents, 0, exponents.size, room, 0, ALLOW_HUFFMAN)
    payload = int(lengths[exponents].sum()) / 8
    assert room[0] == HUFFMAN
    assert coded - payload < 32
