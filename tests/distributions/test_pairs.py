"""Conditional entropies beside straightforward NumPy, and beside papers/qstore.md, section 7."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from weightbench.canonical import plain
from weightbench.distributions import pair_distributions
from weightbench.distributions.pairs import PairCounts
from weightbench.models import quantised
from weightbench.pairing import pair_tensors
from weightcodecs.formats import get_format
from weightcodecs.quantise import quantise_int8, quantise_nf4, unpack_nibbles

Array = NDArray[Any]
QUANTISERS = {"int8": quantise_int8, "nf4": quantise_nf4}
HALVES = ["bfloat16", "float16"]


def entropy(*symbols: Array) -> float:
    _, counts = np.unique(np.stack([s.astype(np.int64) for s in symbols]), axis=1, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def distinct(*symbols: Array) -> int:
    return int(np.unique(np.stack([s.astype(np.int64) for s in symbols]), axis=1).shape[1])


def weights(rows: int, columns: int, dtype: str) -> Array:
    random = np.random.default_rng(5)
    values = random.standard_normal((rows, columns)) * 0.02 * np.exp(0.35 * random.standard_normal((rows, 1)))
    return values.astype(np.float32).astype(get_format(dtype).dtype)


def cells_of(values: Array, codes: Array, scales: Array, kind: str) -> tuple[Array, Array, Array]:
    """Scale (as a pattern), code and pattern of each value."""
    row = 64 if kind == "nf4" else values.shape[1]
    flat = unpack_nibbles(codes, values.size) if kind == "nf4" else codes.reshape(-1).view(np.uint8)
    return np.repeat(scales.view(np.uint32), row)[: values.size], flat, values.reshape(-1).view(np.uint16)


@pytest.mark.parametrize("kind", QUANTISERS)
@pytest.mark.parametrize("dtype", HALVES)
def test_entropies_are_those_of_numpy(dtype: str, kind: str) -> None:
    values = weights(90, 111, dtype)
    made = QUANTISERS[kind](values)
    assert made.scales is not None
    counts = PairCounts(get_format(dtype), kind)
    counts.add(values, made.codes, made.scales)
    said, n = counts.plain(), values.size
    scale, code, word = cells_of(values, made.codes, made.scales, kind)
    cells, cost = distinct(scale, code), entropy(scale, code)
    assert (said["values"], said["tensors"], said["cells"]) == (n, 1, cells)
    assert said["scale_groups"] == np.unique(scale).size
    assert said["values_per_cell"] == pytest.approx(n / cells, abs=1e-6)
    assert said["high_entropy"] == said["high_entropy_in_tensor"] == pytest.approx(entropy(word), abs=1e-6)
    assert said["low_entropy"] == pytest.approx(entropy(code), abs=1e-6)
    assert said["low_given_scale"] == pytest.approx(cost - entropy(scale), abs=1e-6)
    for name, symbols in (("high", word), ("high_byte", word >> 8), ("low_byte", word & 255)):
        found = said[f"{name}_given_low"]
        assert found["plug_in"] == pytest.approx(entropy(scale, code, symbols) - cost, abs=2e-6)
        correction = (distinct(scale, code, symbols) - cells) / (2 * n * np.log(2))
        assert found["miller_madow"] == pytest.approx(found["plug_in"] + correction, abs=2e-6)
    assert said["outside_bin"] == 0
    assert said["values_in_bins"] == n
    assert plain(said, finite=True) == said


@pytest.mark.parametrize("kind", QUANTISERS)
@pytest.mark.parametrize("dtype", HALVES)
def test_bins_hold_what_the_quantiser_puts_into_them(dtype: str, kind: str) -> None:
    """Every pattern of the format, and every one of the tensor, quantised under every scale."""
    values = weights(24, 64, dtype)
    made = QUANTISERS[kind](values)
    assert made.scales is not None
    counts = PairCounts(get_format(dtype), kind)
    counts.add(values, made.codes, made.scales)
    scale, code, word = cells_of(values, made.codes, made.scales, kind)
    every = np.arange(1 << 16, dtype=np.uint16).view(get_format(dtype).dtype)
    with np.errstate(invalid="ignore"):
        finite = every[np.isfinite(every.astype(np.float32))].astype(np.float32)
    own = np.unique(word).view(get_format(dtype).dtype).astype(np.float32)
    for name, known in (("log2_codes_in_bin", own), ("log2_patterns_in_bin", finite)):
        total = 0.0
        for group in np.unique(scale):
            limit = group.astype(np.uint32).view(np.float32)
            there = known[np.abs(known) <= limit]
            per_code = np.bincount(codes_under(there, limit, kind), minlength=256)
            total += float(np.log2(per_code[code[scale == group]]).sum())
        # A value halfway between two codes lies in both bins, and is given one of them.
        assert counts.plain()[name] == pytest.approx(total / values.size, abs=0.01)


def codes_under(values: Array, scale: Array, kind: str) -> Array:
    """Codes of values (n,) under one scale: each group that is quantised has it as its largest value."""
    width = 63 if kind == "nf4" else max(values.size, 1)
    groups = np.full((-(-values.size // width), width + 1), scale, np.float32)
    groups[:, :width] = np.resize(values, (len(groups), width))
    if kind == "int8":
        codes = quantise_int8(groups).codes.view(np.uint8)
    else:
        codes = unpack_nibbles(quantise_nf4(groups.reshape(-1)).codes, groups.size).reshape(groups.shape)
    return codes[:, :width].reshape(-1)[: values.size]


def test_special_values_and_scales() -> None:
    values = weights(6, 70, "float16")
    values[0] = 0.0
    values[0, ::2] = -0.0
    values[1, 3], values[2, 5] = np.nan, np.inf
    values[3, :] = 6e-8  # the smallest subnormal
    made = quantise_int8(values)
    counts = PairCounts(get_format("float16"), "int8")
    counts.add(values, made.codes, made.scales)
    said = counts.plain()
    assert said["values_in_bins"] == 5 * 70  # not the row of the infinity
    assert said["outside_bin"] == 1  # the NaN
    assert plain(said, finite=True) == said


def test_codes_of_others_without_scales_or_beside_their_values() -> None:
    values, format = weights(20, 64, "bfloat16"), get_format("bfloat16")
    codes = np.random.default_rng(6).integers(-127, 128, values.shape, np.int8)
    alone = PairCounts(format, "int8")
    alone.add(values, codes, None)
    said = alone.plain()
    assert (said["tensors_without_scales"], said["scale_groups"], said["values_in_bins"]) == (1, 1, 0)
    assert said["log2_codes_in_bin"] is None
    assert said["high_given_low"]["plug_in"] == pytest.approx(
        entropy(codes.reshape(-1), values.reshape(-1).view(np.uint16)) - entropy(codes.reshape(-1)), abs=2e-6
    )
    beside = PairCounts(format, "int8")
    beside.add(values, codes, np.abs(values.astype(np.float32)).max(axis=1))
    assert beside.plain()["outside_bin"] > 0.9 * values.size


def test_one_dimension_and_an_odd_number() -> None:
    values = weights(1, 129, "float16").reshape(-1)
    for kind, quantiser in QUANTISERS.items():
        made = quantiser(values)
        counts = PairCounts(get_format("float16"), kind)
        counts.add(values, made.codes, made.scales)
        assert counts.plain()["values_in_bins"] == 129
        assert counts.plain()["outside_bin"] == 0


def test_numbers_of_the_papers() -> None:
    """Gaussian weights, papers/qstore.md, sections 7.1 and 7.2, there of 4096 × 4096 values."""
    values = (np.random.default_rng(0).standard_normal((1024, 4096)) * 0.02).astype(ml_dtypes.bfloat16)
    made = quantise_int8(values)
    counts = PairCounts(get_format("bfloat16"), "int8")
    counts.add(values, made.codes, made.scales)
    said = counts.plain()
    assert said["high_entropy"] == pytest.approx(10.464, abs=0.005)
    assert said["low_entropy"] == pytest.approx(7.121, abs=0.01)
    assert said["low_given_scale"] == pytest.approx(7.107, abs=0.02)
    assert said["high_given_low"]["miller_madow"] == pytest.approx(3.355, abs=0.03)
    assert said["high_byte_given_low"]["miller_madow"] == pytest.approx(0.087, abs=0.005)
    assert said["low_byte_given_low"]["miller_madow"] == pytest.approx(3.322, abs=0.03)
    assert said["log2_codes_in_bin"] == pytest.approx(3.380, abs=0.02)
    made = quantise_nf4(values)
    counts = PairCounts(get_format("bfloat16"), "nf4")
    counts.add(values, made.codes, made.scales)
    said = counts.plain()
    assert said["low_entropy"] == pytest.approx(3.885, abs=0.002)
    assert said["low_given_scale"] == pytest.approx(3.865, abs=0.005)
    assert said["high_given_low"]["miller_madow"] == pytest.approx(6.503, abs=0.03)
    both = said["high_byte_given_low"]["miller_madow"] + said["low_byte_given_low"]["miller_madow"]
    assert both == pytest.approx(6.743, abs=0.03)
    assert said["log2_codes_in_bin"] == pytest.approx(6.775, abs=0.05)


@pytest.mark.parametrize("kind", QUANTISERS)
def test_models_in_pairs(kind: Any, mapped: Any, tmp_path: Path) -> None:
    first, second = weights(30, 64, "bfloat16"), weights(12, 33, "bfloat16")
    wide = weights(8, 8, "bfloat16").astype(np.float32)
    tensors = [("a.weight", first), ("norm", first[0]), ("b.weight", second), ("c.weight", wide)]
    high = mapped(tmp_path, {"high": tensors})
    low = quantised(high, kind)
    pairs = pair_tensors(high, low)
    assert len(pairs) == 3
    seen: list[int] = []
    said = pair_distributions(high, low, pairs, seen.append)
    assert set(said) == {f"bfloat16_{kind}"}  # the 32-bit one is left out
    counts = PairCounts(get_format("bfloat16"), kind)
    for values in (first, second):
        made = QUANTISERS[kind](values)
        counts.add(values, made.codes, made.scales)
    assert said[f"bfloat16_{kind}"] == counts.plain()
    assert counts.plain()["tensors"] == 2
    assert sum(seen) == first.nbytes + second.nbytes
    each = [entropy(x.reshape(-1).view(np.uint16)) * x.size for x in (first, second)]
    assert counts.plain()["high_entropy_in_tensor"] == pytest.approx(
        sum(each) / (first.size + second.size), abs=1e-6
    )
