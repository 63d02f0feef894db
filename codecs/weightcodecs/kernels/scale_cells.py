"""QStore's cells: 16-bit values grouped by row scale and code, two byte streams a cell (PVLDB 19(3), 2026).

The layout of a group is the release's: for each of the 256 codes (by bit pattern) and both streams (high
bytes, low bytes) a record of u32 original size, u8 type, u32 meta, and the stream's payload behind it. Type 0
is raw, 1 Huffman (a payload of one byte is a run), meta being the payload's size; 2 is a stream of more than
131,072 bytes, meta being the number of its chunks, each u8 type, u32 original size, u32 coded size and
payload. The Huffman payload is `plane_chunk`'s without its method byte instead of Huff0's: as large to a few
bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel
from .plane_chunk import ALLOW_HUFFMAN, CONSTANT, HUFFMAN, RAW, decode_chunk, encode_chunk
from .unaligned import copy_bytes, load32, store32

__all__ = ["CHUNK", "RECORD", "decode_group", "encode_group"]

CHUNK = 1 << 17
RECORD = 9
_SHORT = 2  # as long or shorter: raw


@kernel
def _encode_piece(plane: Any, start: Any, size: Any, shortest: Any, out: Any, at: Any, scratch: Any) -> Any:
    """Code one stream of at most CHUNK bytes to out[at:]; return its type and size."""
    if size > shortest:
        coded = encode_chunk(plane, start, size, scratch, 0, ALLOW_HUFFMAN)
        if scratch[0] != RAW and (coded - 1) * 100 < size * 99:
            copy_bytes(out, at, scratch, 1, coded - 1)
            return 1, coded - 1
    copy_bytes(out, at, plane, start, size)
    return 0, size


@kernel
def _encode_stream(plane: Any, start: Any, size: Any, out: Any, at: Any, scratch: Any) -> Any:
    """Write one stream's record and payload; return the position behind it."""
    record = at
    at += RECORD
    store32(out, record, np.uint64(size))
    if size <= CHUNK:
        kind, coded = _encode_piece(plane, start, size, _SHORT, out, at, scratch)
        out[record + 4] = kind
        store32(out, record + 5, np.uint64(coded))
        return at + coded
    out[record + 4] = 2
    chunks = (size + CHUNK - 1) // CHUNK
    store32(out, record + 5, np.uint64(chunks))
    for chunk in range(chunks):
        length = min(CHUNK, size - chunk * CHUNK)
        kind, coded = _encode_piece(plane, start + chunk * CHUNK, length, 64, out, at + RECORD, scratch)
        out[at] = kind
        store32(out, at + 1, np.uint64(length))
        store32(out, at + 5, np.uint64(coded))
        at += RECORD + coded
    return at


@kernel
def encode_group(values: Any, codes: Any, rows: Any, columns: Any, out: Any, at: Any, scratch: Any) -> Any:
    """Write the 512 streams of the rows of one scale; return the position behind them.

    Args:
        values: uint16, codes: uint8, both flat, rows of `columns` elements.
        rows: int64, the rows of this scale, ascending.
        out: uint8 with 512 records, 2 bytes an element and a record for each CHUNK of those from `at` on.
        scratch: uint8, CHUNK + 64 bytes.
    """
    starts = np.zeros(257, np.int64)
    for row in rows:
        for i in range(row * columns, (row + 1) * columns):
            starts[codes[i] + 1] += 1
    for code in range(256):
        starts[code + 1] += starts[code]
    place = starts.copy()
    high = np.empty(starts[256], np.uint8)
    low = np.empty(starts[256], np.uint8)
    for row in rows:
        for i in range(row * columns, (row + 1) * columns):
            to = place[codes[i]]
            place[codes[i]] += 1
            high[to] = values[i] >> 8
            low[to] = values[i] & 255
    for code in range(256):
        size = starts[code + 1] - starts[code]
        at = _encode_stream(high, starts[code], size, out, at, scratch)
        at = _encode_stream(low, starts[code], size, out, at, scratch)
    return at


@kernel
def _decode_piece(
    stream: Any, at: Any, kind: Any, coded: Any, plane: Any, start: Any, size: Any, scratch: Any
) -> Any:
    """Decode one stream of at most CHUNK bytes; False if it is not one."""
    if kind == 0:
        if coded != size:
            return False
        copy_bytes(plane, start, stream, at, size)
        return True
    if kind != 1 or coded < 1 or coded > size:
        return False
    scratch[0] = CONSTANT if coded == 1 else HUFFMAN
    copy_bytes(scratch, 1, stream, at, coded)
    return decode_chunk(scratch, 0, coded + 1, plane, start, size)


@kernel
def _decode_stream(stream: Any, at: Any, plane: Any, start: Any, size: Any, scratch: Any) -> Any:
    """Decode one stream; return the position behind it, or -1."""
    if stream.size - at < RECORD or np.int64(load32(stream, at)) != size:
        return -1
    kind, meta = stream[at + 4], np.int64(load32(stream, at + 5))
    at += RECORD
    if kind < 2:
        if size > CHUNK or meta > stream.size - at:
            return -1
        good = _decode_piece(stream, at, kind, meta, plane, start, size, scratch)
        return at + meta if good else -1
    chunks = (size + CHUNK - 1) // CHUNK
    if kind > 2 or meta != chunks or chunks < 2:
        return -1
    for chunk in range(chunks):
        length = min(CHUNK, size - chunk * CHUNK)
        if stream.size - at < RECORD or np.int64(load32(stream, at + 1)) != length:
            return -1
        inner, coded = stream[at], np.int64(load32(stream, at + 5))
        at += RECORD
        if coded > stream.size - at:
            return -1
        if not _decode_piece(stream, at, inner, coded, plane, start + chunk * CHUNK, length, scratch):
            return -1
        at += coded
    return at


@kernel
def decode_group(stream: Any, at: Any, codes: Any, rows: Any, columns: Any, values: Any, scratch: Any) -> Any:
    """Decode what `encode_group` wrote at stream[at:]; safe on any bytes.

    Args:
        values: uint16, flat; the elements of `rows` are written.
        scratch: uint8, CHUNK + 64 bytes.

    Returns:
        the position behind the group, or -1 if the bytes are not one.
    """
    starts = np.zeros(257, np.int64)
    for row in rows:
        for i in range(row * columns, (row + 1) * columns):
            starts[codes[i] + 1] += 1
    for code in range(256):
        starts[code + 1] += starts[code]
    high = np.empty(starts[256], np.uint8)
    low = np.empty(starts[256], np.uint8)
    for code in range(256):
        size = starts[code + 1] - starts[code]
        at = _decode_stream(stream, at, high, starts[code], size, scratch)
        if at < 0:
            return -1
        at = _decode_stream(stream, at, low, starts[code], size, scratch)
        if at < 0:
            return -1
    for row in rows:
        for i in range(row * columns, (row + 1) * columns):
            to = starts[codes[i]]
            starts[codes[i]] += 1
            values[i] = np.uint16(high[to]) << 8 | low[to]
    return at
