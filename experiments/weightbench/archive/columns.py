"""Columns of unsigned integers as bytes that a general compressor makes small.

Differences of neighbours, then the eight bytes of the words apart: counters and equal sizes become zeros.
Words of checksums are left as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "pack_column", "unpack_column"]

Column = NDArray[np.uint64]


def pack_column(values: Column) -> bytes:
    """Return 8 bytes for each value."""
    deltas = np.diff(values, prepend=np.uint64(0))
    return np.ascontiguousarray(deltas.astype("<u8").view(np.uint8).reshape(-1, 8).T).tobytes()


def unpack_column(data: memoryview) -> Column:
    """Return the values of a packed column, whose size is a multiple of 8."""
    planes = np.frombuffer(data, np.uint8).reshape(8, -1)
    deltas = np.ascontiguousarray(planes.T).view("<u8").reshape(-1)
    return np.cumsum(deltas, dtype=np.uint64)
