"""The exception list: values that a codec cannot code, kept as they are beside their positions.

Layout: the number of exceptions in each block of 65,536 values (u32 each), the positions inside the blocks
(u16 each, ascending), the values. An exception costs two bytes and its value. Format: ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptBlobError

__all__ = ["exceptions_nbytes", "pack_exceptions", "restore_exceptions"]

_BLOCK = 1 << 16

Array = NDArray[Any]


def exceptions_nbytes(count: int, exceptions: int, itemsize: int) -> int:
    """Return the size of the list of `exceptions` among `count` values; 0 if there are none."""
    return -(-count // _BLOCK) * 4 + exceptions * (2 + itemsize) if exceptions else 0


def pack_exceptions(values: Array, positions: NDArray[np.intp], target: NDArray[np.uint8]) -> None:
    """Write the list of the ascending `positions` of flat `values` into `target`, which has its size."""
    blocks = -(-values.size // _BLOCK)
    at, middle = blocks * 4, blocks * 4 + positions.size * 2
    counts = np.bincount(positions // _BLOCK, minlength=blocks).astype("<u4")
    target[:at] = counts.view(np.uint8)
    target[at:middle] = (positions % _BLOCK).astype("<u2").view(np.uint8)
    target[middle:] = values[positions].view(np.uint8)


def restore_exceptions(out: Array, exceptions: int, data: memoryview) -> None:
    """Put the listed values back into flat `out`; `CorruptBlobError` if the list does not add up."""
    if len(data) != exceptions_nbytes(out.size, exceptions, out.itemsize):
        raise CorruptBlobError(f"the list of {exceptions} exceptions has the wrong size")
    if not exceptions:
        return
    blocks = -(-out.size // _BLOCK)
    counts = np.frombuffer(data, "<u4", blocks)
    if int(counts.sum(dtype=np.uint64)) != exceptions:
        raise CorruptBlobError("the exception list's counts do not add up")
    inside = np.frombuffer(data, "<u2", exceptions, blocks * 4)
    positions = np.repeat(np.arange(blocks) * _BLOCK, counts) + inside
    if int(positions.max()) >= out.size:
        raise CorruptBlobError("an exception lies outside the array")
    bits = np.dtype(f"u{out.itemsize}")
    out.view(bits)[positions] = np.frombuffer(data, bits, exceptions, blocks * 4 + exceptions * 2)
