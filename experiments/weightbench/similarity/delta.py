"""A chunk as its difference from one like it: XOR where values stand in the same places, matches where not.

A delta is one letter and a body: ``x``, the payload of a `bitx` blob against the base, cut or filled with
zeros to the chunk's size; or ``z``, a zstd frame (level 3) with the base as its dictionary, which finds what
was moved. The smaller of the two. Source: ours.
"""

from __future__ import annotations

import numpy as np
import zstandard

import weightcodecs
from weightbench.models.model import Array
from weightcodecs import CorruptBlobError, get_codec
from weightcodecs.blob import byte_view

__all__ = ["decode_delta", "encode_delta"]

_XOR, _MATCHES = b"x", b"z"


def encode_delta(values: Array, base: Array) -> bytes:
    """Return the smaller delta of a flat array against a base of the same dtype, of any size."""
    xor = get_codec("bitx").encode(values, reference=_fitted(base, values.size))
    matches = zstandard.ZstdCompressor(level=3, dict_data=_dictionary(base)).compress(byte_view(values))
    # A blob says what it is in some 60 bytes; of many chunks of one array that need not be said each time, so
    # that only the payload counts. It stays whole here, so that it can be decoded.
    if len(weightcodecs.payload(xor)) <= len(matches):
        return _XOR + bytes(xor)
    return _MATCHES + matches


def delta_nbytes(delta: bytes) -> int:
    """Return what a delta counts for: its letter and its payload."""
    return 1 + (len(weightcodecs.payload(delta[1:])) if delta[:1] == _XOR else len(delta) - 1)


def decode_delta(delta: bytes, base: Array, count: int) -> Array:
    """Return the `count` values that a delta against `base` stands for.

    Raises:
        CorruptBlobError: the delta was altered, or is not one against this base.
    """
    if delta[:1] == _XOR:
        return get_codec("bitx").decode(delta[1:], reference=_fitted(base, count))
    if delta[:1] != _MATCHES:
        raise CorruptBlobError("similarity: the delta starts with no letter of ours")
    nbytes = count * base.itemsize
    try:
        if zstandard.frame_content_size(delta[1:]) != nbytes:
            raise CorruptBlobError(f"similarity: the delta does not hold {nbytes} bytes")
        data = zstandard.ZstdDecompressor(dict_data=_dictionary(base)).decompress(
            delta[1:], max_output_size=nbytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptBlobError(f"similarity: {error}") from None
    if len(data) != nbytes:
        raise CorruptBlobError("similarity: the delta is shorter than it says")
    return np.frombuffer(data, base.dtype)


def _fitted(base: Array, count: int) -> Array:
    if base.size >= count:
        return base[:count]
    return np.concatenate([base, np.zeros(count - base.size, base.dtype)])


def _dictionary(base: Array) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(bytes(byte_view(base)), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
