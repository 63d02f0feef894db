"""What the adapters of other people's codecs share: whether the package is there, and checks around its
decoder.

A native decoder is given nothing whose size has not been checked, and what it returns must have the
checksum of what the encoder saw. Between the two it is on its own: a codec whose library was not made for
hostile input says so in its module's docstring. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from .blob import BlobBuffer, BlobInfo, byte_view, read_varint, varint
from .codec import Encoded
from .errors import CorruptBlobError, MissingExtraError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions

__all__ = ["accept", "check_expansion", "decode_bounded", "encode_bounded", "encode_exact", "require_package"]

Array = NDArray[Any]

_MAX_EXPANSION = 1 << 20
_DIGEST = 8


def require_package(name: str) -> None:
    """Raise `MissingExtraError` if the package `name` is not installed; does not import it."""
    if find_spec(name) is None:
        raise MissingExtraError(name, "baselines")


def encode_exact(values: Array, coded: bytes) -> Encoded | None:
    """Wrap what a lossless library made of `values`, with their checksum."""
    if values.nbytes > len(coded) * _MAX_EXPANSION:
        return None
    return Encoded.of(coded, _digest(values))


def check_expansion(codec: str, info: BlobInfo, most: int = _MAX_EXPANSION) -> None:
    """Raise `CorruptBlobError` if the array has more than `most` times the payload's bytes."""
    if info.nbytes > len(info.payload) * most:
        raise CorruptBlobError(f"{codec}: {len(info.payload)} bytes cannot hold {info.nbytes}")


def accept(codec: str, decoded: Array, info: BlobInfo, out: Array | None) -> Array:
    """Return what a library decoded as the blob's array, if size and checksum are right."""
    flat = np.ascontiguousarray(decoded).reshape(-1)
    if flat.nbytes != info.nbytes or _digest(flat) != info.parameters:
        raise CorruptBlobError(f"{codec}: the library decoded something else than was coded")
    flat = flat.view(info.format.dtype)
    if out is None:
        return flat
    out[...] = flat
    return out


def encode_bounded(
    values: Array, bound: float, compress: Callable[[Array], bytes], decompress: Callable[[bytes], Array]
) -> Encoded:
    """Code floats with an absolute error bound; what the library does not hold to it becomes exceptions.

    Payload: the library's bytes · exception list. Parameters: checksum of what the library decodes · number
    of exceptions · length of the library's bytes.
    """
    finite = np.isfinite(values)
    coded = compress(values if finite.all() else np.where(finite, values, values.dtype.type(0)))
    decoded = decompress(coded)
    with np.errstate(invalid="ignore", over="ignore"):
        # Rounding is monotone: below the bound after rounding is not above it before.
        error = np.abs(decoded.astype(np.float64) - values.astype(np.float64))
        beyond = np.flatnonzero(~(finite & (error < bound)))
    size = exceptions_nbytes(values.size, beyond.size, values.itemsize)
    buffer = BlobBuffer(len(coded) + size)
    buffer.array[: len(coded)] = np.frombuffer(coded, np.uint8)
    if size:
        pack_exceptions(values, beyond, buffer.array[len(coded) :])
    parameters = _digest(decoded) + varint(beyond.size) + varint(len(coded))
    return Encoded(buffer.finish(len(coded) + size), parameters)


def decode_bounded(
    codec: str, info: BlobInfo, out: Array | None, decompress: Callable[[memoryview], Array]
) -> Array:
    """Undo `encode_bounded`."""
    check_expansion(codec, info)
    exceptions, at = read_varint(info.parameters, _DIGEST)
    length, at = read_varint(info.parameters, at)
    listed = exceptions_nbytes(info.count, exceptions, info.format.nbytes)
    if at != len(info.parameters) or exceptions > info.count or length + listed != len(info.payload):
        raise CorruptBlobError(f"{codec}: the payload has the wrong size")
    decoded = decompress(info.payload[:length])
    if decoded.nbytes != info.nbytes or _digest(decoded) != info.parameters[:_DIGEST]:
        raise CorruptBlobError(f"{codec}: the library decoded something else than was coded")
    target = decoded.reshape(-1) if out is None else out
    if out is not None:
        out[...] = decoded.reshape(-1)
    restore_exceptions(target, exceptions, info.payload[length:])
    return target


def _digest(values: Array) -> bytes:
    return xxhash.xxh3_64(byte_view(np.ascontiguousarray(values))).digest()
