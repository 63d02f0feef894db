"""Casting: correct rounding, overflow policies, files, identity."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from weightbench.models import (
    CastOverflowError,
    LocalSource,
    Model,
    SyntheticSource,
    UnknownModelError,
    cast,
    open_model,
)
from weightbench.models.rounding import round_to
from weightcodecs.formats import get_format

Reassemble = Callable[[Model], dict[str, bytes]]
NARROW = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


def finite_values(name: str) -> np.ndarray:
    """Every finite value of a narrow format, ascending, as float64 (exact)."""
    fmt = get_format(name)
    with np.errstate(invalid="ignore"):  # signalling NaN
        every = np.arange(1 << fmt.bits, dtype=fmt.bits_dtype).view(fmt.dtype).astype(np.float64)
    return np.unique(every[np.isfinite(every)])


TABLES = {name: finite_values(name) for name in NARROW}


def nearest(value: float, name: str) -> float:
    """Round to nearest even with exact arithmetic; for values within the range of the format."""
    table = TABLES[name]
    above = int(np.searchsorted(table, value))
    if table[above] == value:
        return value
    low, high = table[above - 1], table[above]
    down, up = Fraction(value) - Fraction(low), Fraction(high) - Fraction(value)
    if down != up:
        return float(low if down < up else high)
    bits = np.array([low, high]).astype(get_format(name).dtype).view(get_format(name).bits_dtype)
    return float(low if bits[0] % 2 == 0 else high)


@given(st.data())
def test_rounds_once_to_nearest_even(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NARROW))
    table = TABLES[name]
    index = data.draw(st.integers(1, len(table) - 2))
    # around the middle of two neighbours, where rounding twice goes wrong
    middle = (table[index] + table[index + 1]) / 2
    steps = data.draw(st.integers(-3, 3))
    value = middle
    for _ in range(abs(steps)):
        value = np.nextafter(value, np.inf if steps > 0 else -np.inf)
    got = round_to(np.array([value]), name).astype(np.float64)[0]
    assert got == nearest(float(value), name)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(NARROW))
def test_rounds_float32(value: float, name: str) -> None:
    if abs(value) > TABLES[name][-1]:
        return
    assert round_to(np.array([value], np.float32), name).astype(np.float64)[0] == nearest(value, name)


def test_special_values_stay() -> None:
    values = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0])
    for name in ("float16", "bfloat16", "float8_e5m2", "float32"):
        back = round_to(values, name).astype(np.float64)
        np.testing.assert_array_equal(back, values)
        assert np.signbit(back[3])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    save_file(
        {
            "wide": rng.standard_normal((1 << 10, 1 << 11)).astype(np.float32),
            "double": rng.standard_normal(50),
            "half": rng.standard_normal(33).astype(np.float16),
            "ids": np.arange(7),
            "mask": np.array([True, False]),
        },
        tmp_path / "model.safetensors",
    )
    return tmp_path


@pytest.mark.parametrize("dtype", ["float64", "float32", *NARROW])
def test_floats_are_cast_and_the_rest_stays(folder: Path, dtype: str, reassemble: Reassemble) -> None:
    original = open_model(LocalSource(str(folder)))
    model = cast(original, dtype)
    assert set(reassemble(model)) == {"model.safetensors"}
    for name, info in original.tensors.items():
        got, before = model.read(name), original.read(name)
        if get_format(info.format).is_float:
            assert got.dtype.name == dtype
            assert got.tobytes() == round_to(before, dtype).tobytes()
        else:
            assert got.dtype == before.dtype
            assert got.tobytes() == before.tobytes()
    assert model.elements("wide", 5, 9).tobytes() == model.read("wide").reshape(-1)[5:9].tobytes()
    model.drop("wide")


def test_revisions_differ(folder: Path) -> None:
    original = open_model(LocalSource(str(folder)))
    revisions = {original.revision()}
    revisions |= {cast(original, dtype).revision() for dtype in NARROW}
    revisions.add(cast(original, "bfloat16", overflow="saturate").revision())
    assert len(revisions) == 6
    assert cast(original, "bfloat16").revision() == cast(original, "bfloat16").revision()


def test_nothing_to_cast_is_the_model_itself() -> None:
    model = open_model(SyntheticSource(shapes=[(2, 2)], dtype="bfloat16"))
    assert cast(model, "bfloat16") is model


def test_a_generated_model_is_cast_lazily() -> None:
    model = cast(open_model(SyntheticSource(shapes="llama3_8b", nbytes=10**10)), "float16")
    assert model.read("model.norm.weight").dtype == np.float16
    assert len(model.read_range("model.safetensors", model.nbytes - 5, 5)) == 5


@pytest.mark.parametrize("dtype", NARROW)
def test_overflow_is_never_silent(tmp_path: Path, dtype: str) -> None:
    values = np.array([1.0, 3.4e38, -3.4e38, 1e5], np.float32)
    save_file({"big": values, "fine": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    original = open_model(LocalSource(str(tmp_path)))
    with pytest.raises(CastOverflowError, match=r"'big'.*overflow=saturate"):
        cast(original, dtype).read("big")
    assert cast(original, dtype).read("fine").astype(float).tolist() == [1, 1, 1]
    largest = float(ml_dtypes.finfo(get_format(dtype).dtype).max)
    saturated = cast(original, dtype, overflow="saturate").read("big").astype(float)
    assert saturated[1:3].tolist() == [largest, -largest]
    ieee = cast(original, dtype, overflow="ieee").read("big").astype(float)
    assert not np.isfinite(ieee[1:3]).any()


def test_infinities_are_no_overflow_where_the_format_has_them(tmp_path: Path) -> None:
    save_file({"a": np.array([np.inf, -np.inf, np.nan], np.float32)}, tmp_path / "model.safetensors")
    original = open_model(LocalSource(str(tmp_path)))
    np.testing.assert_array_equal(
        cast(original, "float8_e5m2").read("a").astype(float), [np.inf, -np.inf, np.nan]
    )
    with pytest.raises(CastOverflowError):
        cast(original, "float8_e4m3fn").read("a")
    saturated = cast(original, "float8_e4m3fn", overflow="saturate").read("a").astype(float)
    np.testing.assert_array_equal(saturated, [448, -448, np.nan])


def test_unknown_names_are_refused() -> None:
    model = open_model(SyntheticSource(shapes=[(2, 2)]))
    with pytest.raises(UnknownModelError, match="did you mean 'float16'"):
        cast(model, "flaot16")
    with pytest.raises(UnknownModelError, match="unknown dtype"):
        cast(model, "int8")
    with pytest.raises(UnknownModelError, match="saturate"):
        cast(model, "float16", overflow="saturated")  # type: ignore[arg-type]
