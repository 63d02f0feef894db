from fractions import Fraction

import numpy as np
import pytest

from weightbench.verify import check
from weightbench.verify.kernel import block_errors, block_errors_reference, count_nonfinite, may_exceed
from weightcodecs import get_codec


@pytest.mark.parametrize("size", [1, 7, 1000, 65_536])
@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-310])
def test_kernel_equals_its_reference(size: int, scale: float) -> None:
    rng = np.random.default_rng(size)
    x = rng.standard_normal(size) * scale
    x[rng.random(size) < 0.3] = 0.0
    x[rng.random(size) < 0.1] = -0.0
    y = x + rng.standard_normal(size) * scale * 1e-3 * (rng.random(size) < 0.5)
    y[rng.random(size) < 0.1] *= -1
    found = block_errors(x, y, x.view(np.int64), y.view(np.int64))
    expected = block_errors_reference(x, y, x.view(np.int64), y.view(np.int64))
    assert found[:5] == expected[:5]
    assert found[7:] == expected[7:]
    assert found[5:7] == pytest.approx(expected[5:7], rel=1e-9, abs=1e-12 * scale * size)


def test_ends_of_float64() -> None:
    top = np.finfo(np.float64).max
    x, y = np.array([top, 1.0]), np.array([-top, 1.0])
    assert block_errors(x, y, x.view(np.int64), y.view(np.int64))[2] == np.inf


def test_float32_equals_its_reference() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(5000).astype(np.float32)
    x[rng.random(x.size) < 0.1] = 0.0
    y = np.where(rng.random(x.size) < 0.5, x, x + np.float32(1e-4)).astype(np.float32)
    found = block_errors(x, y, x.view(np.int32), y.view(np.int32))
    expected = block_errors_reference(x, y, x.view(np.int32), y.view(np.int32))
    assert found[:5] == expected[:5]
    assert found[7:] == expected[7:]


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


def test_nonfinite_are_counted() -> None:
    values = np.array([1.0, np.inf, -np.inf, np.nan, 3e38], np.float32)
    patterns = values.view(np.uint32)
    assert count_nonfinite(patterns, patterns, np.uint32(0x7F800000)) == 3
    assert count_nonfinite(patterns, patterns[::-1].copy(), np.uint32(0x7F800000)) == 3


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
