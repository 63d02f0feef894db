"""Run-length coding of planes that are constant for long stretches. Source: ours.

A run is its byte followed by its length as a varint (seven bits a byte, lowest first, high bit: more follow).
"""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import bit_length, fill_bytes, load64, trailing_zeros

_SAMPLES = 512
_EIGHT_TIMES = np.uint64(0x0101_0101_0101_0101)
_W3 = np.uint64(3)


@kernel
def long_runs(plane, start, size):  # type: ignore[no-untyped-def]
    """Tell from a sample whether the range is mostly runs, so that coding them may pay."""
    if size < 16:
        return True
    step = max(1, (size - 9) // _SAMPLES)
    equal = 0
    sampled = 0
    for at in range(start, start + size - 8, step):
        sampled += 1
        equal += load64(plane, at) == load64(plane, at + 1)
    return 4 * equal > 3 * sampled


@kernel
def run_end(plane, at, last):  # type: ignore[no-untyped-def]
    """Where the run that starts at ``at`` ends, ``last`` at most."""
    value = plane[at]
    pattern = np.uint64(value) * _EIGHT_TIMES
    while at + 8 <= last:
        difference = load64(plane, at) ^ pattern
        if difference != 0:
            return at + np.int64(trailing_zeros(difference) >> _W3)
        at += 8
    while at < last and plane[at] == value:
        at += 1
    return at


@kernel
def runs_size(plane, start, size, limit):  # type: ignore[no-untyped-def]
    """Bytes that ``encode_runs`` writes for ``plane[start : start + size]``, or ``limit`` or more."""
    total = 0
    at = start
    while at < start + size and total < limit:
        end = run_end(plane, at, start + size)
        total += 1 + (np.int64(bit_length(np.uint64(end - at))) + 6) // 7
        at = end
    return total


@kernel
def encode_runs(plane, start, size, stream, at):  # type: ignore[no-untyped-def]
    """Write the range's runs to ``stream[at:]``, which has room for ``runs_size`` bytes."""
    first = start
    while first < start + size:
        last = run_end(plane, first, start + size)
        stream[at] = plane[first]
        at += 1
        length = last - first
        while length >= 128:
            stream[at] = 128 | (length & 127)
            at += 1
            length >>= 7
        stream[at] = length
        at += 1
        first = last


@kernel
def decode_runs(stream, at, end, plane, start, size):  # type: ignore[no-untyped-def]
    """Decode ``stream[at:end]`` into ``plane[start : start + size]``; safe on any content.

    Returns:
        True if the runs fill the range exactly; otherwise the range is undefined.
    """
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
        fill_bytes(plane, start + size - left, length, value)
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
