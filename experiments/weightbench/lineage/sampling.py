"""Samples of a model's weights: blocks of neighbouring values, stratified over all of its tensors.

Every tensor is cut into blocks of 16 to 31 neighbouring values, so that a look at a block touches one page
of memory. Each tensor gives blocks in proportion to its size, at least 4: one block at a random place in each
of as many equal parts. The places depend on the tensor's number of values, the rate, the seed and a label, on
nothing else: two models' tensors of equal size and label are sampled at the same places. Tensors have labels
of their own because what is unusual in one layer (channels of large weights) is often so in all of them.
Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from weightbench.models import Model
from weightbench.models.model import Array
from weightcodecs.formats import FORMATS, get_format

from .signature import bare_name

__all__ = [
    "BLOCK",
    "Drawn",
    "Layout",
    "Places",
    "Sampler",
    "exponent_mask",
    "float_count",
    "layout_of",
    "places",
]

BLOCK = 16
LEAST_BLOCKS = 4
AT_ONCE = 1 << 20  # elements


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
def places(count: int, rate: float, seed: int, label: str = "") -> Places:
    """Return where a tensor of `count` ≥ 1 elements is sampled at a share of `rate`; 1.0 takes everything."""
    blocks = max(1, count // BLOCK)
    wanted = max(LEAST_BLOCKS, round(blocks * rate))
    if 2 * wanted >= blocks:
        chosen = np.arange(blocks, dtype=np.int64)
    else:
        edges = np.arange(wanted + 1, dtype=np.int64) * blocks // wanted
        jitter = np.random.default_rng([seed, count, crc32(label.encode())]).random(wanted)
        chosen = edges[:-1] + (jitter * (edges[1:] - edges[:-1])).astype(np.int64)
    length, longer = divmod(count, blocks)
    return Places(chosen * length + np.minimum(chosen, longer), length + (chosen < longer), blocks)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the samples of several tensors stand one after the other.

    Attributes:
        counts: for each tensor, how many of its first elements are sampled.
        formats, labels: the tensors' formats, and the labels of their places.
        weights: float64 (t,): the tensors' shares of all values.
        coverage: float64 (t,): which share of a tensor's blocks is sampled.
        first_blocks, first_values: int64 (t + 1,): tensor j has the blocks [first_blocks[j], first_blocks[j +
            1]) and the values [first_values[j], first_values[j + 1]).
        ends: int64 (k,): where each block ends.
        lengths: float64 (k,): of the blocks.
        bits: unsigned type that holds every pattern.
        exponents: uint64 (t,): the exponent bits of the tensors' formats, repeated over the word.
    """

    counts: tuple[int, ...]
    formats: tuple[str, ...]
    labels: tuple[str, ...]
    weights: NDArray[np.float64]
    coverage: NDArray[np.float64]
    first_blocks: NDArray[np.int64]
    first_values: NDArray[np.int64]
    ends: NDArray[np.int64]
    lengths: NDArray[np.float64]
    bits: np.dtype[Any]
    exponents: NDArray[np.uint64]


@lru_cache(maxsize=64)
def layout_of(
    counts: tuple[int, ...], formats: tuple[str, ...], labels: tuple[str, ...], rate: float, seed: int
) -> Layout:
    """Return the layout of tensors, none of them empty, of float formats."""
    from weightcodecs.kernels.bit_distance import repeated

    drawn = [places(count, rate, seed, label) for count, label in zip(counts, labels, strict=True)]
    lengths = np.concatenate([p.lengths for p in drawn]) if drawn else np.zeros(0, np.int64)
    ends = np.cumsum(lengths)
    first_blocks = np.cumsum([0, *(p.starts.size for p in drawn)])
    sizes = np.array(counts, np.float64)
    types = [get_format(name).bits_dtype for name in formats]
    bits = max(types, key=lambda dtype: dtype.itemsize, default=np.dtype("u1"))
    return Layout(
        counts,
        formats,
        labels,
        sizes / max(sizes.sum(), 1.0),
        np.array([p.starts.size / p.blocks for p in drawn]),
        first_blocks.astype(np.int64),
        np.concatenate([[0], ends])[first_blocks].astype(np.int64),
        ends.astype(np.int64),
        lengths.astype(np.float64),
        bits,
        np.array([repeated(exponent_mask(name), bits.itemsize * 8) for name in formats], np.uint64),
    )


def exponent_mask(format: str) -> int:
    """Return the exponent bits of a pattern of a format."""
    found = get_format(format)
    return ((1 << found.exponent_bits) - 1) << found.mantissa_bits


@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples of one model in a layout.

    Attributes:
        patterns: the values' bit patterns (n,).
        ones: float64 (t, bits): in which share of a tensor's values each bit is set, lowest bit first.
    """

    patterns: NDArray[Any]
    ones: NDArray[np.float64]


_Key = tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]


class Sampler:
    """Draws samples of one model and keeps them: each place is read once, however many pairs it is for."""

    def __init__(self, model: Model, rate: float, seed: int) -> None:
        self.model, self.rate, self.seed = model, rate, seed
        self._tensors: dict[tuple[str, int, str], NDArray[Any]] = {}
        self._drawn: dict[_Key, Drawn] = {}

    def tensor(self, name: str, count: int, label: str = "") -> NDArray[Any]:
        """Return the sampled patterns of the first `count` elements of a tensor, (n,)."""
        key = name, count, label
        found = self._tensors.get(key)
        if found is None:
            values = np.concatenate(list(self._runs(name, places(count, self.rate, self.seed, label))))
            found = self._tensors[key] = values.view(get_format(values.dtype.name).bits_dtype)
            self.model.drop(name)
        return found

    def _runs(self, name: str, where: Places) -> Iterator[Array]:
        """Read the blocks of each 2^20 elements at once: a view of a map, or what generators make at once."""
        starts, lengths = where.starts, where.lengths
        segments = np.flatnonzero(np.diff(starts // AT_ONCE)) + 1
        for first, end in pairwise([0, *segments.tolist(), starts.size]):
            origin, sizes = int(starts[first]), lengths[first:end]
            values = self.model.elements(name, origin, int(starts[end - 1] + lengths[end - 1]))
            before = np.cumsum(sizes) - sizes  # sampled values before each block
            yield values[np.arange(sizes.sum()) + np.repeat(starts[first:end] - origin - before, sizes)]

    def draw(self, names: Sequence[str], layout: Layout) -> Drawn:
        """Return the samples of tensors, by name, in the places of a layout of this rate and seed."""
        key = tuple(names), layout.counts, layout.labels
        found = self._drawn.get(key)
        if found is None:
            parts = [self.tensor(*one) for one in zip(names, layout.counts, layout.labels, strict=True)]
            found = self._drawn[key] = _join(parts, layout)
        return found


def _join(parts: Sequence[NDArray[Any]], layout: Layout) -> Drawn:
    from weightcodecs.kernels.bit_distance import count_bits

    patterns = np.concatenate(parts, dtype=layout.bits)
    counts = np.zeros((len(parts), layout.bits.itemsize * 8), np.int64)
    count_bits(patterns, layout.first_values, counts)
    return Drawn(patterns, counts / np.diff(layout.first_values)[:, None])


def float_count(model: Model) -> int:
    """Return the number of a model's float values, copies in a second file left out."""
    return sum(
        prod(info.shape)
        for key, info in model.tensors.items()
        if FORMATS[info.format].is_float and bare_name(model, key) == key
    )
