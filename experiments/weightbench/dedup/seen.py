"""Units found again, by the content of the array that a codec would code."""

from __future__ import annotations

import numpy as np
import xxhash

from weightbench.granularity import Unit
from weightbench.models.model import Array
from weightcodecs.blob import byte_view
from weightcodecs.formats import format_of

__all__ = ["SeenUnits", "content_key"]


def content_key(array: Array) -> bytes:
    """Return 17 bytes that are equal for arrays of equal format and bytes: format code and XXH3-128.

    Not collision-proof against an adversary: compare the bytes before trusting a hit, as `SeenUnits` does.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    return bytes((format_of(flat).code,)) + xxhash.xxh3_128(byte_view(flat)).digest()


class SeenUnits:
    """Units by content. It holds keys and units (which read their values again when asked), never arrays."""

    def __init__(self) -> None:
        self._seen: dict[bytes, list[tuple[Unit, int]]] = {}

    def find_or_add(self, unit: Unit, array: Array, place: int) -> int | None:
        """Return the place of an earlier unit whose coded array has the same bytes.

        If there is none, remember that `unit`, whose coded array is `array`, stands at `place`, and return
        None.
        """
        same_key = self._seen.setdefault(content_key(array), [])
        for earlier, where in same_key:
            if _same_bytes(earlier.array(), array):
                return where
        same_key.append((unit, place))
        return None


def _same_bytes(a: Array, b: Array) -> bool:
    # As bytes: NaN is not equal to itself, and -0.0 is equal to 0.0.
    return bool(np.array_equal(a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8)))
