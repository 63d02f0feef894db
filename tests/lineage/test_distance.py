"""Bit distance: kernels, exact values, intervals, thresholds, formats."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import BF16, Make, tuned, weights

from weightbench import zoo
from weightbench.lineage import bit_distance
from weightbench.lineage.expected import expected_distance, expected_independent
from weightbench.lineage.sampling import places
from weightbench.models import ZooSource, cast, open_model
from weightcodecs.errors import UnknownNameError
from weightcodecs.formats import FORMATS
from weightcodecs.kernels.bit_distance import (
    block_distances,
    count_bits,
    differing_bits_reference,
    masked_distances,
    repeated,
    set_moments,
)

FLOATS = [name for name, format in FORMATS.items() if format.is_float]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("count", [1, 7, 8, 1000, 8193])
def test_kernels(dtype, count: int) -> None:
    rng = np.random.default_rng(count)
    a, b = rng.integers(0, np.iinfo(dtype).max, (2, count), dtype, endpoint=True)
    bits = np.dtype(dtype).itemsize * 8
    firsts = np.sort(np.append(rng.integers(0, count + 1, 4), [0, count]))
    counts = np.ones((5, bits), np.int64)
    count_bits(a, firsts, counts)
    for row, values in zip(counts, np.split(a, firsts[1:-1]), strict=True):
        assert row.tolist() == [int(np.sum((values >> dtype(bit)) & dtype(1))) + 1 for bit in range(bits)]
    ends = np.unique(np.append(rng.integers(1, count + 1, 5), count))
    found = np.empty(ends.size)
    block_distances(a, b, ends, found)
    parts = np.split(differing_bits_reference(a, b), ends[:-1])
    np.testing.assert_allclose(found, [part.sum() for part in parts], rtol=0)

    masks = rng.integers(0, np.iinfo(dtype).max, ends.size, dtype)
    words = np.array([repeated(int(mask), bits) for mask in masks], np.uint64)
    masked_distances(a, b, ends, words, masked := np.empty(ends.size))
    pairs = zip(np.split(a ^ b, ends[:-1]), masks, strict=True)
    assert masked.tolist() == [int(np.bitwise_count(part & mask).sum(dtype=int)) for part, mask in pairs]

    first = np.array([0, max(1, ends.size // 2), ends.size])
    first = np.unique(first)
    lengths = np.diff(ends, prepend=0).astype(float)
    means, variances = np.empty((2, first.size - 1))
    set_moments(found, lengths, first, means, variances)
    for j in range(first.size - 1):
        part = slice(first[j], first[j + 1])
        assert means[j] == pytest.approx(found[part].sum() / lengths[part].sum())
        steps = np.diff(found[part] / lengths[part])
        expected = np.square(steps).mean() / 2 / found[part].size if steps.size else 0
        assert variances[j] == pytest.approx(expected)


@given(st.integers(1, 1 << 40), st.floats(1e-9, 1), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_places_are_inside_apart_and_in_order(count: int, rate: float, seed: int) -> None:
    rate = min(rate, 1e5 / count)
    found = places(count, rate, seed)
    ends = found.starts + found.lengths
    assert found.starts[0] >= 0
    assert ends[-1] <= count
    assert (ends[:-1] <= found.starts[1:]).all()
    assert (found.lengths >= min(count, 16)).all()
    assert (found.lengths < 32).all()
    if found.starts.size == found.blocks:
        assert found.lengths.sum() == count


def reference(base, other) -> float:
    def patterns(values):
        return values.view(f"u{values.itemsize}")

    flips = [differing_bits_reference(patterns(base[name]), patterns(other[name])) for name in base]
    return sum(int(f.sum()) for f in flips) / sum(f.size for f in flips)


@pytest.mark.parametrize("format", FLOATS)
def test_every_format(make: Make, format: str) -> None:
    dtype = FORMATS[format].dtype
    base = weights(0, dtype=np.float64 if format == "float64" else np.float32)
    other, stranger = tuned(base, 1, 1e-3), weights(7)
    base, other, stranger = ({n: v.astype(dtype) for n, v in t.items()} for t in (base, other, stranger))
    a, b, c = make("a", base), make("b", other), make("c", stranger)
    exact = bit_distance(a, b, samples=None)
    assert exact is not None
    assert exact.bits == pytest.approx(reference(base, other), rel=1e-12)
    assert exact.low == exact.bits == exact.high
    assert sum(exact.per_bit[format]) == pytest.approx(exact.bits)
    assert len(exact.per_bit[format]) == FORMATS[format].bits
    assert exact.related
    sampled = bit_distance(a, b, samples=20_000)
    assert sampled is not None
    assert abs(sampled.bits - exact.bits) < 5 * (sampled.high - sampled.low + 1e-9)
    assert sampled.related
    assert sampled.samples < exact.samples
    apart = bit_distance(a, c)
    assert apart is not None
    assert not apart.related
    assert apart.decisive
    assert apart.bits == pytest.approx(apart.independent, abs=0.05)


def test_symmetry_and_zero(make: Make) -> None:
    base = weights(0)
    a, b = make("a", base), make("b", tuned(base, 1))
    for samples in (2000, None):
        forth, back = bit_distance(a, b, samples=samples), bit_distance(b, a, samples=samples)
        assert forth == back
        same = bit_distance(a, a, samples=samples)
        assert same is not None
        assert same.bits == same.low == 0
        assert same.related
        assert (same.high == 0) == (samples is None)
        assert same.entropy == 0


def test_equal_constants_are_related_and_nothing_is_not_compared(make: Make) -> None:
    zeros = {"w": np.zeros((64, 64), np.float32)}
    same = bit_distance(make("a", zeros), make("b", zeros))
    assert same is not None
    assert same.related
    assert bit_distance(make("c", zeros), make("d", {"v": np.zeros((8, 8), np.float32)})) is None
    assert bit_distance(make("e", {"n": np.arange(4)}), make("f", {"n": np.arange(4)})) is None


@pytest.mark.parametrize("by", [1e-6, 1e-4, 1e-3])
def test_the_interval_covers_the_exact_value(make: Make, by: float) -> None:
    base = weights(0)
    scaled = {name: values * (1 + np.arange(values.shape[0]).reshape(-1, *[1] * (values.ndim - 1)) % 7)
              for name, values in base.items()}  # fmt: skip
    scaled = {name: values.astype(np.float32) for name, values in scaled.items()}  # rows of unlike sizes
    a, b = make("a", scaled), make("b", tuned(scaled, 1, by))
    exact = bit_distance(a, b, samples=None)
    found = [bit_distance(a, b, samples=4096, seed=seed) for seed in range(100)]
    assert exact is not None
    assert sum(d is not None and d.low <= exact.bits <= d.high for d in found) >= 90
    assert all(d is not None and d.related for d in found)


def test_rare_changes_are_covered_too(make: Make) -> None:
    base = weights(0)
    changed = {name: values.copy() for name, values in base.items()}
    changed["model.embed_tokens.weight"][7, 3] += 1
    a, b = make("a", base), make("b", changed)
    exact = bit_distance(a, b, samples=None)
    found = [bit_distance(a, b, samples=4096, seed=seed) for seed in range(20)]
    assert exact is not None
    assert exact.bits > 0
    assert all(d is not None and d.low <= exact.bits <= d.high for d in found)


def test_strangers_stay_apart_whatever_the_seed(make: Make) -> None:
    one, two = make("one", weights(1, dtype=BF16)), make("two", weights(2, dtype=BF16))
    for seed in range(100):
        found = bit_distance(one, two, samples=4096, seed=seed)
        assert found is not None
        assert not found.related


@pytest.mark.parametrize("table", ["mask", "positions"])
def test_equal_tables_relate_nobody(make: Make, table: str) -> None:
    at = np.arange(96, dtype=np.float32)
    values = np.tril(np.ones((96, 96))) if table == "mask" else np.sin(np.outer(at, at / 300))
    tables = {f"attn.{i}.bias": values.astype(np.float32) for i in range(2)}
    one, two = weights(1) | tables, weights(2) | tables
    found = bit_distance(make("one", one), make("two", two))
    assert found is not None
    assert found.bits < found.independent - 0.5
    assert (found.high < found.threshold) == (table == "positions")
    assert found.agreeing < 0.4
    assert not found.related


def test_rows_of_like_sizes_relate_nobody(make: Make) -> None:
    """Embeddings of strangers that share a tokenizer: rare tokens are small in both."""
    sizes = np.exp(np.random.default_rng(5).standard_normal((256, 1))).astype(np.float32)
    one, two = weights(1), weights(2)
    for tensors in (one, two):
        tensors["model.embed_tokens.weight"] *= sizes
    found = bit_distance(make("one", one), make("two", two))
    assert found is not None
    assert found.bits < found.independent - 0.05
    assert not found.related
    assert found.high > found.threshold


def test_another_dtype_is_cast_down(make: Make) -> None:
    base = weights(0)
    wide = make("wide", base)
    narrow = make("narrow", {name: values.astype(BF16) for name, values in tuned(base, 1).items()})
    found, back = bit_distance(wide, narrow), bit_distance(narrow, wide)
    assert found is not None
    assert found == back
    assert found.cast == "bfloat16"
    assert found.related
    direct = bit_distance(cast(wide, "bfloat16"), narrow)
    assert direct is not None
    assert (direct.bits, direct.cast) == (found.bits, "")
    half = make("half", weights(0, dtype=np.float16))
    assert bit_distance(half, narrow) is None


def test_few_values_do_not_decide(make: Make) -> None:
    a, b = ({"w": np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32)} for seed in (1, 2))
    found = bit_distance(make("a", a), make("b", b))
    assert found is not None
    assert not found.decisive
    assert not found.related


def test_the_zoo(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [open_model(ZooSource(name)) for name in zoo.names()]
    for a, b in combinations(models, 2):
        exact, sampled = bit_distance(a, b, samples=None), bit_distance(a, b)
        assert exact is not None
        assert sampled is not None
        assert exact.related
        assert sampled.related
        assert abs(sampled.bits - exact.bits) < 0.05
    distances = [bit_distance(models[0], model, samples=None) for model in models[1:]]
    bits = [d.bits for d in distances if d is not None]
    assert bits == sorted(bits)  # the zoo's entries are in order of their changes


CALIBRATION = {
    0.01: [0.12, 0.69, 1.31, 2.16, 2.94, 3.79, 4.58, 5.47, 5.83, 5.97, 6.03],
    0.02: [0.07, 0.42, 0.89, 1.67, 2.45, 3.31, 4.09, 4.97, 5.37, 5.78, 5.73],
    0.05: [0.03, 0.21, 0.48, 1.05, 1.79, 2.65, 3.42, 4.26, 4.68, 5.40, 5.54],
}
"""Expected distances in bfloat16 by σ_w: for the changes below, independent of equal σ, and of σ = 0.03."""
CHANGES = [1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 2e-2]


@pytest.mark.parametrize("sigma", CALIBRATION)
def test_gaussian_calibration(sigma: float) -> None:
    found = [expected_distance(sigma, change) for change in CHANGES]
    found += [expected_independent(sigma, sigma), expected_independent(sigma, 0.03)]
    np.testing.assert_allclose(found, CALIBRATION[sigma], atol=0.05)


def test_measured_distances_of_gaussians_are_the_expected_ones(make: Make) -> None:
    rng = np.random.default_rng(0)
    base = {"w": (rng.standard_normal((512, 512)) * 0.02).astype(np.float32)}
    other = {"w": (base["w"] + rng.standard_normal((512, 512)) * 1e-3).astype(BF16)}
    found = bit_distance(make("a", {"w": base["w"].astype(BF16)}), make("b", other), samples=None)
    assert found is not None
    assert found.bits == pytest.approx(expected_distance(0.02, 1e-3), abs=0.02)
    assert found.independent == pytest.approx(expected_independent(0.02, 0.02), abs=0.02)


def test_expectations_ask_for_sense() -> None:
    assert expected_distance(0.02, 0.0) == 0
    with pytest.raises(ValueError, match="positive"):
        expected_distance(0.0, 1.0)
    with pytest.raises(ValueError, match="positive"):
        expected_independent(1.0, -1.0)
    with pytest.raises(UnknownNameError):
        expected_distance(1.0, 1.0, "bfloat17")
