"""How far weights are from other weights: a fine-tune from its base, a checkpoint from the one before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Change", "Weights", "change"]

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Change:
    """How weights differ from earlier ones, over all of them together.

    Attributes:
        euclidean: length of the vector of differences.
        rms: root mean square of the difference over that of the earlier weights.
        median: median of |difference| / |earlier weight|, where that is not 0.
        unchanged: share of weights with equal values.
        unchanged_bytes: share of equal bytes at each place in a weight, the one with the sign first.
    """

    euclidean: float
    rms: float
    median: float
    unchanged: float
    unchanged_bytes: tuple[float, ...]


def change(before: Weights, after: Weights) -> Change:
    """Compare float32 weights of equal names and shapes."""
    a, b = _joined(before, before), _joined(after, before)
    wide = a.astype(np.float64)
    difference = np.abs(b.astype(np.float64) - wide)
    nonzero = wide != 0
    same = np.mean(_bytes(a) == _bytes(b), axis=0)
    return Change(
        euclidean=float(np.sqrt(np.sum(difference**2))),
        rms=float(np.sqrt(np.mean(difference**2) / np.mean(wide**2))),
        median=float(np.median(difference[nonzero] / np.abs(wide[nonzero]))),
        unchanged=float(np.mean(difference == 0)),
        unchanged_bytes=tuple(same.tolist()),
    )


def _joined(weights: Weights, order: Weights) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = np.concatenate([weights[name].ravel() for name in sorted(order)])
    return joined


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bytes of the values, one value a row, the most significant byte first."""
    return values.astype(">f4").view(np.uint8).reshape(-1, 4)
