"""The entropy coder of every codec here: one byte plane to a stream of independent chunks, and back.

A plane is cut into chunks (128 KiB unless told otherwise), each coded the smallest way
(kernels.plane_chunk): raw, constant, runs, Huffman or ANS. Chunks are found through a directory, so any of
them can be decoded alone and threads decode side by side. Coding never makes a plane larger than
``encode_bound``. Source: ours.

Layout: log2 of the chunk size (one byte); unless there is only one chunk, the coded size of each (three
bytes, little-endian); the chunks. The plane's length is not stored: who stores a plane knows it.

Kernels that split and merge planes themselves call ``kernels.plane_chunk`` directly.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from weightcodecs.errors import ConfigError, CorruptBlobError
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.plane_chunk import (
    ALLOW_ANS,
    ALLOW_HUFFMAN,
    ALLOW_RUNS,
    MAX_CHUNK_BYTES,
    PREFER_SPEED,
    decode_chunk,
    decode_two_chunks,
    encode_chunk,
)
from weightcodecs.threads import map_threads

__all__ = [
    "METHODS",
    "check_plane",
    "decode_into",
    "decode_plane",
    "encode_bound",
    "encode_into",
    "encode_plane",
]

Bytes: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]

METHODS = {
    "auto": ALLOW_RUNS | ALLOW_HUFFMAN | ALLOW_ANS | PREFER_SPEED,
    "smallest": ALLOW_RUNS | ALLOW_HUFFMAN | ALLOW_ANS,
    "huffman": ALLOW_RUNS | ALLOW_HUFFMAN,
    "ans": ALLOW_RUNS | ALLOW_ANS,
    "rle": ALLOW_RUNS,
    "raw": 0,
}
"""What a chunk may be. "auto" takes ANS only where it is 1/16 smaller than Huffman, for it is slower."""

DEFAULT_CHUNK_BYTES = 1 << 17
_MIN_CHUNK_LOG2 = 10
_SIZE_BYTES = 3
_CHUNKS_PER_TASK = 8


@kernel
def _encode_chunks(plane, chunk, first, last, allowed, stream, at, directory):  # type: ignore[no-untyped-def]
    """Code chunks ``first`` to ``last - 1`` to ``stream[at:]``, sizes to ``directory``; bytes in all."""
    begin = at
    for index in range(first, last):
        start = index * chunk
        size = min(chunk, plane.size - start)
        coded = encode_chunk(plane, start, size, stream, at, allowed)
        directory[index] = coded
        at += coded
    return at - begin


@kernel
def _decode_chunks(stream, offsets, chunk, first, last, plane):  # type: ignore[no-untyped-def]
    """Decode chunks ``first`` to ``last - 1``; index of the first one that is corrupt, or -1."""
    for index in range(first, last, 2):
        start = index * chunk
        at, middle = offsets[index], offsets[index + 1]
        if index + 1 < last and start + 2 * chunk <= plane.size:
            coded1 = offsets[index + 2] - middle
            good = decode_two_chunks(
                stream, at, middle - at, middle, coded1, plane, start, start + chunk, chunk
            )
            if good < 2:
                return index + good
            continue
        for each in range(index, min(index + 2, last)):
            start = each * chunk
            size = min(chunk, plane.size - start)
            if not decode_chunk(stream, offsets[each], offsets[each + 1] - offsets[each], plane, start, size):
                return each
    return -1


def encode_bound(size: int, chunk_bytes: int = DEFAULT_CHUNK_BYTES) -> int:
    """Return the most bytes that coding a plane of ``size`` bytes can take."""
    return 1 + size + (1 + _SIZE_BYTES) * (-(-size // chunk_bytes))


def encode_into(
    plane: Bytes,
    out: NDArray[np.uint8],
    *,
    method: str = "auto",
    threads: int = 1,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
) -> int:
    """Code a plane into the front of ``out``.

    Args:
        plane: the bytes to code; not changed.
        out: contiguous uint8 array of at least ``encode_bound(len(plane), chunk_bytes)`` bytes.
        method: a key of ``METHODS``.
        threads: how many chunks are coded at a time; the result is the same for any number.
        chunk_bytes: a power of two from 2**10 to 2**20.

    Returns:
        How many bytes of ``out`` are the coded plane.

    Raises:
        ConfigError: unknown method or chunk size, or ``out`` is too small.
    """
    source = _input_view(plane)
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    log2 = chunk_bytes.bit_length() - 1
    if chunk_bytes != 1 << log2 or not _MIN_CHUNK_LOG2 <= log2 <= MAX_CHUNK_BYTES.bit_length() - 1:
        raise ConfigError(f"chunk_bytes must be a power of two from 1 KiB to 1 MiB, not {chunk_bytes}")
    if out.size < encode_bound(source.size, chunk_bytes) or not out.flags.c_contiguous:
        raise ConfigError("out must be contiguous and have encode_bound(len(plane), chunk_bytes) bytes")
    chunks = -(-source.size // chunk_bytes)
    out[0] = log2
    body = 1 + (_SIZE_BYTES * chunks if chunks > 1 else 0)
    sizes = np.empty(chunks, np.int64)
    ranges = _ranges(chunks, threads)

    def task(part: tuple[int, int]) -> int:
        # Each part is written where it would stand if all chunks before it were raw, and moved up afterwards.
        at = body + part[0] * (chunk_bytes + 1)
        return int(_encode_chunks(source, chunk_bytes, *part, METHODS[method], out, at, sizes))

    written = body
    for part, coded in zip(ranges, map_threads(task, ranges, threads), strict=True):
        at = body + part[0] * (chunk_bytes + 1)
        if at != written:
            out[written : written + coded] = out[at : at + coded]
        written += coded
    if chunks > 1:
        directory = sizes.astype("<u4").view(np.uint8).reshape(chunks, 4)
        out[1:body].reshape(chunks, _SIZE_BYTES)[:] = directory[:, :_SIZE_BYTES]
    return written


def encode_plane(
    plane: Bytes, *, method: str = "auto", threads: int = 1, chunk_bytes: int = DEFAULT_CHUNK_BYTES
) -> bytes:
    """Code a plane; see ``encode_into``."""
    source = _input_view(plane)
    out = np.empty(encode_bound(source.size, chunk_bytes), np.uint8)
    return out[: encode_into(source, out, method=method, threads=threads, chunk_bytes=chunk_bytes)].tobytes()


def decode_into(coded: Bytes, out: NDArray[np.uint8], *, threads: int = 1) -> None:
    """Decode a plane of ``out.size`` bytes into ``out`` (contiguous, uint8).

    Raises:
        CorruptBlobError: ``coded`` is not a plane of that length; ``out`` is then undefined.
    """
    stream = _input_view(coded)
    chunk_bytes, offsets = _directory(stream, out.size)
    ranges = _ranges(offsets.size - 1, threads)

    def task(part: tuple[int, int]) -> int:
        return int(_decode_chunks(stream, offsets, chunk_bytes, *part, out))

    for bad in map_threads(task, ranges, threads):
        if bad >= 0:
            raise CorruptBlobError(f"chunk {bad} of a coded plane is corrupt")


def decode_plane(coded: Bytes, size: int, *, threads: int = 1) -> NDArray[np.uint8]:
    """Decode a plane of ``size`` bytes; it is allocated only if the directory accounts for it.

    Raises:
        CorruptBlobError: ``coded`` is not a plane of that length.
    """
    check_plane(coded, size)
    out = np.empty(size, np.uint8)
    decode_into(coded, out, threads=threads)
    return out


def check_plane(coded: Bytes, size: int) -> None:
    """Raise `CorruptBlobError` unless the directory of ``coded`` accounts for a plane of ``size`` bytes.

    A chunk of at most 1 MiB takes five bytes at least; nothing that grows with ``size`` is allocated.
    """
    _directory(_input_view(coded), size)


def _directory(stream: NDArray[np.uint8], size: int) -> tuple[int, NDArray[np.int64]]:
    """Chunk size and the offset of every chunk, the last one's end included; everything checked."""
    if stream.size < 1 or not _MIN_CHUNK_LOG2 <= stream[0] <= MAX_CHUNK_BYTES.bit_length() - 1:
        raise CorruptBlobError("a coded plane starts with a chunk size that does not exist")
    chunk_bytes = 1 << int(stream[0])
    chunks = -(-size // chunk_bytes)
    body = 1 + (_SIZE_BYTES * chunks if chunks > 1 else 0)
    if stream.size < body + 2 * chunks:
        raise CorruptBlobError(f"{stream.size} bytes cannot hold the {chunks} chunks of a coded plane")
    sizes = np.zeros((chunks, 4), np.uint8)
    if chunks > 1:
        sizes[:, :_SIZE_BYTES] = stream[1:body].reshape(chunks, _SIZE_BYTES)
    elif chunks == 1:
        sizes.view("<u4")[0, 0] = min(stream.size - body, MAX_CHUNK_BYTES + 1)
    offsets = np.empty(chunks + 1, np.int64)
    offsets[0] = body
    np.cumsum(sizes.view("<u4")[:, 0], dtype=np.int64, out=offsets[1:])
    offsets[1:] += body
    if offsets[-1] != stream.size:
        raise CorruptBlobError(f"the chunks of a coded plane end at byte {offsets[-1]} of {stream.size}")
    return chunk_bytes, offsets


def _input_view(data: Bytes) -> NDArray[np.uint8]:
    """A read-only flat view: kernels are compiled once, for read-only input."""
    view = np.frombuffer(data, np.uint8)
    view.flags.writeable = False
    return view


def _ranges(chunks: int, threads: int) -> list[tuple[int, int]]:
    step = chunks if threads <= 1 else max(1, min(_CHUNKS_PER_TASK, -(-chunks // threads)))
    return [(first, min(first + step, chunks)) for first in range(0, chunks, max(step, 1))]
