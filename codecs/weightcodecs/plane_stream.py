"""A float array as entropy-coded byte planes: the payload of zipnn, zipnn_delta, zipnn_lossy and bitx.

The array is cut into pieces; each piece is turned (see kernels.planes), split into byte planes, and each
plane of it coded as a chunk of its own (kernels.plane_chunk), the smallest way allowed. Any piece can be
decoded alone; threads take pieces in turn, and the bytes are the same for any number of threads.

Payload: the size of every chunk (3 bytes each, little-endian, piece by piece, highest plane first) · the
chunks in the same order. Whoever stores it keeps log2 of the piece's elements beside it. Format: ours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blob import BlobBuffer
from .errors import CorruptBlobError
from .formats import FloatFormat
from .kernels.plane_pieces import decode_pieces, encode_pieces
from .kernels.planes import BLOCK, rotation
from .threads import map_threads

__all__ = [
    "SIZE_BYTES",
    "chunk_offsets",
    "decode_planes",
    "encode_planes",
    "piece_log2",
    "store_sizes",
    "words",
]

SIZE_BYTES = 3
_PIECES_PER_TASK = 4
_MIN_LOG2, _MAX_LOG2 = 10, 17

Array = NDArray[Any]


def piece_log2(format: FloatFormat) -> int:
    """Return log2 of the elements in a piece: a piece and its planes fill about half an L2 cache of 1 MiB."""
    return {1: 17, 2: 17, 4: 16, 8: 15}[format.nbytes]


def words(values: Array) -> Array:
    """Return flat values as read-only unsigned words, copied only if they are not aligned."""
    view = values.view(f"u{values.itemsize}")
    view = view.view() if view.flags.aligned else view.copy()
    view.flags.writeable = False
    return view


def encode_planes(
    values: Array,
    base: Array | None,
    format: FloatFormat,
    allowed: int,
    threads: int,
) -> BlobBuffer:
    """Code a flat non-empty array, or its XOR with `base`, into a payload.

    Args:
        values: n elements.
        base: as many of the same format, or None.
        format: their format; it decides how words are turned.
        allowed: methods a chunk may use (kernels.plane_chunk).
        threads: how many pieces are coded at a time.
    """
    source = words(values)
    other = source[:0] if base is None else words(base)
    width, piece = source.itemsize, 1 << piece_log2(format)
    pieces = -(-source.size // piece)
    piece = min(piece, source.size)
    head = SIZE_BYTES * pieces * width
    buffer = BlobBuffer(head + source.nbytes + pieces * width)
    sizes = np.empty((pieces, width), np.int64)
    turn = np.array(rotation(format), source.dtype)

    def code(span: tuple[int, int], stream: NDArray[np.uint8], at: int) -> int:
        turned, planes = np.empty(BLOCK, source.dtype), np.empty(piece * width, np.uint8)
        return int(
            encode_pieces(source, other, turn, turned, planes, piece, *span, allowed, stream, at, sizes)
        )

    spans = _tasks(pieces, threads)
    if len(spans) == 1:
        end = head + code(spans[0], buffer.array, head)
    else:
        end = _encode_in_order(code, spans, buffer.array, head, piece * width + width, threads)
    store_sizes(sizes.reshape(-1), buffer.array)
    return buffer.finish(end)


def _encode_in_order(
    code: Callable[[tuple[int, int], NDArray[np.uint8], int], int],
    spans: list[tuple[int, int]],
    out: NDArray[np.uint8],
    at: int,
    bound: int,
    threads: int,
) -> int:
    """Code spans side by side and put them in a row; a span waits for the place of the one before.

    Tasks start in order, so the one that is waited for is always under way.
    """
    places = [at, *([-1] * len(spans))]
    known = threading.Condition()

    def work(index: int) -> None:
        low, high = spans[index]
        aside = np.empty((high - low) * bound, np.uint8)
        size = -1
        try:
            size = code(spans[index], aside, 0)
        finally:
            with known:
                known.wait_for(lambda: places[index] != -1)
                # A span that failed leaves no place for the ones behind it, but must not leave them waiting.
                places[index + 1] = places[index] + max(size, 0)
                known.notify_all()
        start = places[index]
        out[start : start + size] = aside[:size]

    map_threads(work, range(len(spans)), threads)
    return places[-1]


def decode_planes(
    payload: memoryview,
    count: int,
    base: Array | None,
    format: FloatFormat,
    log2: int,
    out: Array | None,
    threads: int,
) -> Array:
    """Decode a payload of `encode_planes` into `out` (flat), or into a new array.

    Raises:
        CorruptBlobError: the payload is not one of `count` elements in pieces of 2**log2.
    """
    stream = np.frombuffer(payload, np.uint8)
    if not _MIN_LOG2 <= log2 <= _MAX_LOG2:
        raise CorruptBlobError(f"pieces of 2^{log2} elements do not exist")
    width, piece = format.nbytes, 1 << log2
    pieces = -(-count // piece)
    offsets = chunk_offsets(stream, pieces * width)
    piece = min(piece, count)
    flat = np.empty(count, format.dtype) if out is None else out
    aligned = flat.flags.aligned
    target = flat.view(format.bits_dtype) if aligned else np.empty(count, format.bits_dtype)
    other = words(target[:0]) if base is None else words(base)
    turn = np.array(rotation(format), target.dtype)

    def work(span: tuple[int, int]) -> int:
        planes = np.empty(2 * piece * width, np.uint8)
        read_only = planes.view()
        read_only.flags.writeable = False
        return int(decode_pieces(stream, offsets, other, turn, planes, read_only, piece, *span, target))

    for bad in map_threads(work, _tasks(pieces, threads), threads):
        if bad >= 0:
            raise CorruptBlobError(f"piece {bad} of the coded planes is corrupt")
    if not aligned:
        flat.view(format.bits_dtype)[...] = target
    return flat


def store_sizes(sizes: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Write the directory of chunk sizes to the front of `out`."""
    wide = sizes.astype("<u4").view(np.uint8).reshape(-1, 4)
    out[: sizes.size * SIZE_BYTES].reshape(-1, SIZE_BYTES)[...] = wide[:, :SIZE_BYTES]


def chunk_offsets(stream: NDArray[np.uint8], chunks: int) -> NDArray[np.int64]:
    """Return where every chunk starts, and the end of the last, from the directory in front of `stream`.

    Raises `CorruptBlobError` unless the chunks fill the stream.
    """
    head = SIZE_BYTES * chunks
    if stream.size < head:
        raise CorruptBlobError(f"{stream.size} bytes cannot hold the directory of {chunks} chunks")
    wide = np.zeros((chunks, 4), np.uint8)
    wide[:, :SIZE_BYTES] = stream[:head].reshape(chunks, SIZE_BYTES)
    offsets = np.empty(chunks + 1, np.int64)
    offsets[0] = head
    np.cumsum(wide.view("<u4")[:, 0], dtype=np.int64, out=offsets[1:])
    offsets[1:] += head
    if offsets[-1] != stream.size:
        raise CorruptBlobError(f"the chunks end at byte {offsets[-1]} of {stream.size}")
    return offsets


def _tasks(pieces: int, threads: int) -> list[tuple[int, int]]:
    step = pieces if threads <= 1 else max(1, min(_PIECES_PER_TASK, -(-pieces // threads)))
    return [(low, min(low + step, pieces)) for low in range(0, pieces, step)]
