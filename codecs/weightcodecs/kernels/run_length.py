"""Run-length coding of planes that are constant for long stretches. Source: ours.

A run is its byte followed by its length as a varint (seven bits a byte, lowest first, high bit: more follow).
"""

from itertools import groupby

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def runs_size(plane, start, size):  # type: ignore[no-untyped-def]
    """Bytes that ``encode_runs`` writes for ``plane[start : start + size]``."""
    total = 0
    at = start
    while at < start + size:
        run = at + 1
        while run < start + size and plane[run] == plane[at]:
            run += 1
        length = run - at
        total += 2
        while length >= 128:
            length >>= 7
            total += 1
        at = run
    return total


@njit(nogil=True, cache=True)
def encode_runs(plane, start, size, stream, at):  # type: ignore[no-untyped-def]
    """Write the runs of ``plane[start : start + size]`` to ``stream[at:]``, which has room for ``runs_size`` bytes."""
    first = start
    while first < start + size:
        value = plane[first]
        last = first + 1
        while last < start + size and plane[last] == value:
            last += 1
        stream[at] = value
        at += 1
        length = last - first
        while length >= 128:
            stream[at] = 128 | (length & 127)
            at += 1
            length >>= 7
        stream[at] = length
        at += 1
        first = last


@njit(nogil=True, cache=True)
def decode_runs(stream, at, end, plane, start, size):  # type: ignore[no-untyped-def]
    """Decode ``stream[at:end]`` into ``plane[start : start + size]``; safe on any content.

    Returns:
        True if the runs fill the range exactly; otherwise the range is undefined.
    """
    out = start
    left = size
    while at < end:
        value = stream[at]
        at += 1
        length = 0
        shift = 0
        while True:
            if at >= end or shift > 28:
                return False
            byte = np.int64(stream[at])
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if length < 1 or length > left:
            return False
        plane[out : out + length] = value
        out += length
        left -= length
    return left == 0


def encode_runs_reference(plane: NDArray[np.uint8]) -> bytes:
    """What ``encode_runs`` writes, in plain Python. For tests."""
    coded = bytearray()
    for value, group in groupby(plane.tolist()):
        coded.append(value)
        length = len(list(group))
        while length >= 128:
            coded.append(128 | length & 127)
            length >>= 7
        coded.append(length)
    return bytes(coded)
