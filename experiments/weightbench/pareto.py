"""Which of many points no other point beats: the Pareto front, for any number of objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["pareto_front"]


def pareto_front(values: NDArray[np.float64], larger_is_better: Sequence[bool]) -> NDArray[np.bool_]:
    """Return which points are not dominated.

    A point dominates another if it is no worse in every objective and better in one. Points that are equal
    do not dominate each other, so ties stay together. A point with a NaN is never on the front and dominates
    none; infinities are ordinary values.

    In lexicographic order a point stands after all that dominate it. So the first that is left is on the
    front, takes away what it dominates, and so on (ours): O(points × front × objectives).

    Args:
        values: float64 (points, objectives), at least one objective; not changed.
        larger_is_better: the direction of each objective.

    Returns:
        bool (points,).

    Raises:
        ValueError: the shape of `values` is another, or the directions are not one for each objective.
    """
    if values.ndim != 2 or not 1 <= values.shape[1] == len(larger_is_better):
        raise ValueError(f"values of shape {values.shape} do not fit {len(larger_is_better)} directions")
    costs = np.where(np.asarray(larger_is_better, dtype=np.bool_), -values, values)
    left = np.flatnonzero(~np.isnan(costs).any(axis=1))
    left = left[np.lexsort(costs[left].T[::-1])]
    front = np.zeros(len(values), dtype=np.bool_)
    while left.size:
        best = costs[left[0]]
        equal = (costs[left] == best).all(axis=1)
        front[left[equal]] = True
        left = left[(costs[left] < best).any(axis=1)]  # neither dominated nor equal
    return front
