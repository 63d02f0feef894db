"""Blobs: coded bytes that say what they are.

Layout (little-endian). The description stands *behind* the payload, so that the output of a compression
library becomes a blob by appending a few bytes, without a copy, and so that a payload is aligned::

    payload
    footer   flags u8 (1: payload is the raw array, 2: a reference digest follows)
             format code u8 · codec version u8 · codec name (u8 length, ASCII)
             ndim u8, then each dimension as a varint
             codec parameters (varint length, bytes)
             16-byte XXH3-128 of the reference, if flagged
    tail     footer length u16 · XXH3-64 of all bytes before it, the length included, u64 · magic b"WCB1"

The checksum finds accidents (cut, flipped or mixed-up bytes) in one pass at memory speed; it is not a
signature. Decoders therefore check every size again. Format: ours.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from .errors import CorruptBlobError
from .formats import FloatFormat, format_with_code

__all__ = [
    "Blob",
    "BlobBuffer",
    "BlobInfo",
    "byte_view",
    "footer_limit",
    "parse_blob",
    "parse_description",
    "read_varint",
    "seal",
    "varint",
]

Bytes: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]
Blob: TypeAlias = bytes | memoryview

MAGIC = b"WCB1"
_TAIL, _LENGTH = struct.Struct("<HQ4s"), struct.Struct("<H")
_RAW, _REFERENCE = 1, 2
_MAX_DIMENSIONS = 64  # NumPy's own limit


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a blob says about itself; `payload` is a read-only view into the blob."""

    codec: str
    version: int
    format: FloatFormat
    shape: tuple[int, ...]
    raw: bool
    parameters: bytes
    reference: bytes | None
    payload: memoryview

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded array."""
        return self.count * self.format.nbytes


def byte_view(data: Bytes | NDArray[Any]) -> memoryview:
    """Return the bytes of a C-contiguous array or buffer, without a copy."""
    if isinstance(data, np.ndarray):
        data = data.reshape(-1).view(np.uint8)
    view = memoryview(data)  # type: ignore[arg-type]
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    if view.nbytes == 0:  # cast refuses a zero in the shape
        return memoryview(b"")
    return view if view.itemsize == 1 and view.ndim == 1 else view.cast("B")


class BlobBuffer:
    """A buffer for kernels to write a payload into, with room for the footer behind it.

    `array` has `capacity` bytes and begins where a cache line does, so that whole vectors written to it touch
    one line; pages that are never written cost no memory.
    """

    def __init__(self, capacity: int) -> None:
        room = np.empty(capacity + _FOOTER_ROOM + _LINE, np.uint8)
        self._room = room[-room.ctypes.data % _LINE :]
        self.array: NDArray[np.uint8] = self._room[:capacity]
        self.used = 0
        self.digest: xxhash.xxh3_64 | None = None

    @classmethod
    def copied(cls, data: NDArray[np.uint8]) -> BlobBuffer:
        """Return a payload that is `data`, whose checksum is taken in the same pass over memory."""
        buffer, digest = cls(data.size), xxhash.xxh3_64()
        for start in range(0, data.size, _PIECE):
            piece = data[start : start + _PIECE]
            digest.update(byte_view(piece))
            buffer.array[start : start + piece.size] = piece
        buffer.digest = digest
        return buffer.finish(data.size)

    def finish(self, used: int) -> BlobBuffer:
        """Say how many bytes of `array` are payload."""
        self.used = used
        return self

    def sealed(self, footer: bytes) -> memoryview:
        """Append the footer and return the blob."""
        end = self.used + len(footer)
        self._room[self.used : end] = np.frombuffer(footer, np.uint8)
        return byte_view(self._room[:end])


_FOOTER_ROOM, _LINE = 4096, 64
_PIECE = 1 << 18  # stays in the second-level cache


def varint(value: int) -> bytes:
    """Return `value` ≥ 0 in 7-bit groups, low group first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at `at` and the position behind it; `CorruptBlobError` if it is cut or too long."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CorruptBlobError("a number in the blob's description is cut short or too large")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def footer_limit(codec: str, shape: tuple[int, ...], parameters: int = 64, reference: bool = False) -> int:
    """Return the most bytes that a blob adds to its payload: the law is size ≤ raw + this."""
    return 5 + len(codec) + 10 * len(shape) + parameters + (16 if reference else 0) + _TAIL.size


def seal(
    payload: io.BytesIO | BlobBuffer,
    *,
    codec: str,
    version: int,
    format: FloatFormat,
    shape: tuple[int, ...],
    raw: bool = False,
    parameters: bytes = b"",
    reference: bytes | None = None,
) -> Blob:
    """Turn a payload into a blob, without copying it.

    A `BytesIO` made from a bytes object that nobody else holds grows it with realloc, which moves page
    tables and not bytes; `payload + footer` would copy the payload.
    """
    name = codec.encode("ascii")
    flags = (_RAW if raw else 0) | (_REFERENCE if reference is not None else 0)
    footer = bytes((flags, format.code, version, len(name))) + name
    footer += bytes((len(shape),)) + b"".join(map(varint, shape))
    footer += varint(len(parameters)) + parameters + (reference or b"")
    if len(footer) + _TAIL.size > _FOOTER_ROOM:
        raise ValueError("codec parameters are too long for a blob's footer; put them into the payload")
    if isinstance(payload, BlobBuffer):
        digest = payload.digest or xxhash.xxh3_64(byte_view(payload.array[: payload.used]))
    else:
        with payload.getbuffer() as body:  # an exported view would keep the stream from growing
            digest = xxhash.xxh3_64(body)
    digest.update(footer + _LENGTH.pack(len(footer)))
    footer += _TAIL.pack(len(footer), digest.intdigest(), MAGIC)
    if isinstance(payload, BlobBuffer):
        return payload.sealed(footer)
    payload.seek(0, io.SEEK_END)
    payload.write(footer)
    return payload.getvalue()


def parse_blob(blob: Bytes) -> BlobInfo:
    """Check a blob's checksum and description; `CorruptBlobError` if anything is off."""
    view = byte_view(blob).toreadonly()
    end, length, checksum = _tail(view)
    if xxhash.xxh3_64(view[: end + _LENGTH.size]).intdigest() != checksum:
        raise CorruptBlobError("the blob's checksum does not match; it was altered or cut")
    return _parse_footer(bytes(view[end - length : end]), view[: end - length])


def parse_description(blob: Bytes) -> BlobInfo:
    """Check a blob's description alone, reading nothing of the payload.

    For codecs whose payload has parts with checksums of their own; `parse_blob` is for all others.
    """
    view = byte_view(blob).toreadonly()
    end, length, _ = _tail(view)
    return _parse_footer(bytes(view[end - length : end]), view[: end - length])


def _tail(view: memoryview) -> tuple[int, int, int]:
    """Return where the tail starts, the footer's length and the checksum."""
    if len(view) < _TAIL.size:
        raise CorruptBlobError(f"{len(view)} bytes are too few for a blob; it was cut short or is not ours")
    length, checksum, magic = _TAIL.unpack(view[-_TAIL.size :])
    if magic != MAGIC:
        raise CorruptBlobError("the blob does not end with our magic; it was cut short or is not ours")
    end = len(view) - _TAIL.size
    if length > end:
        raise CorruptBlobError("the blob's footer is longer than the blob; it was cut short")
    return end, length, checksum


def _parse_footer(footer: bytes, payload: memoryview) -> BlobInfo:
    try:
        flags, code, version, name_length = footer[:4]
        at = 4 + name_length
        codec = footer[4:at].decode("ascii")
        ndim = footer[at]
    except (ValueError, IndexError, UnicodeDecodeError):
        raise CorruptBlobError("the blob's description cannot be read") from None
    format = format_with_code(code)
    if format is None or flags > 3 or ndim > _MAX_DIMENSIONS or version == 0:
        raise CorruptBlobError("the blob's description names an unknown number format, flag or dimension")
    at += 1
    shape: list[int] = []
    for _ in range(ndim):
        size, at = read_varint(footer, at)
        shape.append(size)
    length, at = read_varint(footer, at)
    parameters = footer[at : at + length]
    at += length
    reference = footer[at : at + 16] if flags & _REFERENCE else None
    at += 16 if flags & _REFERENCE else 0
    # An empty array's other dimensions count too: NumPy multiplies them.
    if at != len(footer) or prod(max(size, 1) for size in shape) * format.nbytes >= 1 << 62:
        raise CorruptBlobError("the blob's description does not add up")
    return BlobInfo(codec, version, format, tuple(shape), bool(flags & _RAW), parameters, reference, payload)


def raw_array(info: BlobInfo) -> NDArray[Any]:
    """Return a raw payload as a flat read-only array (a view)."""
    if len(info.payload) != info.nbytes:
        raise CorruptBlobError(f"a raw payload of {len(info.payload)} bytes should have {info.nbytes}")
    return np.frombuffer(info.payload, info.format.bits_dtype).view(info.format.dtype)
