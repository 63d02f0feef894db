"""BitX: the released code's sizes and layout, and what ours does better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import zstandard

import weightcodecs
from weightcodecs import ConfigError, get_codec

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/bitx.json").read_text())["cases"]


def pair(sigma_delta: float, dtype: Any = ml_dtypes.bfloat16, n: int = 1_000_000) -> tuple[np.ndarray, ...]:
    """Return (base, fine-tuned), the bf16 pairs of vectors/fm_delta.json."""
    rng = np.random.Generator(np.random.PCG64(20260))
    base, change = rng.standard_normal(n) * 0.02, rng.standard_normal(n) * sigma_delta
    return base.astype(np.float32).astype(dtype), (base + change).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: str(case["sigma_delta"]))
def test_vectors(case: dict[str, Any]) -> None:
    """Both frames within 0.3 % of the release's (another version of libzstd); ours is smaller."""
    base, fine = pair(case["sigma_delta"])
    blob = get_codec("bitx", variant="paper").encode(fine, reference=base)
    payload = bytes(weightcodecs.payload(blob))
    exponents = int.from_bytes(payload[:8], "little")
    assert exponents == pytest.approx(case["exponent_plane"], rel=0.003)
    assert len(payload) - 8 - exponents == pytest.approx(case["sign_mantissa_plane"], rel=0.003)
    fast = get_codec("bitx").encode(fine, reference=base)
    assert 8 * len(fast) / fine.size < 0.95 * case["bits_per_element"]
    for coded in (blob, fast):
        back = weightcodecs.decode(coded, reference=base)
        assert (back.view(np.uint16) == fine.view(np.uint16)).all()


def test_target() -> None:
    base, fine = pair(1e-4)
    for entropy, most in (("auto", 4.30), ("smallest", 4.23)):
        assert 8 * len(get_codec("bitx", entropy=entropy).encode(fine, reference=base)) / fine.size <= most


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.float8_e4m3fn])
def test_other_formats_have_their_own_planes(dtype: Any) -> None:
    base, fine = pair(1e-4, dtype, 200_000)
    sizes = [
        len(get_codec("bitx", variant=variant).encode(fine, reference=base)) for variant in ("fast", "paper")
    ]
    assert sizes[0] < 0.95 * sizes[1]


def test_layout_of_the_release() -> None:
    """Exponent bits 14 … 7 in the first frame, sign and mantissa in the second."""
    base = np.zeros(4096, np.uint16)
    fine = np.tile(np.array([0b1_10101010_1100110, 0], np.uint16), 2048)
    payload = bytes(weightcodecs.payload(get_codec("bitx", variant="paper").encode(fine, reference=base)))
    first = int.from_bytes(payload[:8], "little")
    frames = [
        zstandard.ZstdDecompressor().decompress(f) for f in (payload[8 : 8 + first], payload[8 + first :])
    ]
    assert frames[0] == bytes((0b10101010, 0)) * 2048
    assert frames[1] == bytes((0b1_1100110, 0)) * 2048


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1001])
@pytest.mark.parametrize("variant", ["fast", "paper"])
def test_odd_lengths(variant: str, count: int) -> None:
    """The release loses the last byte of 1001, and ends the process below two bytes."""
    base = np.zeros(count, np.uint8)
    fine = (np.arange(count) % 7 == 6).astype(np.uint8)
    fine[-1:] = 200
    codec = get_codec("bitx", variant=variant)
    assert (codec.decode(codec.encode(fine, reference=base), reference=base) == fine).all()


def test_configuration() -> None:
    for config in ({"level": 0}, {"level": 40}, {"variant": "paper", "entropy": "ans"}, {"entropy": "zstd"}):
        with pytest.raises(ConfigError):
            get_codec("bitx", **config)
