"""FM-Delta's published stream: byte for byte the official program's, and safe to decode whatever it holds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from weightcodecs.errors import ConfigError, CorruptBlobError, UnsupportedFormatError
from weightcodecs.kernels.range_coder import decode_fm_delta, encode_fm_delta

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "fm_delta.json").read_text())["cases"]
CODES = {2: 2, 4: 0, 8: 1}


def tensors(case: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The pair of a vector, after the recipe in the file."""
    random = np.random.Generator(np.random.PCG64(case["seed"]))
    size = case["n"]
    dtype = np.dtype(ml_dtypes.bfloat16 if case["dtype"] == "bfloat16" else case["dtype"])
    base = random.standard_normal(size) * case.get("sigma_w", 0.02)
    delta = random.standard_normal(size) * case.get("sigma_delta", 1e-3)
    if "case" in case:
        delta[random.random(size) < 0.5] = 0
    first = np.float32 if case["dtype"] == "bfloat16" else dtype
    old, new = base.astype(first).astype(dtype), (base + delta).astype(first).astype(dtype)
    if "case" in case:
        new[10:14] = np.array([np.nan, np.inf, -np.inf, -0.0], dtype)
        old[14:16] = np.array([np.nan, np.inf], dtype)
    return old, new


def bits(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(f"u{array.itemsize}")


@pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c['dtype']}-{c.get('sigma_delta', 'specials')}" if "n" in c else ""
)
def test_streams_are_the_official_ones(case: dict[str, Any]) -> None:
    base, fine = tensors(case)
    assert hashlib.sha256(base.tobytes()).hexdigest() == case["base_sha256"]
    assert hashlib.sha256(fine.tobytes()).hexdigest() == case["fine_sha256"]
    kind, dims = CODES[base.itemsize], (base.size, 1, 1, 1)
    coded = encode_fm_delta(bits(base), bits(fine), kind, dims)
    assert coded is not None
    assert len(coded) == case["size"]
    assert hashlib.sha256(coded).hexdigest() == case["sha256"]
    np.testing.assert_array_equal(decode_fm_delta(coded, bits(base), kind, dims), bits(fine))


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([2, 4, 8]),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(-3, 70)), max_size=60),
)
def test_any_bit_pattern_comes_back(width: int, drawn: list[tuple[int, int]]) -> None:
    dtype = np.dtype(f"u{width}")
    top = 1 << (8 * width)
    base = np.array([value % top for value, _ in drawn], dtype)
    fine = np.array([(v ^ (v * 7 >> shift if shift >= 0 else 0)) % top for v, shift in drawn], dtype)
    dims = (base.size, 1, 1, 1)
    coded = encode_fm_delta(base, fine, CODES[width], dims)
    if coded is None:  # noise, as the official program too cannot code
        return
    assert len(coded) <= base.nbytes + 28
    np.testing.assert_array_equal(decode_fm_delta(coded, base, CODES[width], dims), fine)


def test_an_equal_element_takes_the_least_blob() -> None:
    base = np.ones(1, np.float32)
    coded = encode_fm_delta(base, base, 0, (1, 1, 1, 1))
    assert coded is not None
    assert len(coded) == 21
    assert encode_fm_delta(base[:0], base[:0], 0, (0, 1, 1, 1)) is not None


def test_the_model_starts_anew_for_each_field() -> None:
    random = np.random.default_rng(3)
    base = random.standard_normal((64, 4, 3, 3)).astype(np.float32)
    fine = base + np.float32(1e-4) * random.standard_normal(base.shape).astype(np.float32)
    fields = encode_fm_delta(base, fine, 0, (3, 3, 4, 64))
    flat = encode_fm_delta(base, fine, 0, (base.size, 1, 1, 1))
    assert fields is not None
    assert flat is not None
    assert len(fields) > len(flat)
    np.testing.assert_array_equal(
        decode_fm_delta(fields, base, 0, (3, 3, 4, 64)), fine.reshape(-1).view("u4")
    )


def test_noise_is_given_up() -> None:
    random = np.random.default_rng(4)
    base, fine = random.integers(0, 2**32, (2, 5000), np.uint32)
    assert encode_fm_delta(base, fine, 0, (5000, 1, 1, 1)) is None


def test_arguments_are_checked() -> None:
    base = np.zeros(6, np.float32)
    with pytest.raises(ConfigError, match="dimensions"):
        encode_fm_delta(base, base, 0, (5, 1, 1, 1))
    with pytest.raises(ConfigError, match="length"):
        encode_fm_delta(base, base[:5], 0, (6, 1, 1, 1))
    with pytest.raises(UnsupportedFormatError):
        encode_fm_delta(base.view(np.uint8), base.view(np.uint8), 0, (24, 1, 1, 1))


def _pair(width: int) -> tuple[NDArray[Any], bytes, tuple[int, int, int, int]]:
    random = np.random.default_rng(5)
    base = random.standard_normal(400).astype(f"f{width}")
    fine = base + (1e-3 * random.standard_normal(400) * (random.random(400) < 0.7)).astype(f"f{width}")
    dims = (400, 1, 1, 1)
    coded = encode_fm_delta(base, fine, CODES[width], dims)
    assert coded is not None
    return bits(base), coded, dims


@pytest.mark.parametrize("width", [2, 4, 8])
def test_truncated_streams_are_refused(width: int) -> None:
    base, coded, dims = _pair(width)
    for length in range(len(coded)):
        with pytest.raises(CorruptBlobError):
            decode_fm_delta(coded[:length], base, CODES[width], dims)
    with pytest.raises(CorruptBlobError):
        decode_fm_delta(coded + b"\0", base, CODES[width], dims)
    with pytest.raises(CorruptBlobError):
        decode_fm_delta(coded, base[:-1], CODES[width], (399, 1, 1, 1))
    with pytest.raises(CorruptBlobError):
        decode_fm_delta(coded, base, 7, dims)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_mutated_streams_never_harm(width: int) -> None:
    base, coded, dims = _pair(width)
    for at in range(len(coded)):
        for value in {0, 0xFF, coded[at] ^ 1, coded[at] ^ 0x80}:
            mutated = coded[:at] + bytes([value]) + coded[at + 1 :]
            try:
                fine = decode_fm_delta(mutated, base, CODES[width], dims)
            except CorruptBlobError:
                continue
            assert fine.size == base.size


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), hnp.arrays(np.uint16, st.integers(0, 200)))
def test_arbitrary_streams_never_harm(tail: bytes, base: NDArray[np.uint16]) -> None:
    dims = (base.size, 1, 1, 1)
    header = encode_fm_delta(base[:0], base[:0], 2, (0, 1, 1, 1))
    assert header is not None
    # A stream's first bytes: type 2, then the dimensions as the coder writes them, then anything.
    honest = encode_fm_delta(base, base, 2, dims)
    assert honest is not None
    for coded in (tail, honest[:17] + tail):
        try:
            decode_fm_delta(coded, base, 2, dims)
        except CorruptBlobError:
            continue
