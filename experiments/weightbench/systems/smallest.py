"""The smallest of what several codecs make of an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightbench.models.model import Array
from weightcodecs import Blob, Codec, format_of

__all__ = ["SAMPLED", "promising", "smallest"]

SAMPLED = 1 << 20
"""Arrays of fewer values are coded with every candidate."""
_RUNS, _RUN = 32, 1 << 11
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

    The sample is 32 runs of 2048 values spread over the array, coded with every candidate. One whose sample
    is over a tenth larger than the smallest is left out. Not for codecs that find repeats over long
    distances: a sample has few of them.
    """
    if values.size < SAMPLED or len(candidates) < 2:
        return candidates
    starts = np.linspace(0, values.size - _RUN, _RUNS).astype(np.int64)

    def sample(array: Array) -> Array:
        flat = array.reshape(-1)
        return np.concatenate([flat[start : start + _RUN] for start in starts])

    part = sample(values)
    base = None if reference is None else sample(reference)
    sizes = [
        len(codec.encode(part, reference=base if codec.needs_reference else None)) for codec in candidates
    ]
    return [codec for codec, size in zip(candidates, sizes, strict=True) if size <= _CERTAIN * min(sizes)]


def taken(candidates: Sequence[Codec], values: Array) -> list[Codec]:
    """Return the candidates that take the format of an array."""
    format = format_of(values)
    return [codec for codec in candidates if codec.unsupported(format) is None]
