"""Counterparts of tensors whose names say nothing: the nearest of equal format and shape, by sampled bits."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from weightbench.models import Model
from weightcodecs.formats import get_format

from .base_values import Match
from .distance import MARGIN, apart, widest_variance
from .sampling import Sampler, layout_of, places
from .signature import bare_name

__all__ = ["match_by_content"]

MOST_WORK = 1 << 30  # values looked at for one format and shape
MOST_VALUES, LEAST_VALUES = 4096, 64  # of a tensor

log = logging.getLogger(__name__)


def match_by_content(
    model: Model, base: Model, wanted: Iterable[str], taken: Mapping[str, Match], *, seed: int
) -> dict[str, Match]:
    """Return the counterparts of float tensors of `model` among the tensors of `base`, by format and shape.

    A tensor's nearest one is its counterpart if their distance is more than four standard errors below that
    of independent tensors, and below that of the second nearest (equal ones count as one). Asked in turn:
    tensors of its shape that are not `taken`; those that are (a head that was tied to the embedding);
    matrices of another number of rows that are not taken, by the rows that both have.

    Reads at most 4096 values of a tensor, fewer where there are many of one shape. A tensor that holds equal
    bits all over has no evidence, and no counterpart.
    """
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for key in wanted:
        info = model.tensors[key]
        if get_format(info.format).is_float and prod(info.shape) > 0:
            groups.setdefault((info.format, info.shape), []).append(key)
    used = {match.tensor for match in taken.values()}
    found: dict[str, Match] = {}
    for (format, shape), ours in groups.items():
        for rows, theirs in _candidates(base, format, shape, used):
            left = [key for key in ours if key not in found]
            if left:
                count = rows * prod(shape[1:])
                pairs = _nearest(model, base, left, theirs, count, seed)
                found |= {name: Match(pairs[name], count) for name in pairs}
    return found


def _candidates(
    base: Model, format: str, shape: tuple[int, ...], used: Container[str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows in common and tensors of the base of one shape, in the order in which they are asked."""
    alike: dict[int, list[str]] = {}
    for key, info in base.tensors.items():
        same = info.format == format and len(info.shape) == len(shape) and info.shape[1:] == shape[1:]
        if same and bare_name(base, key) == key and prod(info.shape) > 0:
            alike.setdefault(info.shape[0] if shape else 1, []).append(key)
    rows = shape[0] if shape else 1
    equal = alike.pop(rows, [])
    yield rows, [key for key in equal if key not in used]
    yield rows, [key for key in equal if key in used]
    if len(shape) > 1:
        for other in sorted(alike, reverse=True):
            yield min(rows, other), [key for key in alike[other] if key not in used]


def _nearest(
    model: Model, base: Model, ours: list[str], theirs: list[str], count: int, seed: int
) -> dict[str, str]:
    """Return which of our tensors have a counterpart among theirs, by their first `count` values."""
    if not theirs:
        return {}
    format = model.tensors[ours[0]].format
    values = MOST_WORK // (len(ours) * len(theirs))
    if values < LEAST_VALUES:
        log.warning(
            "%s: %d tensors of one shape are not named as those of %s and too many to compare with %d",
            *(model.name, len(ours), base.name, len(theirs)),
        )
        return {}
    rate = min(1.0, min(values, MOST_VALUES) / count)
    layout = layout_of((count,), (format,), ("",), rate, seed)
    a, b = Sampler(model, rate, seed), Sampler(base, rate, seed)
    right = [b.draw([key], layout) for key in theirs]
    found = {}
    from weightcodecs.kernels.bit_distance import block_distances, set_moments

    blocks = np.empty(places(count, rate, seed).starts.size)
    mean, variance = np.empty((2, 1))
    alone = float(widest_variance(get_format(format).bits, np.array([count]))[0])
    for key in ours:
        left = a.draw([key], layout)
        distances: NDArray[np.float64] = np.empty(len(theirs))
        errors: NDArray[np.float64] = np.empty(len(theirs))
        for j, drawn in enumerate(right):
            block_distances(left.patterns, drawn.patterns, layout.ends, blocks)
            set_moments(blocks, layout.lengths, layout.first_blocks, mean, variance)
            distances[j], errors[j] = mean[0], np.sqrt(variance[0] if blocks.size > 1 else alone)
        best = int(np.argmin(distances))
        limit = float(apart(left.ones, right[best].ones).sum())
        others = [
            j for j, drawn in enumerate(right) if not np.array_equal(drawn.patterns, right[best].patterns)
        ]
        second = float(np.min(distances[others], initial=np.inf))
        if distances[best] < min(limit, second) - MARGIN * errors[best]:
            found[key] = theirs[best]
    return found
