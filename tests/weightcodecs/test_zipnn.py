"""ZipNN: the authors' sizes, the papers' facts, and the kernels against their references."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from corpus import random_bits, weights

import weightcodecs
from weightcodecs import FORMATS, ConfigError, CorruptBlobError, MissingExtraError, get_codec
from weightcodecs.kernels.planes import (
    BLOCK,
    merge_piece,
    merge_planes_reference,
    rotation,
    split_piece,
    split_planes_reference,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/zipnn.json").read_text())["cases"]


@cache
def vector(name: str) -> np.ndarray:
    """Return the array of a case, made by the recipe in vectors/zipnn.json."""
    rng = np.random.Generator(np.random.PCG64(4242))
    values = (rng.standard_normal(1 << 22) * 0.02).astype(np.float32)
    dtypes: dict[str, Any] = {"fp32": np.float32, "bf16": ml_dtypes.bfloat16, "fp16": np.float16}
    for part in reversed(name.split("<-")):
        values = values.astype(np.float32).astype(dtypes[part])
    return values


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["input"])
@pytest.mark.parametrize("variant", ["fast", "paper"])
def test_vectors(case: dict[str, Any], variant: str) -> None:
    """Never larger than the package, header and all, and the paper variant within 0.3 % of it."""
    values = vector(case["input"])
    assert hashlib.sha256(values.tobytes()).hexdigest() == case["input_sha256"]
    codec = get_codec("zipnn", variant=variant)
    blob = codec.encode(values)
    assert len(blob) <= case["size"]
    assert len(blob) > 0.997 * case["size"]
    assert codec.decode(blob).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("name", "entropy", "whole", "split"),
    [
        ("float8_e4m3fn", "huffman", 0.812, 0.822),
        ("float8_e4m3fn", "ans", 0.807, 0.816),
        ("float8_e5m2", "huffman", 0.694, 0.699),
        ("float8_e5m2", "ans", 0.688, 0.694),
    ],
)
def test_fp8_is_smaller_as_whole_bytes(name: str, entropy: str, whole: float, split: float) -> None:
    """What the module's docstring says: exponents apart, the other bits packed raw, would be larger."""
    format = weightcodecs.get_format(name)
    values = np.random.default_rng(7).standard_normal(1 << 20).astype(format.dtype)
    exponents = (values.view(np.uint8) >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1)
    codec = get_codec("zipnn", entropy=entropy)
    as_bytes = len(codec.encode(values)) / values.size
    apart = len(codec.encode(exponents)) / values.size + (1 + format.mantissa_bits) / 8
    assert as_bytes == pytest.approx(whole, abs=0.001)
    assert apart == pytest.approx(split, abs=0.001)


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("count", [1, 63, BLOCK - 1, BLOCK + 5])
def test_planes_against_reference(format: Any, count: int) -> None:
    words = random_bits(format, count, 1).view(format.bits_dtype)
    base = random_bits(format, count, 2).view(format.bits_dtype)
    turn = rotation(format)
    for other in (None, base):
        wanted = split_planes_reference(words, other, turn)
        planes = np.empty(count * format.nbytes, np.uint8)
        theirs = words[:0] if other is None else other
        scratch = np.empty(BLOCK, words.dtype)
        split_piece(words, theirs, np.array(turn, words.dtype), scratch, planes, count)
        assert (planes.reshape(format.nbytes, count) == wanted).all()
        assert (merge_planes_reference(wanted, other, turn) == words).all()
        out = np.empty_like(words)
        stream = planes.copy()
        for array in (planes, stream):
            array.flags.writeable = False
        places = np.arange(format.nbytes) * count
        places[::2] = -1 - places[::2]  # every other plane from the stream
        merge_piece(stream, planes, places, theirs, np.array(turn, words.dtype), out)
        assert (out == words).all()


def test_rotation_moves_the_sign_below_the_exponent() -> None:
    """The paper's words: 1 eeeeeeee m… becomes eeeeeeee 1 m…."""
    words = np.array([0b1_10101010_1100110], np.uint16)
    high, low = split_planes_reference(words, None, rotation(FORMATS["bfloat16"]))
    assert (high[0], low[0]) == (0b10101010, 0b1_1100110)
    words32 = np.array([0x80000000 | 0x55 << 23 | 0x123456], np.uint32)
    planes = split_planes_reference(words32, None, rotation(FORMATS["float32"]))
    assert planes[:, 0].tolist() == [0x55, 0x80 | 0x12, 0x34, 0x56]
    assert not any(rotation(FORMATS["float16"]))


@pytest.mark.parametrize("entropy", ["auto", "huffman"])
def test_paper_truncates_zeros(entropy: str) -> None:
    """Clean models: two low planes of zeros cost nothing but their directory entries."""
    values = weights(FORMATS["bfloat16"], 1 << 18).astype(np.float32)
    codec = get_codec("zipnn", variant="paper", entropy=entropy)
    size = len(codec.encode(values))
    narrow = len(codec.encode(values.astype(ml_dtypes.bfloat16)))
    assert size < narrow + 200


def test_paper_sends_zero_runs_to_zstd() -> None:
    values = weights(FORMATS["bfloat16"], 1 << 17)
    values[np.random.default_rng(1).random(values.size) > 0.02] = 0
    by_rule = len(get_codec("zipnn", variant="paper").encode(values))
    huffman_only = len(get_codec("zipnn", variant="paper", entropy="huffman").encode(values))
    fast = len(get_codec("zipnn").encode(values))
    assert fast < by_rule < huffman_only


def test_paper_with_zstd_alone() -> None:
    """The ablation's other side: larger than Huffman for exponents, and no method of variant fast."""
    values = weights(FORMATS["bfloat16"], 1 << 17)
    codec = get_codec("zipnn", variant="paper", entropy="zstd")
    blob = codec.encode(values)
    assert (codec.decode(blob).view(np.uint16) == values.view(np.uint16)).all()
    huffman = get_codec("zipnn", variant="paper", entropy="huffman").encode(values)
    assert len(huffman) < len(blob) < 0.75 * values.nbytes
    with pytest.raises(ConfigError, match="variant=paper"):
        get_codec("zipnn", entropy="zstd")


def test_smallest_is_smallest() -> None:
    values = weights(FORMATS["bfloat16"], 1 << 18)
    sizes = {
        entropy: len(get_codec("zipnn", entropy=entropy).encode(values))
        for entropy in ("huffman", "auto", "ans", "smallest")
    }
    assert sizes["smallest"] <= min(sizes.values())
    assert sizes["smallest"] * 1.515 <= values.nbytes + 64


def test_delta_of_a_pair() -> None:
    """Relative changes of 1e-3 cost the package 57.2 % in fp32 and 14.4 % in bf16."""
    base = weights(FORMATS["float32"], 1 << 19, 1)
    noise = np.random.default_rng(2).standard_normal(base.size).astype(np.float32)
    moved = base * (1 + np.float32(1e-3) * noise)
    for dtype, most in ((np.float32, 0.575), (ml_dtypes.bfloat16, 0.145)):
        before, after = base.astype(dtype), moved.astype(dtype)
        blob = get_codec("zipnn_delta").encode(after, reference=before)
        assert len(blob) < most * after.nbytes
        alone = get_codec("zipnn").encode(after)
        assert len(blob) < len(alone)
    same = get_codec("zipnn_delta").encode(base, reference=base)
    assert len(same) < base.nbytes / 1000


@pytest.mark.parametrize(
    "config",
    [
        {"variant": "paper", "entropy": "ans"},
        {"skip_chunks": 1},
        {"variant": "paper", "skip_chunks": -1},
        {"entropy": "zstd"},
    ],
)
@pytest.mark.parametrize("name", ["zipnn", "zipnn_delta"])
def test_configuration(name: str, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        get_codec(name, **config)


def test_parameters_are_checked() -> None:
    import io

    from weightcodecs.blob import parse_blob, seal

    info = parse_blob(get_codec("zipnn").encode(weights(FORMATS["float32"], 5000)))
    for parameters in (b"", b"\0", b"\0\x09", b"\0\x12", b"\0\xff", b"\2", b"\1\0", b"\0\x10\0"):
        blob = seal(
            io.BytesIO(bytes(info.payload)),
            codec="zipnn",
            version=1,
            format=info.format,
            shape=info.shape,
            parameters=parameters,
        )
        with pytest.raises(CorruptBlobError):
            weightcodecs.decode(blob)


# -- fixed point -----------------------------------------------------------------------------------------

# Order-0 sizes, percent of raw: b: (two's complement, sign-magnitude) at sigma 0.02 and at 0.1, from the fact
# sheet's section 2.F. Ours pays for tables; one-bit Huffman codes would not reach the small ones, ANS does.
TABLE = {
    27: (76.2, 73.1, 80.6, 80.4),
    24: (66.9, 63.8, 74.1, 71.0),
    23: (63.8, 60.6, 71.0, 67.9),
    19: (54.4, 48.1, 58.8, 55.5),
    18: (51.3, 45.0, 56.5, 52.3),
    14: (38.9, 32.5, 46.0, 39.8),
    10: (29.3, 20.0, 34.7, 27.3),
    6: (12.9, 7.6, 23.6, 14.8),
}


@pytest.mark.parametrize("factor", TABLE)
def test_fixed_point_sizes(factor: int) -> None:
    for at, sigma in ((0, 0.02), (2, 0.1)):
        rng = np.random.default_rng(3)
        values = (rng.standard_normal(1 << 19) * sigma).astype(np.float32)
        for sign, wanted in zip(
            ("twos_complement", "sign_magnitude"), TABLE[factor][at : at + 2], strict=True
        ):
            codec = get_codec(
                "zipnn_lossy", factor=factor, sign=sign, rounding="truncate", entropy="smallest"
            )
            percent = 100 * len(codec.encode(values)) / values.nbytes
            # Runs of equal bytes, which order-0 does not see, may make it smaller.
            assert wanted - 1.0 < percent < wanted + 0.4, (sigma, sign)


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
@pytest.mark.parametrize("sign", ["sign_magnitude", "twos_complement"])
def test_bound_is_attained_and_kept(rounding: str, sign: str) -> None:
    values = weights(FORMATS["float32"], 1 << 18)
    codec = get_codec("zipnn_lossy", factor=20, rounding=rounding, sign=sign)
    decoded = codec.decode(codec.encode(values))
    error = np.abs(decoded.astype(np.float64) - values).max()
    bound = codec.error_bound(FORMATS["float32"]).absolute
    assert bound == (2.0**-21 if rounding == "nearest" else 2.0**-20)
    assert 0.99 * bound < error <= bound
    if rounding == "truncate":
        assert (np.abs(decoded) <= np.abs(values)).all()
    # "Lossless for |θ| ≥ 2^(23−b)": 2^3 here.
    large = weights(FORMATS["float32"], 1000) * 1000 + 8
    kept = large[np.abs(large) >= 8]
    assert (codec.decode(codec.encode(kept)) == kept).all()


def test_range_rules() -> None:
    """b = 27, fp32: the exact rule takes |θ| < 16, the package's < 4, the paper's text ≤ 1."""
    step = np.float32(2.0**-29)
    for rule, inside, outside in (("exact", 15.5, 16.0), ("shipped", 3.5, 4.0), ("unit", 1.0, 1.5)):
        for variant in ("fast", "paper"):
            codec = get_codec("zipnn_lossy", range_rule=rule, variant=variant)
            small = np.full(4000, step, np.float32)
            small[5] = inside
            decoded = codec.decode(codec.encode(small))
            assert decoded[5] == np.float32(inside)
            assert decoded[0] == 0
            small[5] = -outside
            decoded = codec.decode(codec.encode(small))
            assert decoded[5] == np.float32(-outside)
            # The authors keep the whole tensor, ours the one value.
            assert decoded[0] == (step if variant == "paper" else 0)


def test_special_values_of_fixed_point() -> None:
    values = weights(FORMATS["float32"], 4000)
    values[:6] = [np.nan, np.inf, -np.inf, -0.0, 3e38, -1e-40]
    values.view(np.uint32)[7] = 0xFFC12345
    decoded = get_codec("zipnn_lossy").decode(get_codec("zipnn_lossy").encode(values))
    exact = [0, 1, 2, 3, 4, 7]
    assert (decoded.view(np.uint32)[exact] == values.view(np.uint32)[exact]).all()
    assert decoded[5] == 0
    assert np.signbit(decoded[5])


@pytest.mark.parametrize(
    ("format", "factor"), [("float32", 31), ("float16", 15), ("bfloat16", 8), ("int8", 3)]
)
def test_fixed_point_refuses(format: str, factor: int) -> None:
    reason = get_codec("zipnn_lossy", factor=factor).unsupported(FORMATS[format])
    assert reason is not None
    with pytest.raises(ConfigError):
        get_codec("zipnn_lossy", factor=0)


# -- the package -----------------------------------------------------------------------------------------


def test_official_package_agrees() -> None:
    """The wrapped package gives the size of the vectors, and odd lengths come back."""
    try:
        codec = get_codec("zipnn_official")
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    case = VECTORS[0]
    values = vector(case["input"])
    blob = codec.encode(values)
    assert len(weightcodecs.payload(blob)) == case["size"]
    assert (codec.decode(blob).view(np.uint16) == values.view(np.uint16)).all()
    for count in (65537, 65536 * 2 + 1, 3):
        odd = values[:count]
        assert codec.decode(codec.encode(odd)).tobytes() == odd.tobytes()
