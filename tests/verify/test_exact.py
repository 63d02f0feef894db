"""The bound comparison against rational arithmetic, on values at and beside the bound."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weightbench.verify.exact import exceeds_absolute, exceeds_relative

finite = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


def truth_absolute(x: float, y: float, bound: float) -> bool:
    return abs(Fraction(y) - Fraction(x)) > Fraction(bound)


def truth_relative(x: float, y: float, bound: float) -> bool:
    return abs(Fraction(y) - Fraction(x)) > Fraction(bound) * abs(Fraction(x))


@settings(max_examples=300, deadline=None)
@given(finite, finite, bounds)
@example(1e308, -1e308, 1.0)
@example(5e-324, 0.0, 0.5)
@example(5e-324, 1e-323, 1.0)
def test_agrees_with_rationals(x: float, y: float, bound: float) -> None:
    a, b = np.array([x]), np.array([y])
    assert exceeds_absolute(a, b, bound)[0] == truth_absolute(x, y, bound)
    assert exceeds_relative(a, b, bound)[0] == truth_relative(x, y, bound)


@pytest.mark.parametrize("spread", [0, 3, 600, -600])
def test_agrees_with_rationals_at_the_bound(spread: int) -> None:
    rng = np.random.default_rng(spread & 0xFF)
    x = np.ldexp(rng.standard_normal(2000), spread)
    for bound in (2.0**-12, 1e-3, 0.1, 1 / 3):
        limits = bound * np.abs(x)
        steps = rng.integers(-2, 3, x.size)
        y = x + limits
        for _ in range(2):
            y = np.where(steps > 0, np.nextafter(y, np.inf), np.where(steps < 0, np.nextafter(y, -np.inf), y))
            steps -= np.sign(steps)
        expected = [truth_relative(float(a), float(b), bound) for a, b in zip(x, y, strict=True)]
        assert exceeds_relative(x, y, bound).tolist() == expected
        assert 0 < sum(expected) < x.size
        absolute = float(np.abs(y - x)[0])
        decoded = np.nextafter(x + absolute, np.where(rng.random(x.size) < 0.5, np.inf, -np.inf))
        expected = [truth_absolute(float(a), float(b), absolute) for a, b in zip(x, decoded, strict=True)]
        assert exceeds_absolute(x, decoded, absolute).tolist() == expected


def test_residue_decides() -> None:
    # 1 + 2^-60 is no float64, but the difference between 1 and −2^-60 is just that: beyond 1 by 2^-60.
    x, y = np.array([-(2.0**-60)]), np.array([1.0])
    assert (y - x)[0] == 1.0
    assert exceeds_absolute(x, y, 1.0)[0]
    assert not exceeds_absolute(-x, y, 1.0)[0]
