"""Families by distance alone: average linkage, cut where distances stop telling relation."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .comparer import Comparer

__all__ = ["STRANGERS", "families", "linkage_of", "medoid", "nearness_matrix"]

STRANGERS = 1.0  # `Distance.nearness` from which two models are not related
APART = 2.0  # of models that cannot be compared
CANDIDATES = 32  # members of a family that are looked at closely as its base


def nearness_matrix(comparer: Comparer, names: Sequence[str]) -> NDArray[np.float64]:
    """Return `Distance.nearness` of all pairs (n, n): 0 on the diagonal, 2 where nothing can be compared."""
    matrix = np.zeros((len(names), len(names)))
    for i, j in combinations(range(len(names)), 2):
        alike = comparer.signatures[names[i]].loose == comparer.signatures[names[j]].loose
        found = comparer.distance(names[i], names[j]) if alike else None
        matrix[i, j] = matrix[j, i] = APART if found is None else found.nearness
    return matrix


def linkage_of(nearness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return SciPy's linkage (n − 1, 4) of a matrix (n, n), n ≥ 2, by average distance."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    result: NDArray[np.float64] = linkage(squareform(nearness, checks=False), "average")
    return result


def families(comparer: Comparer, names: Sequence[str]) -> list[list[str]]:
    """Return the clusters of models (`names` in order), each in order, by the first name of each."""
    if len(names) < 2:
        return [[name] for name in names]
    from scipy.cluster.hierarchy import fcluster

    below = np.nextafter(STRANGERS, 0.0)
    labels = fcluster(linkage_of(nearness_matrix(comparer, names)), below, "distance")
    found: dict[int, list[str]] = {}
    for name, label in zip(names, labels.tolist(), strict=True):
        found.setdefault(label, []).append(name)
    return list(found.values())


def medoid(comparer: Comparer, names: Sequence[str], fine_tunes: Container[str] = ()) -> str:
    """Return the member of a family against which coding all others is expected to cost least.

    The predicted cost of a weight is `Distance.entropy`; what the base itself costs is left out, as members
    of one architecture cost about the same alone. Of more than 32 members, those 32 that are nearest to all
    others are looked at. Equal costs (always so in a pair): the first by name, of those that are not known
    to be `fine_tunes` of something.
    """
    if len(names) > CANDIDATES:
        sums = {name: sum(_bits(comparer, name, other) for other in names if other != name) for name in names}
        candidates: Sequence[str] = sorted(names, key=lambda name: (sums[name], name))[:CANDIDATES]
    else:
        candidates = names
    costs = {
        name: sum(_cost(comparer, name, other) for other in names if other != name) for name in candidates
    }
    return min(candidates, key=lambda name: (costs[name], name in fine_tunes, name))


def _bits(comparer: Comparer, a: str, b: str) -> float:
    found = comparer.distance(a, b)
    return np.inf if found is None else found.bits


def _cost(comparer: Comparer, a: str, b: str) -> float:
    found = comparer.distance(a, b, per_bit=True)
    return np.inf if found is None else found.entropy
