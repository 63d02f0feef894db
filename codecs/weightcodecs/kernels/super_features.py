"""Super-features: a few hashes of a chunk that stay the same while most of its content does.

At the end of every element a Gear hash of the last 64 bytes (see `gear`) is put through twelve linear maps
modulo 2^64; the largest value of each map over the chunk is a feature, and four features hashed together are
a super-feature. Two chunks that share a part p of their windows share one feature with probability p and a
super-feature with p^4. Sources: N-transform, Shilane et al., "WAN Optimized Replication of Backup Datasets
Using Stream-Informed Delta Compression" (FAST 2012), after Broder (1997); the Gear hash for it, Zhang et al.,
"Finesse" (FAST 2019). Windows that end with whole elements only are ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gear import WINDOW, gear_table
from .jit import kernel

__all__ = ["SUPER_FEATURES", "super_features", "super_features_reference"]

SUPER_FEATURES, PER_SUPER = 3, 4
_MULTIPLIERS = gear_table()[: SUPER_FEATURES * PER_SUPER] | np.uint64(1)
_ADDENDS = gear_table()[128 : 128 + SUPER_FEATURES * PER_SUPER]
_MIX = np.uint64(0x9E3779B97F4A7C15)


def super_features(data: NDArray[np.uint8], ends: NDArray[np.int64], width: int) -> NDArray[np.uint64]:
    """Return the super-features (n, 3) of chunks that follow each other.

    Args:
        data: uint8, all chunks.
        ends: int64 (n,), ascending: where each chunk ends; the last one is the size of `data`. Chunks have
            one element at least.
        width: bytes of an element, from 1 to 64; all ends are multiples of it.

    Raises:
        ValueError: an argument does not fit.
    """
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    whole = not (ends % width).any() and (ends > starts).all()
    if not 1 <= width <= WINDOW or data.ndim != 1 or not (whole and ends.size and ends[-1] == data.size):
        raise ValueError("super_features: needs chunks of whole elements of 1 to 64 bytes that fill the data")
    out = np.empty((ends.size, SUPER_FEATURES), np.uint64)
    _features(data, ends.astype(np.int64), width, gear_table(), _MULTIPLIERS, _ADDENDS, _MIX, out)
    return out


@kernel
def _features(
    data: Any,
    ends: Any,
    width: Any,
    table: Any,
    multipliers: Any,
    addends: Any,
    mix: Any,
    out: Any,
) -> Any:
    one, shift = np.uint64(1), np.uint64(29)
    largest = np.empty(multipliers.size, np.uint64)
    start = 0
    for chunk in range(ends.size):
        largest[:] = 0
        hash = np.uint64(0)
        at = start
        while at < ends[chunk]:
            for byte in range(at, at + width):
                hash = (hash << one) + table[data[byte]]
            at += width
            for i in range(multipliers.size):
                value = multipliers[i] * hash + addends[i]
                largest[i] = max(largest[i], value)
        per = multipliers.size // out.shape[1]
        for group in range(out.shape[1]):
            together = np.uint64(0)
            for i in range(group * per, (group + 1) * per):
                together = (together ^ largest[i]) * mix
                together ^= together >> shift
            out[chunk, group] = together
        start = ends[chunk]


def super_features_reference(
    data: NDArray[np.uint8], ends: NDArray[np.int64], width: int
) -> NDArray[np.uint64]:
    """The same super-features, written plainly."""
    table, modulus = [int(word) for word in gear_table()], 1 << 64
    out, start = [], 0
    for end in ends:
        hashes, hash = [], 0
        for at, byte in enumerate(data[start:end].tolist(), start=1):
            hash = (2 * hash + table[byte]) % modulus
            if at % width == 0:
                hashes.append(hash)
        maps = zip(_MULTIPLIERS.tolist(), _ADDENDS.tolist(), strict=True)
        largest = [max((m * hash + a) % modulus for hash in hashes) for m, a in maps]
        row = []
        for group in range(SUPER_FEATURES):
            together = 0
            for feature in largest[group * PER_SUPER : (group + 1) * PER_SUPER]:
                together = (together ^ feature) * int(_MIX) % modulus
                together ^= together >> 29
            row.append(together)
        out.append(row)
        start = int(end)
    return np.array(out, np.uint64)
