from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from weightbench.verify import check
from weightbench.verify.kernel import all_errors, errors_inside, errors_reference, may_exceed
from weightcodecs import FORMATS, get_codec


@pytest.mark.parametrize("size", [1, 7, 1000, 65_536])
@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-310])
def test_kernel_equals_its_reference(size: int, scale: float) -> None:
    rng = np.random.default_rng(size)
    x = rng.standard_normal(size) * scale
    x[rng.random(size) < 0.3] = 0.0
    x[rng.random(size) < 0.1] = -0.0
    y = x + rng.standard_normal(size) * scale * 1e-3 * (rng.random(size) < 0.5)
    y[rng.random(size) < 0.1] *= -1
    found, expected = all_errors(x, y), errors_reference(x, y)
    assert found[:6] == expected[:6]
    assert found[8:] == expected[8:]
    assert found[6:8] == pytest.approx(expected[6:8], rel=1e-9, abs=1e-12 * scale * size)


def test_ends_of_float64() -> None:
    top = np.finfo(np.float64).max
    x, y = np.array([top, 1.0]), np.array([-top, 1.0])
    assert all_errors(x, y).top == np.inf


def test_float32_equals_its_reference() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(5000).astype(np.float32)
    x[rng.random(x.size) < 0.1] = 0.0
    y = np.where(rng.random(x.size) < 0.5, x, x + np.float32(1e-4)).astype(np.float32)
    found, expected = all_errors(x, y), errors_reference(x, y)
    assert found[:6] == expected[:6]
    assert found[8:] == expected[8:]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_residues_decide_between_equal_rounded_errors(dtype: type) -> None:
    bound = 2.0**-24
    tiny = float(np.finfo(dtype).tiny)
    for y, x in [
        (bound, -tiny),
        (bound, tiny),
        (bound, 0.0),
        (-bound, tiny),
        (-bound, -tiny),
        (bound, bound),
    ]:
        a, b = np.array([x], dtype), np.array([y], dtype)
        exceeds = abs(Fraction(float(b[0])) - Fraction(float(a[0]))) > Fraction(bound)
        assert may_exceed(a, b, bound) == exceeds


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 511, 512, 5000])
def test_survey_of_values_inside_equals_the_reference(name: str, size: int) -> None:
    format = FORMATS[name]
    rng = np.random.default_rng(size)
    x: Any = (rng.standard_normal(size) * 0.02).astype(format.dtype)
    x[rng.random(size) < 0.01] = 0
    y: Any = (np.rint(x.astype(np.float64) * 2**12) * 2.0**-12).astype(format.dtype)
    found = errors_inside(x, y, format, 2.0**-8, 0.0, 0.0)
    expected = errors_reference(x, y)
    assert found[:6] == expected[:6]
    assert found[8:] == expected[8:]
    assert found[6:8] == pytest.approx(expected[6:8], rel=1e-9, abs=1e-12)


def test_every_float16_is_widened() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for one in every[np.isfinite(every)][::37]:
        found = errors_inside(np.array([one]), np.array([one]), FORMATS["float16"], 1.0, 0.0, 0.0)
        assert (found.values, found.smallest, found.largest) == (1, float(one), float(one))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_survey_stops_before_what_is_not_finite(name: str, odd: float) -> None:
    x: Any = np.full(2000, 0.25).astype(FORMATS[name].dtype)
    for first, second in ((odd, odd), (odd, 0.25), (0.25, odd)):
        a, b = np.copy(x), np.copy(x)
        a[1500], b[1500] = first, second
        assert errors_inside(a, b, FORMATS[name], 1.0, 0.0, 0.0).values == 1024


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_value_beyond_is_found_among_many(dtype: type) -> None:
    codec = get_codec("elf", error_bound_absolute=2.0**-10)
    x = np.full(200_000, 0.25, dtype)
    y = x + dtype(2.0**-11)
    assert not check(codec, x, y)[0].violated
    y[-1] = np.nextafter(dtype(0.25 + 2.0**-11), dtype(1))
    verdict = check(codec, x, y)[0]
    bound = verdict.bound.absolute
    assert verdict.violated == (float(y[-1]) - 0.25 > bound)
    y[-1] = np.nextafter(dtype(0.25 + bound), dtype(1))
    verdict = check(codec, x, y)[0]
    assert verdict.violated
    assert verdict.beyond_bound == 1
    assert verdict.violation is not None
    assert verdict.violation.index == x.size - 1
