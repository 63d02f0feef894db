"""Counts of values beside straightforward NumPy, and beside numbers known from theory."""

from __future__ import annotations

import heapq
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from weightbench.canonical import plain
from weightbench.distributions import value_distributions
from weightbench.distributions import values as values_module
from weightbench.distributions.counting import huffman_total_bits
from weightbench.distributions.distinct import MOST, DistinctPatterns
from weightbench.distributions.entropies import entropy_bits, trimmed
from weightbench.distributions.values import ValueCounts, patterns
from weightcodecs.formats import FORMATS, FloatFormat, get_format

Array = NDArray[Any]
FLOATS = [format for format in FORMATS.values() if format.is_float]


def bits_of(values: Array) -> Array:
    return values.reshape(-1).view(f"u{values.itemsize}")


def entropy(symbols: Array) -> float:
    _, counts = np.unique(symbols, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def huffman(symbols: Array) -> float:
    _, counts = np.unique(symbols, return_counts=True)
    heap, total = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total / symbols.size


def gaussian(count: int, dtype: Any, scale: float = 0.02, seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_normal(count) * scale).astype(np.float32).astype(dtype)


def mixed(format: FloatFormat, count: int = 5000) -> Array:
    """Weights, random bit patterns, zeros of both signs."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, count * format.nbytes, np.uint8).view(format.dtype)
    zeros = np.array([0.0, -0.0] * 50).astype(format.dtype)
    return np.concatenate([gaussian(count, format.dtype, 0.5), noise, zeros])


def counted(values: Array, format: FloatFormat) -> dict[str, Any]:
    counts = ValueCounts(format)
    for part in np.array_split(values, 3):
        counts.add(patterns(part))
    return counts.plain()


def same_costs(said: dict[str, Any], symbols: Array) -> None:
    assert said["entropy"] == pytest.approx(entropy(symbols), abs=1e-6)
    lone = np.unique(symbols).size < 2
    assert said["huffman"] == pytest.approx(0.0 if lone else huffman(symbols), abs=1e-6)


@pytest.mark.parametrize("format", FLOATS, ids=lambda format: format.name)
@pytest.mark.parametrize("kind", ["mixed", "gaussian", "one"])
def test_counts_are_those_of_numpy(format: FloatFormat, kind: str) -> None:
    made = {"mixed": mixed(format), "gaussian": gaussian(3001, format.dtype)}
    values = made.get(kind, np.ones(1, format.dtype))
    said, bits = counted(values, format), bits_of(values).astype(np.uint64)
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    exponent = bits >> np.uint64(format.mantissa_bits) & np.uint64((1 << format.exponent_bits) - 1)
    mantissa = bits & np.uint64((1 << format.mantissa_bits) - 1)
    sign = bits >> np.uint64(format.bits - 1)
    assert said["values"] == values.size
    assert said["zeros"] == np.count_nonzero(wide == 0)
    assert said["subnormals"] == np.count_nonzero((exponent == 0) & (mantissa != 0))
    assert said["nonfinite"] == np.count_nonzero(~np.isfinite(wide))
    assert said["below_one"] == np.count_nonzero(np.abs(wide) < 1)
    assert said["negative"] == np.count_nonzero(sign)
    histogram = np.bincount(exponent.astype(np.int64))
    first = int(np.flatnonzero(histogram)[0])
    assert (said["exponent"]["first"], said["exponent"]["counts"]) == (first, histogram[first:].tolist())
    assert said["exponent"]["distinct"] == np.count_nonzero(histogram)
    assert said["exponent"]["share_of_12"] == np.sort(histogram)[::-1][:12].sum() / values.size
    same_costs(said["exponent"], exponent)
    same_costs(said["sign"], sign)
    at, top = format.mantissa_bits, None
    for piece in said["mantissa"]:
        at -= piece["bits"]
        symbols = mantissa >> np.uint64(at) & np.uint64((1 << piece["bits"]) - 1)
        top = symbols if top is None else top
        same_costs(piece, symbols)
    assert at == 0
    assert all(piece["bits"] == 8 for piece in said["mantissa"][1:])
    assert top is not None
    width = said["mantissa"][0]["bits"]
    assert said["sign_mantissa"]["bits"] == width + 1
    same_costs(said["sign_mantissa"], sign << np.uint64(width) | top)
    raw = values.view(np.uint8).reshape(-1, format.nbytes)
    assert len(said["planes"]) == format.nbytes
    for plane, column in zip(said["planes"], raw.T[::-1], strict=True):
        same_costs(plane, column)
    same_costs(said["bytes"], raw.reshape(-1))
    assert said["whole"]["distinct"] == np.unique(bits).size
    assert said["whole"]["sampled"] == 1.0
    if format.bits <= 16:
        same_costs(said["whole"], bits)


@pytest.mark.parametrize("format", FLOATS, ids=lambda format: format.name)
def test_nothing_is_counted_of_nothing(format: FloatFormat) -> None:
    said = ValueCounts(format).plain()
    assert said["values"] == said["zeros"] == said["subnormals"] == said["nonfinite"] == 0
    assert said["exponent"]["counts"] == []
    assert said["whole"]["distinct"] == 0
    assert plain(said, finite=True) == said


def test_a_model_is_counted_by_format(mapped: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "PIECE", 100)
    first, second = gaussian(333, np.float32), gaussian(40, np.float32, seed=3).reshape(8, 5)
    model = mapped(
        tmp_path,
        {
            "a": [
                ("one", first),
                ("ids", np.arange(9)),
                ("two", second),
                ("none", first[:0]),
                ("half", first.astype(np.float16)),
            ]
        },
        gap=3,
    )
    seen: list[int] = []
    said = value_distributions([model, model], seen.append)
    assert set(said) == {"float32", "float16"}
    both = np.concatenate([first, second.reshape(-1)] * 2)
    assert said["float32"] == counted(both, get_format("float32"))
    assert sum(seen) == 2 * (373 * 4 + 333 * 2)


def test_a_gaussians_exponents_are_as_theory_says() -> None:
    """2.546 bits, 26 exponents, the 12 most frequent 99.88 %, mode 121 (papers/elf_zipnn.md, E5)."""
    edges = 2.0 ** np.arange(-60, 6)
    share = np.diff(2 * norm.cdf(edges / 0.02) - 1)
    share = share[share > 0]
    expected = float(-(share * np.log2(share)).sum())
    assert expected == pytest.approx(2.546, abs=0.001)
    for name in ("float32", "bfloat16"):
        format = get_format(name)
        said = counted(gaussian(1 << 20, format.dtype), format)
        assert said["exponent"]["entropy"] == pytest.approx(expected, abs=0.01)
        assert said["exponent"]["first"] + int(np.argmax(said["exponent"]["counts"])) == 121
        assert said["exponent"]["share_of_12"] == pytest.approx(0.9988, abs=0.0003)
        assert said["sign"]["huffman"] == 1.0
        assert said["below_one"] == 1 << 20


def test_what_is_known_of_gaussians_in_16_bits() -> None:
    """H(bf16) = 10.464 bits, H(fp16) = 13.458 (papers/qstore.md, section 7), in 16 M values."""
    for name, bits in (("bfloat16", 10.464), ("float16", 13.458)):
        said = counted(gaussian(1 << 21, get_format(name).dtype), get_format(name))
        # The plug-in estimate of fewer values is lower, by about (different values − 1) / (2 N ln 2).
        bias = said["whole"]["distinct"] / (2 * (1 << 21) * np.log(2))
        assert said["whole"]["entropy"] + bias == pytest.approx(bits, abs=0.005)
        assert said["whole"]["entropy"] <= said["whole"]["huffman"] < said["whole"]["entropy"] + 0.06


def test_values_on_a_coarser_grid_show_it() -> None:
    values = gaussian(50_000, ml_dtypes.bfloat16).astype(np.float32)
    said = counted(values, get_format("float32"))
    assert [piece["entropy"] for piece in said["mantissa"][1:]] == [0.0, 0.0]
    assert said["planes"][2:] == [{"bits": 8, "entropy": 0.0, "huffman": 0.0}] * 2
    assert said["whole"]["distinct"] == np.unique(values).size


@pytest.mark.parametrize("nbytes", [4, 8])
def test_many_distinct_patterns_are_estimated(nbytes: int) -> None:
    random = np.random.default_rng(4)
    words = random.integers(0, np.iinfo(f"u{nbytes}").max, 3 * MOST, f"u{nbytes}")
    count = DistinctPatterns(nbytes)
    for _ in range(2):
        for part in np.array_split(words, 5):
            count.add(part)
    assert count.sampled in (0.25, 0.125)
    assert count.count == pytest.approx(np.unique(words).size, rel=0.01)  # four standard errors


def test_few_distinct_patterns_are_exact_and_zero_is_one() -> None:
    count = DistinctPatterns(4)
    count.add(np.arange(70_000, dtype=np.uint32) % 60_000)
    assert (count.count, count.sampled) == (60_000, 1.0)


@pytest.mark.parametrize("counts", [[], [5], [0, 3, 0], [1, 1], [1, 2, 3, 4, 100], [7] * 8])
def test_huffman_codes_and_entropies_of_counts(counts: list[int]) -> None:
    array = np.array(counts, np.int64)
    symbols = np.repeat(np.arange(len(counts)), counts)
    if np.count_nonzero(array) < 2:
        assert huffman_total_bits(array) == 0
        assert entropy_bits(array) == 0.0
        return
    assert huffman_total_bits(array) == round(huffman(symbols) * symbols.size)
    assert entropy_bits(array) == pytest.approx(entropy(symbols))


def test_histograms_are_trimmed() -> None:
    assert trimmed(np.array([0, 0, 3, 0, 4, 0]), -10) == {"first": -8, "counts": [3, 0, 4]}
    assert trimmed(np.zeros(4, np.int64)) == {"first": 0, "counts": []}
