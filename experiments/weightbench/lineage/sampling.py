"""Samples of a model's weights: blocks of neighbouring values, stratified over all of its tensors.

Every tensor is cut into blocks of 16 to 31 neighbouring values, so that a look at a block touches one page of
memory. Each tensor gives blocks in proportion to its size, at least 4: one block at a random place in each of
as many equal parts. The places depend on the tensor's number of values, the rate and the seed, on nothing
else: two tensors of equal size are sampled at the same places, whatever they are called. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightbench.models import Model
from weightbench.models.model import Array
from weightcodecs.formats import FORMATS, get_format

__all__ = ["BLOCK", "Drawn", "Layout", "Places", "Sampler", "float_count", "layout_of", "places"]

BLOCK = 16
LEAST_BLOCKS = 4
NEAR = 1 << 15  # elements between blocks that are read rather than skipped
LONGEST_RUN = 1 << 20


@dataclass(frozen=True, slots=True)
class Places:
    """The sampled blocks of a tensor.

    Attributes:
        starts, lengths: int64 (k,), ascending, apart from each other; in elements.
        blocks: into how many the tensor was cut.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    blocks: int


@lru_cache(maxsize=4096)
def places(count: int, rate: float, seed: int) -> Places:
    """Return where a tensor of `count` ≥ 1 elements is sampled at a share of `rate`; 1.0 takes everything."""
    blocks = max(1, count // BLOCK)
    wanted = max(LEAST_BLOCKS, round(blocks * rate))
    if 2 * wanted >= blocks:
        chosen = np.arange(blocks, dtype=np.int64)
    else:
        edges = np.arange(wanted + 1, dtype=np.int64) * blocks // wanted
        jitter = np.random.default_rng([seed, count]).random(wanted)
        chosen = edges[:-1] + (jitter * (edges[1:] - edges[:-1])).astype(np.int64)
    starts = chosen * count // blocks
    return Places(starts, (chosen + 1) * count // blocks - starts, blocks)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the samples of several tensors stand one after the other.

    Attributes:
        counts: for each tensor, how many of its first elements are sampled.
        formats: the tensors' formats.
        weights: float64 (t,): the tensors' shares of all values.
        coverage: float64 (t,): which share of a tensor's blocks is sampled.
        first_blocks, first_values: int64 (t + 1,): tensor j has the blocks [first_blocks[j], first_blocks[j +
            1]) and the values [first_values[j], first_values[j + 1]).
        ends: int64 (k,): where each block ends.
        lengths: float64 (k,): of the blocks.
        bits: unsigned type that holds every pattern.
    """

    counts: tuple[int, ...]
    formats: tuple[str, ...]
    weights: NDArray[np.float64]
    coverage: NDArray[np.float64]
    first_blocks: NDArray[np.int64]
    first_values: NDArray[np.int64]
    ends: NDArray[np.int64]
    lengths: NDArray[np.float64]
    bits: np.dtype[Any]


@lru_cache(maxsize=64)
def layout_of(counts: tuple[int, ...], formats: tuple[str, ...], rate: float, seed: int) -> Layout:
    """Return the layout of tensors, none of them empty, of float formats."""
    drawn = [places(count, rate, seed) for count in counts]
    lengths = np.concatenate([p.lengths for p in drawn]) if drawn else np.zeros(0, np.int64)
    ends = np.cumsum(lengths)
    first_blocks = np.cumsum([0, *(p.starts.size for p in drawn)])
    sizes = np.array(counts, np.float64)
    return Layout(
        counts,
        formats,
        sizes / max(sizes.sum(), 1.0),
        np.array([p.starts.size / p.blocks for p in drawn]),
        first_blocks.astype(np.int64),
        np.concatenate([[0], ends])[first_blocks].astype(np.int64),
        ends.astype(np.int64),
        lengths.astype(np.float64),
        max(
            (get_format(name).bits_dtype for name in formats),
            key=lambda d: d.itemsize,
            default=np.dtype("u1"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples of one model in a layout.

    Attributes:
        patterns: the values' bit patterns (n,).
        ones: float64 (t, bits): in which share of a tensor's values each bit is set, lowest bit first.
    """

    patterns: NDArray[Any]
    ones: NDArray[np.float64]


class Sampler:
    """Draws samples of one model and keeps them: each place is read once, however many pairs it is for."""

    def __init__(self, model: Model, rate: float, seed: int) -> None:
        self.model, self.rate, self.seed = model, rate, seed
        self._tensors: dict[tuple[str, int], NDArray[Any]] = {}
        self._drawn: dict[tuple[tuple[str, int], ...], Drawn] = {}

    def tensor(self, name: str, count: int) -> NDArray[Any]:
        """Return the sampled patterns of the first `count` elements of a tensor, (n,)."""
        found = self._tensors.get((name, count))
        if found is None:
            values = np.concatenate(list(self._runs(name, places(count, self.rate, self.seed))))
            found = self._tensors[name, count] = values.view(get_format(values.dtype.name).bits_dtype)
            self.model.drop(name)
        return found

    def _runs(self, name: str, where: Places) -> Iterator[Array]:
        """Read blocks near each other at once: a model that computes its values makes many at a time."""
        starts, ends = where.starts, where.starts + where.lengths
        far = np.flatnonzero(starts[1:] - ends[:-1] > NEAR) + 1
        for blocks in np.split(np.arange(starts.size), far):
            for some in np.array_split(blocks, -(-int(ends[blocks[-1]] - starts[blocks[0]]) // LONGEST_RUN)):
                origin = int(starts[some[0]])
                values = self.model.elements(name, origin, int(ends[some[-1]]))
                for block in some.tolist():
                    yield values[starts[block] - origin : ends[block] - origin]

    def draw(self, tensors: Sequence[tuple[str, int]], layout: Layout) -> Drawn:
        """Return the samples of tensors, each with how many of its first elements are meant."""
        key = tuple(tensors)
        found = self._drawn.get(key)
        if found is None:
            found = self._drawn[key] = _join([self.tensor(name, count) for name, count in key], layout)
        return found


def _join(parts: Sequence[NDArray[Any]], layout: Layout) -> Drawn:
    from weightcodecs.kernels.bit_distance import count_positions

    patterns = np.empty(int(layout.first_values[-1]), layout.bits)
    ones = np.zeros((len(parts), layout.bits.itemsize * 8))
    for j, part in enumerate(parts):
        patterns[layout.first_values[j] : layout.first_values[j + 1]] = part
        counts = np.zeros((3, ones.shape[1]), np.int64)
        count_positions(same := np.ascontiguousarray(part, layout.bits), same, counts)
        ones[j] = counts[1] / part.size
    return Drawn(patterns, ones)


def float_count(model: Model) -> int:
    """Return the number of a model's float values."""
    return sum(prod(info.shape) for info in model.tensors.values() if FORMATS[info.format].is_float)
