"""Errors by powers of two beside NumPy: exact, over all values, of first rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from weightbench.verify import Verifier
from weightcodecs import FORMATS, get_codec
from weightcodecs.codec import Codec

Array = NDArray[Any]


def expected(original: Array, decoded: Array) -> dict[str, Any]:
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(decoded.astype(np.float64) - original.astype(np.float64))
    error = error[np.isfinite(original.astype(np.float64)) & np.isfinite(decoded.astype(np.float64))]
    powers = np.maximum(np.frexp(error[error > 0])[1] - 1, -1023)
    zeros = int(np.count_nonzero(error == 0))
    if not powers.size:
        return {"zeros": zeros, "first": 0, "counts": []}
    return {
        "zeros": zeros,
        "first": int(powers.min()),
        "counts": np.bincount(powers - powers.min()).tolist(),
    }


def values(format: str, count: int = 100_001) -> Array:
    random = np.random.default_rng(8)
    made = (random.standard_normal(count) * 0.02).astype(np.float32).astype(FORMATS[format].dtype)
    made[:7] = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 2.0]).astype(made.dtype)
    made[50_000:60_000] = 0.5  # exact in most codecs
    return made


CODECS: list[tuple[Codec, str]] = [
    (get_codec("elf"), "float32"),
    (get_codec("elf", error_bound_absolute=1e-3), "float32"),
    (get_codec("elf"), "float64"),
    (get_codec("elf"), "float16"),
    (get_codec("int8"), "bfloat16"),
    (get_codec("nf4"), "float32"),
    (get_codec("cast"), "float32"),
]


@pytest.mark.parametrize(("codec", "format"), CODECS, ids=lambda x: getattr(x, "name", x))
def test_the_histogram_is_numpys(codec: Codec, format: str) -> None:
    original = values(format)
    verifier, decoded = Verifier(codec), codec.decode(codec.encode(original))
    verifier.add("a", original, decoded)
    again = original[:30_000] * original.dtype.type(3)
    back = codec.decode(codec.encode(again))
    verifier.add("b", again, back)
    verifier.add("a", original, decoded, 2)
    verdict = verifier.verdict()
    whole = expected(np.concatenate([original, again]), np.concatenate([decoded, back]))
    assert verdict.histogram == whole
    assert whole["zeros"] + sum(whole["counts"]) == verdict.compared
    assert verdict.plain()["histogram"] == whole
    assert not verdict.violated


def test_other_bits_in_a_later_round_are_not_counted_again() -> None:
    codec, original = get_codec("elf"), values("float32")
    verifier, decoded = Verifier(codec), codec.decode(codec.encode(original))
    verifier.add("a", original, decoded)
    verifier.add("a", original, original, 2)
    assert verifier.verdict().histogram == expected(original, decoded)


def test_lossless_codecs_have_none() -> None:
    verifier, original = Verifier(get_codec("zstd")), values("float32")
    verifier.add("a", original, original.copy())
    assert verifier.verdict().histogram is None
    assert Verifier(get_codec("elf")).verdict().histogram is None


@pytest.mark.parametrize("format", ["float32", "float64"])
def test_errors_far_from_one_and_beyond_the_bound(format: str) -> None:
    dtype = FORMATS[format].dtype
    tiny = np.finfo(dtype).smallest_subnormal
    original = np.resize(np.array([0, 1, -1, 3e38, tiny, 0], dtype), 70_000)
    decoded = np.resize(np.array([tiny, 1, 1, -3e38, 0, -0.0], dtype), 70_000)
    verifier = Verifier(get_codec("elf"))
    verifier.add("a", original, decoded)
    verdict = verifier.verdict()
    assert verdict.violated
    assert verdict.histogram == expected(original, decoded)
