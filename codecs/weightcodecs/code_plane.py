"""Quantised codes as bytes: the low bits as they are where that costs next to nothing, the rest
entropy-coded.

INT8 codes of weights have 6 to 7.2 bits of entropy, and codes that long decode one or two at a time. The
upper half of such a code has three bits of entropy and decodes twice as fast; the lower half is nearly
uniform.

Layout: low bits b kept apart (one byte, 0, 2 or 4); for each segment of 2^20 codes the size of its coded
upper bits (u32) · the segments, each coded upper bits (entropy.py) and then ⌈n·b/8⌉ bytes. Source: ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .entropy import decode_into, encode_plane
from .errors import CorruptBlobError
from .kernels.low_bits import merge_low_bits, split_low_bits
from .threads import map_threads

__all__ = ["decode_codes", "encode_codes"]

_SEGMENT = 1 << 20
_TOLERATED = 0.08  # bits a code that the faster layouts may cost

Codes = NDArray[np.uint8]


def encode_codes(codes: Codes, threads: int) -> bytes:
    """Code flat uint8 codes."""
    bits = _low_bits(codes)
    starts = range(0, codes.size, _SEGMENT)
    parts = map_threads(lambda start: _encode(codes[start : start + _SEGMENT], bits), starts, threads)
    sizes = np.array([len(top) for top, _ in parts], "<u4").tobytes()
    return b"".join([bytes((bits,)), sizes, *(piece for part in parts for piece in part)])


def decode_codes(data: memoryview, count: int, threads: int) -> Codes:
    """Return `count` codes; `CorruptBlobError` if the bytes are not what `encode_codes` writes."""
    segments = -(-count // _SEGMENT)
    at = 1 + 4 * segments
    if len(data) < at or data[0] not in (0, 2, 4):
        raise CorruptBlobError("the codes are cut short")
    bits = data[0]
    lengths = [min(_SEGMENT, count - start) for start in range(0, count, _SEGMENT)]
    tops = np.frombuffer(data[1:at], "<u4").tolist()
    places = []
    for top, length in zip(tops, lengths, strict=True):
        places.append(at)
        at += top + -(-length * bits // 8)
    if at != len(data) or min(tops, default=3) < 3:
        raise CorruptBlobError("the segments of codes do not fill their part")
    # As with entropy.py's own directory, a segment that stands for 2^20 equal codes takes a few bytes.
    out = np.empty(count, np.uint8)

    def work(segment: int) -> None:
        place, top, length = places[segment], tops[segment], lengths[segment]
        target = out[segment * _SEGMENT : segment * _SEGMENT + length]
        decode_into(data[place : place + top], target)
        if bits:
            rest = np.frombuffer(data, np.uint8, -(-length * bits // 8), place + top)
            merge_low_bits(target, bits, rest)

    map_threads(work, range(segments), threads)
    return out


def _encode(codes: Codes, bits: int) -> tuple[bytes, bytes]:
    if not bits:
        return encode_plane(codes, method="smallest"), b""
    top, rest = np.empty(codes.size, np.uint8), np.empty(-(-codes.size * bits // 8), np.uint8)
    split_low_bits(codes, bits, top, rest)
    return encode_plane(top), rest.tobytes()


def _low_bits(codes: Codes) -> int:
    counts = np.bincount(codes, minlength=256)
    cost = {bits: bits + _entropy(counts.reshape(-1, 1 << bits).sum(axis=1)) for bits in (0, 2, 4)}
    return next(bits for bits in (4, 2, 0) if cost[bits] <= min(cost.values()) + _TOLERATED)


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / max(int(counts.sum()), 1)
    return float(-(share * np.log2(share)).sum())
