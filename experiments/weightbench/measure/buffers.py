"""Private copies of units, made outside the timed region, in memory that is used again and again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scratch"]

Array = NDArray[Any]

_ALIGN = 64


class Scratch:
    """One growing buffer: after the first round its pages are touched, so that copying into it is cheap."""

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)

    def copies(self, original: Array, count: int) -> list[Array]:
        """Return `count` writable C-contiguous copies of `original`, each aligned to 64 bytes.

        They are valid until the next call.
        """
        step = -(-original.nbytes // _ALIGN) * _ALIGN
        if self._room.size < step * count + _ALIGN:
            self._room = np.empty(0, np.uint8)  # free the old room before asking for the new
            self._room = np.empty(step * count + _ALIGN, np.uint8)
        start = -self._room.ctypes.data % _ALIGN
        made = []
        for index in range(count):
            at = start + index * step
            flat = self._room[at : at + original.nbytes].view(original.dtype)
            copy = flat.reshape(original.shape)
            np.copyto(copy, original, casting="no")
            made.append(copy)
        return made
