"""tANS kernels against textbook code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from weightcodecs.kernels import ans_reference as reference
from weightcodecs.kernels.ans_code import (
    MAX_TABLE_LOG,
    MIN_TABLE_LOG,
    normalise,
    read_frequencies,
    write_frequencies,
)
from weightcodecs.kernels.ans_decode import decode_ans, several_table, single_table
from weightcodecs.kernels.ans_encode import WORTH_LEAPS, encode_ans
from weightcodecs.kernels.code_table import MAX_TABLE_BYTES
from weightcodecs.kernels.huffman_reference import quarters

counts_with_two_symbols = hnp.arrays(
    np.uint32, 256, elements=st.sampled_from([0, 0, 0, 1, 2, 3, 10, 500, 2**20]), fill=st.just(0)
).filter(lambda counts: np.count_nonzero(counts) >= 2)


@settings(max_examples=150, deadline=None)
@given(counts_with_two_symbols)
def test_frequencies_are_complete_and_come_back(counts: NDArray[np.uint32]) -> None:
    frequencies = np.empty(256, np.int64)
    log, bits = normalise(counts, int(counts.sum()), frequencies)
    assert MIN_TABLE_LOG <= log <= MAX_TABLE_LOG
    assert frequencies.sum() == 1 << log
    np.testing.assert_array_equal(frequencies > 0, counts > 0)
    share = counts[counts > 0] / counts.sum()
    assert bits >= -float(np.sum(counts[counts > 0] * np.log2(share))) * (1 - 1e-9)
    table = np.zeros(MAX_TABLE_BYTES + 8, np.uint8)
    size = write_frequencies(frequencies, table)
    table[size:] = 0
    decoded = np.empty(256, np.int64)
    assert read_frequencies(table, decoded) == (log, size)
    np.testing.assert_array_equal(decoded, frequencies)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=0, max_size=MAX_TABLE_BYTES))
def test_arbitrary_frequency_tables_are_read_or_refused(content: bytes) -> None:
    table = np.zeros(MAX_TABLE_BYTES + 8, np.uint8)
    table[: len(content)] = np.frombuffer(content, np.uint8)
    frequencies = np.empty(256, np.int64)
    log, _ = read_frequencies(table, frequencies)
    assert log == -1 or frequencies.sum() == 1 << log


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("one_by_one", [True, False])
def test_streams_match_the_reference(seed: int, one_by_one: bool) -> None:
    random = np.random.default_rng(seed)
    size, share = int(random.integers(300, 3000)), random.uniform(0.1, 0.98)
    if seed >= 10:  # four equal symbols at once
        size, share = WORTH_LEAPS + seed, 0.97
    plane = np.minimum(random.geometric(share, size), 255).astype(np.uint8)
    plane[0] = 255
    plane.flags.writeable = False
    frequencies = np.empty(256, np.int64)
    log, _ = normalise(np.bincount(plane, minlength=256), size, frequencies)
    stream = np.full(2 * size + 64, 0xEE, np.uint8)
    sizes = np.empty(4, np.int64)
    total = encode_ans(plane, 0, size, frequencies, log, stream, 16, 2 * size, sizes)
    pieces = quarters(plane.tobytes())
    expected = [reference.encode_stream(piece, frequencies.tolist()) for piece in pieces]
    assert sizes.tolist() == [len(piece) for piece in expected]
    assert stream.tobytes() == b"\xee" * 16 + b"".join(expected) + b"\xee" * (2 * size + 48 - total)
    decoded = [
        reference.decode_stream(s, frequencies.tolist(), len(p))
        for s, p in zip(expected, pieces, strict=True)
    ]
    assert decoded == pieces

    bounds = 16 + np.concatenate([[0], np.cumsum(sizes)])
    single = np.empty(1 << log, np.uint64)
    single_table(frequencies, log, single)
    several = several_table(single)
    out = np.full(size + 64, 0xEE, np.uint8)
    assert decode_ans(stream, bounds, single, several, one_by_one, log, out, 32, size)
    np.testing.assert_array_equal(out[32 : 32 + size], plane)
    assert (out[:32] == 0xEE).all()
    assert (out[32 + size :] == 0xEE).all()


def test_nothing_is_written_where_there_is_no_room() -> None:
    plane = np.arange(256, dtype=np.uint8).repeat(4)
    plane.flags.writeable = False
    frequencies = np.full(256, 2, np.int64)
    stream = np.full(2048, 0xEE, np.uint8)
    total = encode_ans(plane, 0, plane.size, frequencies, 9, stream, 0, 1000, np.empty(4, np.int64))
    assert total > 1000
    assert (stream == 0xEE).all()
