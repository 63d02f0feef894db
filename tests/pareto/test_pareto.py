"""The Pareto front against its definition, point by point, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from weightbench.pareto import pareto_front

Points = tuple[NDArray[np.float64], list[bool]]


@st.composite
def points(draw: st.DrawFn) -> Points:
    """Few different values, so that there are ties, NaN and infinities among them."""
    shape = draw(st.tuples(st.integers(0, 12), st.integers(1, 4)))
    some = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf, np.nan])
    values = draw(arrays.arrays(np.float64, shape, elements=some | st.floats(-3, 3)))
    return values, draw(st.lists(st.booleans(), min_size=shape[1], max_size=shape[1]))


def dominates(one: NDArray[np.float64], other: NDArray[np.float64], larger: list[bool]) -> bool:
    pairs = [(a, b) if up else (b, a) for a, b, up in zip(one, other, larger, strict=True)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@given(points())
def test_front_is_what_nothing_dominates(drawn: Points) -> None:
    values, larger = drawn
    before = values.copy()
    expected = [
        not np.isnan(point).any() and not any(dominates(other, point, larger) for other in values)
        for point in values
    ]
    assert pareto_front(values, larger).tolist() == expected
    np.testing.assert_array_equal(values, before)


@given(points(), st.integers(0, 99))
def test_order_and_worse_points_do_not_matter(drawn: Points, seed: int) -> None:
    values, larger = drawn
    front = pareto_front(values, larger)
    order = np.random.default_rng(seed).permutation(len(values))
    np.testing.assert_array_equal(pareto_front(values[order], larger), front[order])
    assert pareto_front(values[front], larger).all()


@given(points())
def test_opposite_values_with_opposite_directions(drawn: Points) -> None:
    values, larger = drawn
    front = pareto_front(-values, [not up for up in larger])
    np.testing.assert_array_equal(front, pareto_front(values, larger))


@given(points())
def test_some_point_is_on_it_if_any_is_whole(drawn: Points) -> None:
    values, larger = drawn
    assert pareto_front(values, larger).any() == (~np.isnan(values).any(axis=1)).any()


def test_ties_are_kept_and_nan_is_not() -> None:
    values = np.array([[2.0, 1.0], [2.0, 1.0], [1.0, 1.0], [9.0, np.nan], [1.0, 0.5]])
    assert pareto_front(values, [True, False]).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize(("shape", "directions"), [((3,), 3), ((3, 2), 1), ((3, 0), 0)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...], directions: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        pareto_front(np.zeros(shape), [True] * directions)
