"""Distance Encoding: the paper's regimes, its bit layout, and that it comes back."""

from __future__ import annotations

import io
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import zstandard
from corpus import bits
from numpy.typing import NDArray

import weightcodecs
from weightcodecs import CorruptBlobError, get_codec
from weightcodecs.blob import parse_blob, seal
from weightcodecs.distance import _encode_paper, _table
from weightcodecs.kernels.repeats import distances_reference, find_repeats

Array = NDArray[Any]
PAPER, FAST = get_codec("distance", variant="paper"), get_codec("distance")


def regime(name: str, count: int = 300_000) -> Array:
    gaussian = np.random.default_rng(0).standard_normal(count) * 0.02
    match name:
        case "gaussian":
            return gaussian.astype(np.float32)
        case "bfloat16 values":
            return gaussian.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
        case "8-bit grid":
            step = np.abs(gaussian).max() / 127
            return (np.rint(gaussian / step) * step).astype(np.float32)
        case "signs":
            return np.sign(gaussian).astype(np.float32)
        case _:
            return gaussian.astype(np.float16)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("gaussian", 0.97), ("bfloat16 values", 1.97), ("8-bit grid", 2.52), ("signs", 4.19), ("float16", 0.85)],
)
def test_regimes(name: str, ratio: float) -> None:
    """The ratios that the release was measured at on 300,000 values, within its own grid's choice."""
    values = regime(name)
    patterns = values.view(f"u{values.itemsize}")
    patterns.flags.writeable = False
    assert values.nbytes / _encode_paper(patterns).nbytes == pytest.approx(ratio, rel=0.02)
    for codec in (PAPER, FAST):
        blob = codec.encode(values)
        assert (bits(codec.decode(blob)) == bits(values)).all()
    assert weightcodecs.inspect(PAPER.encode(values)).raw == (ratio < 1)
    assert len(FAST.encode(values)) <= len(PAPER.encode(values))


def test_layout_of_the_paper() -> None:
    """New values in front, then bits from the top of 64-bit words, the rest as characters."""
    patterns = np.array([7, 9, 7, 7, 9, 5, 7] + [7] * 12, np.uint32)
    found = distances_reference(patterns)
    text = "".join("0" if d == 0 else f"1{d.bit_length():05b}{d:b}" for d in found)
    full = len(text) // 64 * 64
    words = b"".join(int(text[i : i + 64], 2).to_bytes(8, "little") for i in range(0, full, 64))
    expected = np.array([7, 9, 5], "<u4").tobytes() + words + text[full:].encode()
    patterns.flags.writeable = False
    coded = _encode_paper(patterns)
    assert bytes(coded.payload.array) == expected  # type: ignore[union-attr]


@pytest.mark.parametrize("distinct", [1, 3, 200, 5000])
def test_repeats_match_the_reference(distinct: int) -> None:
    patterns = np.random.default_rng(1).integers(0, distinct, 6000).astype(np.uint64) << np.uint64(40)
    patterns.flags.writeable = False
    table, found = _table(patterns.size), np.empty(patterns.size, np.int64)
    half = patterns.size // 2
    used = find_repeats(patterns, 0, half, table, 0, 1 << 40, found)
    find_repeats(patterns, half, patterns.size, table, used, 1 << 40, found[half:])
    assert found.tolist() == distances_reference(patterns)


def test_a_full_table_starts_anew() -> None:
    """A search of bounded memory misses repeats, and never gives a wrong one."""
    patterns = np.tile(np.arange(300, dtype=np.uint32), 4)
    patterns.flags.writeable = False
    found = np.empty(patterns.size, np.int64)
    find_repeats(patterns, 0, patterns.size, np.zeros(64, np.int64), 0, 1 << 40, found)
    reference = np.array(distances_reference(patterns))
    assert ((found == reference) | (found == 0)).all()
    assert (found == 0).sum() > 300


def test_values_are_told_apart_by_bits() -> None:
    values = np.array([0.0, -0.0, np.nan, 0.0, -0.0, np.nan] * 40, np.float32)
    values.view(np.uint32)[5::6] ^= 1  # another NaN
    for codec in (PAPER, FAST):
        blob = codec.encode(values)
        assert not weightcodecs.inspect(blob).raw
        assert (bits(codec.decode(blob)) == bits(values)).all()


def test_a_frame_says_no_more_than_the_array_can_need() -> None:
    """Found by the fuzzer: memory was taken for whatever size the last stage's frame said."""
    blob = get_codec("distance", entropy="zstd").encode(np.arange(1000, dtype=np.float32))
    info = parse_blob(blob)
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    hostile = seal(
        io.BytesIO(frame),
        codec=info.codec, version=info.version, format=info.format, shape=info.shape,
        parameters=info.parameters,
    )  # fmt: skip
    with pytest.raises(CorruptBlobError, match="wrong one"):
        weightcodecs.decode(hostile)
