"""The coder of byte planes: round trips, honest sizes, threads, hostile input."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from weightcodecs.entropy import METHODS, decode_into, decode_plane, encode_bound, encode_into, encode_plane
from weightcodecs.errors import ConfigError, CorruptBlobError

Plane = NDArray[np.uint8]
FILLER = 0xA5


def entropy_bits(plane: Plane) -> float:
    share = np.bincount(plane, minlength=256) / max(plane.size, 1)
    return -float(np.sum(share[share > 0] * np.log2(share[share > 0])))


def round_trip(plane: Plane, **options: object) -> bytes:
    """Code into and decode from buffers with guards on both sides."""
    bound = encode_bound(plane.size, options.get("chunk_bytes", 1 << 17))  # type: ignore[arg-type]
    room = np.full(bound + 64, FILLER, np.uint8)
    before = plane.copy()
    size = encode_into(plane, room[32 : 32 + bound], **options)  # type: ignore[arg-type]
    assert size <= bound
    assert (room[:32] == FILLER).all()
    assert (room[32 + bound :] == FILLER).all()
    np.testing.assert_array_equal(plane, before)
    coded = room[32 : 32 + size].tobytes()
    out = np.full(plane.size + 64, FILLER, np.uint8)
    decode_into(coded, out[32 : 32 + plane.size])
    np.testing.assert_array_equal(out[32 : 32 + plane.size], plane)
    assert (out[:32] == FILLER).all()
    assert (out[32 + plane.size :] == FILLER).all()
    return coded


@pytest.mark.parametrize("method", METHODS)
def test_round_trip(plane: Plane, method: str) -> None:
    round_trip(plane, method=method)


@pytest.mark.parametrize("method", ["huffman", "ans", "rle"])
def test_every_short_length(method: str) -> None:
    random = np.random.default_rng(5)
    skewed = np.minimum(random.geometric(0.6, 301), 255).astype(np.uint8)
    for size in range(301):
        round_trip(skewed[:size], method=method)


@pytest.mark.parametrize("chunk_bytes", [1 << 10, 1 << 12, 1 << 18, 1 << 20])
@pytest.mark.parametrize("method", ["huffman", "ans"])
def test_chunk_sizes(chunk_bytes: int, method: str) -> None:
    random = np.random.default_rng(6)
    round_trip(
        np.minimum(random.geometric(0.3, 700_001), 255).astype(np.uint8),
        method=method,
        chunk_bytes=chunk_bytes,
    )


@settings(max_examples=150, deadline=None)
@given(
    symbols=hnp.arrays(np.uint8, st.integers(1, 40)),
    picks=hnp.arrays(np.uint8, st.integers(0, 3000), elements=st.integers(0, 255), fill=st.just(0)),
    method=st.sampled_from(sorted(METHODS)),
)
def test_drawn_planes(symbols: Plane, picks: Plane, method: str) -> None:
    round_trip(symbols[picks % symbols.size], method=method, chunk_bytes=1024)


def test_planes_of_two_symbols() -> None:
    places = np.random.default_rng(4).random(1 << 14) < 0.01
    for common in (0, 64, 65, 255):
        for rare in range(256):
            round_trip(np.where(places, rare, common).astype(np.uint8))


def test_sizes_are_near_the_entropy() -> None:
    random = np.random.default_rng(7)
    for scale in (0.3, 1.0, 5.0, 20.0):
        values = np.minimum(np.abs(random.standard_normal(1 << 19) * scale), 255).astype(np.uint8)
        ideal = entropy_bits(values) * values.size / 8
        headers = 4 * 300
        sizes = {m: len(encode_plane(values, method=m)) for m in ("ans", "huffman", "smallest")}
        assert sizes["ans"] <= 1.005 * ideal + headers
        # A Huffman code loses less than the share of the most frequent symbol and 0.086 bit (Gallager 1978).
        assert sizes["huffman"] <= ideal + np.bincount(values).max() / 8 + 0.086 * values.size / 8 + headers
        assert sizes["smallest"] <= min(sizes["ans"], sizes["huffman"]) + 16


def test_an_exponent_plane_costs_what_a_huffman_code_costs() -> None:
    values = np.random.default_rng(8).standard_normal(1 << 20).astype(np.float32) * np.float32(0.02)
    exponents = (values.view(np.uint32) >> 23).astype(np.uint8)
    assert 8 * len(encode_plane(exponents, method="huffman")) / exponents.size < 2.60
    assert 8 * len(encode_plane(exponents, method="ans")) / exponents.size < 2.555


def test_noise_grows_by_headers_only() -> None:
    noise = np.random.default_rng(9).integers(0, 256, 1 << 19, np.uint8)
    assert len(encode_plane(noise)) == noise.size + 1 + 4 * 4
    assert len(encode_plane(noise[:100])) <= 102


def test_constant_planes_take_five_bytes_a_chunk() -> None:
    assert len(encode_plane(np.zeros(1 << 20, np.uint8))) == 1 + 5 * 8
    assert len(encode_plane(np.zeros(1000, np.uint8))) == 3


def test_threads_change_nothing(plane: Plane) -> None:
    one = encode_plane(plane, chunk_bytes=1 << 12)
    assert encode_plane(plane, chunk_bytes=1 << 12, threads=3) == one
    np.testing.assert_array_equal(decode_plane(one, plane.size, threads=3), plane)


def test_configuration_is_checked() -> None:
    plane = np.zeros(10, np.uint8)
    with pytest.raises(ConfigError, match="method"):
        encode_plane(plane, method="best")
    with pytest.raises(ConfigError, match="chunk_bytes"):
        encode_plane(plane, chunk_bytes=5000)
    with pytest.raises(ConfigError, match="encode_bound"):
        encode_into(plane, np.empty(11, np.uint8))


def small_blobs() -> list[tuple[bytes, int]]:
    random = np.random.default_rng(10)
    skewed = np.minimum(random.geometric(0.4, 1500), 255).astype(np.uint8)
    nearly_constant = (random.random(1500) < 0.05).astype(np.uint8)
    runs = np.repeat(random.integers(0, 256, 12, np.uint8), 125)
    planes = [
        (skewed, "huffman"),
        (skewed, "ans"),
        (nearly_constant, "ans"),
        (runs, "rle"),
        (runs[:300], "raw"),
    ]
    planes += [(np.zeros(1500, np.uint8), "auto")]
    return [(encode_plane(plane, method=method, chunk_bytes=1024), plane.size) for plane, method in planes]


def decode_or_refuse(coded: bytes, size: int) -> None:
    out = np.full(size + 64, FILLER, np.uint8)
    with contextlib.suppress(CorruptBlobError):
        decode_into(coded, out[32 : 32 + size])
    assert (out[:32] == FILLER).all()
    assert (out[32 + size :] == FILLER).all()


@pytest.mark.parametrize("case", range(6))
def test_truncation_is_always_noticed(case: int) -> None:
    coded, size = small_blobs()[case]
    for length in range(len(coded)):
        with pytest.raises(CorruptBlobError):
            decode_plane(coded[:length], size)
    with pytest.raises(CorruptBlobError):
        decode_plane(coded + b"\0", size)
    constant = case == 5  # a constant chunk fits any length
    for wrong in (0, 1, 1 << 40) if constant else (0, 1, size - 1, size + 1, 1 << 40):
        with pytest.raises(CorruptBlobError):
            decode_plane(coded, wrong)


@pytest.mark.parametrize("case", range(6))
def test_mutated_bytes_never_harm(case: int) -> None:
    coded, size = small_blobs()[case]
    for at in range(len(coded)):
        for value in {0, 1, 0x7F, 0x80, 0xFF, coded[at] ^ 1, coded[at] ^ 0x10, coded[at] ^ 0x80}:
            decode_or_refuse(coded[:at] + bytes([value]) + coded[at + 1 :], size)


@pytest.mark.parametrize("method", ["huffman", "ans"])
def test_mutated_large_blobs_never_harm(method: str) -> None:
    random = np.random.default_rng(11)
    plane = np.minimum(random.geometric(0.4, 40_000), 255).astype(np.uint8)
    skewed = (random.random(40_000) < 0.02).astype(np.uint8)
    for source in (plane, skewed):
        coded = np.frombuffer(encode_plane(source, method=method, chunk_bytes=1 << 14), np.uint8)
        for _ in range(1500):
            mutated = coded.copy()
            at = random.integers(0, mutated.size, random.integers(1, 6))
            mutated[at] = random.integers(0, 256, at.size)
            head = random.integers(0, 80)
            if random.random() < 0.3:
                mutated[head] = random.integers(0, 256)
            decode_or_refuse(mutated.tobytes(), source.size)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=0, max_size=400), st.integers(0, 5000))
def test_arbitrary_bytes_never_harm(coded: bytes, size: int) -> None:
    decode_or_refuse(coded, size)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([1, 2, 3, 4]), st.binary(min_size=0, max_size=300), st.integers(1, 1024))
def test_arbitrary_chunks_never_harm(method: int, body: bytes, size: int) -> None:
    decode_or_refuse(bytes([10, method]) + body, size)
