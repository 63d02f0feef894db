"""Differences beside straightforward NumPy, and beside the numbers of papers/fm_delta_bitx.md."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from weightbench.canonical import plain
from weightbench.distributions import delta_distributions
from weightbench.distributions import deltas as deltas_module
from weightbench.distributions.deltas import DeltaCounts
from weightbench.distributions.representations import BLOCK, REPRESENTED
from weightbench.distributions.values import patterns
from weightbench.models.rounding import round_to
from weightcodecs.formats import FORMATS, FloatFormat, get_format

Array = NDArray[Any]
FLOATS = [format for format in FORMATS.values() if format.is_float]


def entropy(*symbols: Array) -> float:
    _, counts = np.unique(np.stack(symbols), axis=1, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def pair(format: FloatFormat, count: int, change: float = 1e-4) -> tuple[Array, Array]:
    random = np.random.default_rng(2)
    base = random.standard_normal(count) * 0.02
    fine = base + random.standard_normal(count) * change
    return base.astype(np.float32).astype(format.dtype), fine.astype(np.float32).astype(format.dtype)


def mixed(format: FloatFormat) -> tuple[Array, Array]:
    """Fine-tuned values, equal ones, random patterns on both sides, zeros."""
    base, fine = pair(format, 2000, 3e-3)
    random = np.random.default_rng(3)
    noise = random.integers(0, 256, (2, 500 * format.nbytes), np.uint8).view(format.dtype)
    zeros = np.array([0.0, -0.0, 0.0, -0.0]).astype(format.dtype)
    base = np.concatenate([base, base[:300], noise[0], zeros])
    return base, np.concatenate([fine, base[:300], noise[1], zeros[::-1]])


def counted(base: Array, fine: Array, format: FloatFormat, total: int | None = None) -> dict[str, Any]:
    counts = DeltaCounts(format, base.size if total is None else total)
    for old, new in zip(np.array_split(base, 2), np.array_split(fine, 2), strict=True):
        counts.add(patterns(old), patterns(new))
    return counts.plain()


def integers(values: Array, *, mapped: bool) -> Array:
    """Patterns, or FM-Delta's integers, as Python integers."""
    width = 8 * values.itemsize
    bits = values.view(f"u{values.itemsize}").astype(object)
    if not mapped:
        return bits
    mapped_bits = [b ^ ((1 << width) - 1) if b >> (width - 1) else b | 1 << (width - 1) for b in bits]
    return np.array(mapped_bits, object)


def classes(base: Array, fine: Array, *, mapped: bool = True) -> Array:
    """Sign times (1 + k) of each delta; 0 for none."""
    delta = integers(fine, mapped=mapped) - integers(base, mapped=mapped)
    return np.array([(1 if d > 0 else -1) * abs(d).bit_length() for d in delta], np.int64)


@pytest.mark.parametrize("format", FLOATS, ids=lambda format: format.name)
def test_counts_are_those_of_numpy(format: FloatFormat) -> None:
    base, fine = mixed(format)
    said, n = counted(base, fine, format), base.size
    a, b = (x.view(format.bits_dtype) for x in (base, fine))
    xor = a ^ b
    flips = [int(((xor >> format.bits_dtype.type(bit)) & format.bits_dtype.type(1)).sum()) for bit in
             reversed(range(format.bits))]  # fmt: skip
    assert said["values"] == n
    assert said["equal"] == np.count_nonzero(a == b)
    assert said["flips"] == flips
    assert said["bit_distance"] == pytest.approx(sum(flips) / n, abs=1e-6)
    found = classes(base, fine)
    for name, sign in (("up", 1), ("down", -1)):
        histogram = np.bincount((sign * found)[sign * found > 0] - 1)
        first = said["classes"][name]["first"]
        assert said["classes"][name]["counts"] == histogram[first:].tolist()
        assert not histogram[:first].any()
    exponent = a >> format.bits_dtype.type(format.mantissa_bits)
    exponent = exponent.astype(np.int64) & (1 << format.exponent_bits) - 1
    assert said["class_entropy"] == pytest.approx(entropy(found), abs=2e-6)
    assert said["class_entropy_given_exponent"] == pytest.approx(
        entropy(exponent, found) - entropy(exponent), abs=2e-6
    )
    assert said["raw_bits"] == pytest.approx(np.maximum(np.abs(found) - 1, 0).mean(), abs=1e-6)
    with np.errstate(invalid="ignore", over="ignore"):
        old, new = base.astype(np.float64), fine.astype(np.float64)
        change = new - old
    finite = np.isfinite(change)
    assert said["changes"]["zero"] == np.count_nonzero(change == 0)
    assert said["changes"]["nonfinite"] == np.count_nonzero(~finite)
    for name, sign in (("up", 1), ("down", -1)):
        power = np.frexp(change[finite & (sign * change > 0)])[1] - 1
        low = said["changes"][name]["first"]
        assert said["changes"][name]["counts"] == np.bincount(np.maximum(power, -1023) - low).tolist()
    with np.errstate(over="ignore"):
        for name, numbers in (("rms_change", change[finite]), ("rms_base", old[finite])):
            expected = np.sqrt((numbers**2).mean())
            assert said[name] == (pytest.approx(expected) if np.isfinite(expected) else None)
    if format.bits <= 16:
        assert said["xor"]["whole"]["entropy"] == pytest.approx(entropy(xor), abs=1e-6)
    for plane, column in zip(said["xor"]["planes"], xor.view(np.uint8).reshape(n, -1).T[::-1], strict=True):
        assert plane["entropy"] == pytest.approx(entropy(column), abs=1e-6)
    assert plain(said, finite=True) == said


@pytest.mark.parametrize("format", FLOATS, ids=lambda format: format.name)
def test_representations_are_those_of_numpy(format: FloatFormat) -> None:
    base, fine = mixed(format)
    said = counted(base, fine, format)["representations"]
    a, b = (x.view(format.bits_dtype) for x in (base, fine))
    wrapped = (integers(fine, mapped=True) - integers(base, mapped=True)) % (1 << format.bits)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = (
            fine - base
            if format.bits >= 32
            else round_to(fine.astype(np.float64) - base.astype(np.float64), format.name)
        )
        words = {
            "float": b,
            "float_delta": difference.view(format.bits_dtype),
            "int_delta": b - a,
            "uint_delta": wrapped.astype(format.bits_dtype),
            "xor": a ^ b,
        }  # fmt: skip
    assert set(said) == {"values", *REPRESENTED}
    assert said["values"] == base.size
    for name, found in words.items():
        columns = found.view(np.uint8).reshape(base.size, -1).T[::-1]
        # NaNs may get another payload from the processor: there are a few among 2,804 values.
        close = {"abs": 0.02 if name == "float_delta" else 1e-6}
        for said_of, column in zip(said[name]["planes"], columns, strict=True):
            assert said_of == pytest.approx(entropy(column), **close)
        if format.bits <= 16:
            assert said[name]["whole"] == pytest.approx(entropy(found), **close)
    expected = {
        "uint_delta": classes(base, fine),
        "int_delta": classes(base, fine, mapped=False),
        "xor": np.array([int(x).bit_length() for x in a ^ b]),
    }
    for name, found in expected.items():
        raw = np.maximum(np.abs(found) - 1, 0).mean()
        assert said[name]["classes"] == pytest.approx(entropy(found) + raw, abs=2e-6)


def test_a_part_of_many_values_is_looked_at_in_other_representations() -> None:
    format = get_format("bfloat16")
    base, fine = pair(format, 20 * BLOCK)
    whole, part = counted(base, fine, format), counted(base, fine, format, total=3 << 22)
    assert part["representations"]["values"] == 7 * BLOCK
    assert {**part, "representations": 0} == {**whole, "representations": 0}
    for name in REPRESENTED:
        assert part["representations"][name]["planes"] == pytest.approx(
            whole["representations"][name]["planes"], abs=0.02
        )


def test_numbers_of_the_papers() -> None:
    """N(0, 0.02) and N(0, 1e-4), papers/fm_delta_bitx.md, sections 1.5 and 3.3."""
    format = get_format("bfloat16")
    said = counted(*pair(format, 1 << 20), format)
    assert said["equal"] / said["values"] == pytest.approx(0.303, abs=0.002)
    assert said["bit_distance"] == pytest.approx(1.666, abs=0.006)
    rates = [.0016, 0, 0, 0, .0019, .0048, .0079, .0141, .0251, .0436, .0748, .1242, .1977, .2955, .4002,
             .4742]  # fmt: skip
    assert np.array(said["flips"]) / said["values"] == pytest.approx(rates, abs=0.0015)
    assert said["class_entropy"] == pytest.approx(2.950, abs=0.01)
    assert said["raw_bits"] == pytest.approx(0.682, abs=0.005)
    assert said["representations"]["uint_delta"]["whole"] == pytest.approx(3.589, abs=0.01)
    assert said["xor"]["whole"]["entropy"] == pytest.approx(4.056, abs=0.01)
    split = said["xor"]["exponent"]["entropy"], said["xor"]["sign_mantissa"]["entropy"]
    assert split == pytest.approx((0.242, 3.936), abs=0.005)
    for name, cost, raw in (("float32", 4.21, 15.37), ("float16", 3.92, 2.64)):
        said = counted(*pair(get_format(name), 1 << 19), get_format(name))
        assert said["class_entropy"] == pytest.approx(cost, abs=0.01)
        assert said["raw_bits"] == pytest.approx(raw, abs=0.01)
    said = counted(*pair(get_format("float32"), 1 << 19), get_format("float32"))
    assert said["bit_distance"] == pytest.approx(9.66, abs=0.01)
    assert said["rms_change"] == pytest.approx(1e-4, rel=0.005)
    assert said["rms_base"] == pytest.approx(0.02, rel=0.005)
    # Most of the class is the base's exponent: at equal change it says how long the delta is.
    assert said["class_entropy_given_exponent"] < said["class_entropy"] - 0.5


def test_models_are_compared_where_they_match(
    mapped: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas_module, "PIECE", 1000)
    format = get_format("float32")
    base, fine = (x.reshape(-1, 16) for x in pair(format, 16 * 200))
    half, ids = np.ones(7, np.float16), np.arange(5)
    old = mapped(tmp_path, {"old": [("w", base), ("n", half), ("ids", ids), ("gone", base[:9, :4])]})
    new = mapped(tmp_path, {"new": [("w", fine[:150]), ("n", half), ("ids", ids), ("fresh", half[:0])]})
    seen: list[int] = []
    [said] = delta_distributions([(new, old)], seen.append)
    assert (said["model"], said["base"], set(said["formats"])) == ("test", "test", {"float32", "float16"})
    expected = counted(base[:150].reshape(-1), fine[:150].reshape(-1), format)
    for numbers in (expected, said["formats"]["float32"]):  # sums of floats depend on the order
        assert numbers.pop("rms_change") == pytest.approx(1e-4, rel=0.1)
        assert numbers.pop("rms_base") == pytest.approx(0.02, rel=0.1)
    assert said["formats"]["float32"] == {**expected, "tensors": 1}
    assert said["formats"]["float16"]["equal"] == said["formats"]["float16"]["values"] == 7
    assert sum(seen) == 150 * 16 * 4 + 14


def test_rows_stay_small(mapped: Any, tmp_path: Any) -> None:
    base, fine = pair(get_format("float32"), 20_000, 3e-3)
    old, new = (mapped(tmp_path, {name: [("w", w)]}) for name, w in (("old", base), ("new", fine)))
    said = delta_distributions([(new, old)] * 20)
    assert "flips" in said[8]["formats"]["float32"]
    assert "flips" not in said[9]["formats"]["float32"]
    assert len(json.dumps(said[:9])) < 25_000
    assert len(json.dumps(said[9:])) < 1_600 * 11
