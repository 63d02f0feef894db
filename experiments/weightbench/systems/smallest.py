"""The smallest of what several codecs make of an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightbench.models.model import Array
from weightcodecs import Blob, Codec, format_of

__all__ = ["SAMPLED", "promising", "repeats_pay", "sampled_bits", "smallest", "taken"]

SAMPLED = 1 << 17
"""Arrays of fewer values are coded with every candidate."""
FIND_REPEATS = frozenset(("distance", "zstd"))
"""Codecs that a sample shows too little of."""
_RUNS, _LONGEST, _SPREAD = 32, 1 << 11, 1 << 16
_CERTAIN = 1.1


def smallest(
    values: Array, candidates: Sequence[Codec], *, reference: Array | None = None, threads: int = 1
) -> Blob:
    """Code an array with every candidate and return the smallest blob; of equal ones, the first's.

    Args:
        values: the array.
        candidates: codecs that take its format; those that need a reference are given it.
        reference: of the shape and format of `values`.
        threads: handed to the codecs.
    """
    best: Blob | None = None
    for codec in candidates:
        used = reference if codec.needs_reference else None
        blob = codec.encode(values, reference=used, threads=threads)
        if best is None or len(blob) < len(best):
            best = blob
    assert best is not None, "no candidate"
    return best


def promising(
    values: Array, candidates: Sequence[Codec], *, reference: Array | None = None
) -> Sequence[Codec]:
    """Return the candidates that can make the smallest blob, by a sample; all for small arrays.

    One whose sample (see `sampled_bits`) is over a tenth larger than the smallest is left out; but those that
    find repeats over longer distances than a sample shows stay where `repeats_pay`.
    """
    if values.size < SAMPLED or len(candidates) < 2:
        return candidates
    bits = sampled_bits(values, candidates, reference)
    best = min(bits)
    finders = FIND_REPEATS if repeats_pay(values, best) else frozenset()
    return [
        codec
        for codec, need in zip(candidates, bits, strict=True)
        if need <= _CERTAIN * best or codec.name in finders
    ]


def sampled_bits(values: Array, candidates: Sequence[Codec], reference: Array | None) -> list[float]:
    """Return the bits a value that each candidate makes of a sample.

    The sample is 32 runs spread evenly over the array, a sixteenth of it, but runs of at most 2048 values.
    """
    run = min(values.size // (16 * _RUNS), _LONGEST)
    starts = np.linspace(0, values.size - run, _RUNS).astype(np.int64)

    def sample(array: Array) -> Array:
        flat = array.reshape(-1)
        return np.concatenate([flat[start : start + run] for start in starts])

    part = sample(values)
    base = None if reference is None else sample(reference)
    coded = (codec.encode(part, reference=base if codec.needs_reference else None) for codec in candidates)
    return [8 * len(blob) / part.size for blob in coded]


def repeats_pay(values: Array, bits: float) -> bool:
    """Whether values may repeat so often that a distance to the last one takes fewer than `bits`.

    The distance to an equal value is on average the inverse of its frequency, so distances take about as many
    bits as the entropy of the values, which is at least their collision entropy (Rényi, order 2): minus the
    logarithm of the share of equal pairs. Estimated from 2^16 values, one at a random place of each stretch
    of equal length, with three standard deviations to spare. Source: ours.
    """
    count = min(_SPREAD, values.size)
    stretch = values.size / count
    places = ((np.arange(count) + np.random.default_rng(0).random(count)) * stretch).astype(np.int64)
    patterns = values.reshape(-1)[places].view(format_of(values).bits_dtype)
    _, counts = np.unique(patterns, return_counts=True)
    equal = int((counts * (counts - 1) // 2).sum())
    share = (equal + 3 * np.sqrt(equal + 1)) / (count * (count - 1) / 2)
    return bool(-np.log2(share) <= bits)


def taken(candidates: Sequence[Codec], values: Array) -> list[Codec]:
    """Return the candidates that take the format of an array."""
    format = format_of(values)
    return [codec for codec in candidates if codec.unsupported(format) is None]
