"""QStore's conditional stream as its authors lay it out (release 64927e6, file all_original.bin, one tensor).

Layout: number of groups u32 · ndim u8 and dimensions u32 · number of rows u32 · the group of each row u32 ·
the groups in the order of their scales' bit patterns, each as `kernels.scale_cells` says. Our Huffman coder
takes the place of Huff0; scales are stored beside this by the codec. A tensor of another shape than two
dimensions, which the authors leave out, is coded by the rows that its scales make.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from .conditional import Given
from .errors import CorruptBlobError
from .kernels.scale_cells import CHUNK, RECORD, decode_group, encode_group
from .pair import Pieces

__all__ = ["decode_cells", "encode_cells"]

Words = NDArray[np.uint16]


def encode_cells(values: Words, given: Given, shape: tuple[int, ...]) -> Pieces:
    """Code flat 16-bit patterns, not empty."""
    patterns, groups = np.unique(given.scales.view(np.uint32), return_inverse=True)
    rows = given.scales.size
    head = struct.pack(
        f"<IB{len(shape)}II", patterns.size, len(shape), *(d & 0xFFFFFFFF for d in shape), rows
    )
    pieces: Pieces = [head, groups.astype("<u4").view(np.uint8)]
    scratch = np.empty(CHUNK + 64, np.uint8)
    for group in range(patterns.size):
        mine = np.flatnonzero(groups == group)
        elements = mine.size * given.group
        out = np.empty(512 * RECORD + 2 * elements + RECORD * (2 * elements // CHUNK + 512) + 64, np.uint8)
        end = encode_group(values, given.codes, mine, given.group, out, 0, scratch)
        pieces.append(out[:end].copy())
    return pieces


def decode_cells(data: memoryview, given: Given, shape: tuple[int, ...], out: Words) -> None:
    """Decode into flat `out`; `CorruptBlobError` if the bytes are not what `encode_cells` writes."""
    head = struct.Struct(f"<IB{len(shape)}II")
    rows = given.scales.size
    if len(data) < head.size + 4 * rows:
        raise CorruptBlobError("qstore: the cells are cut short")
    groups, ndim, *sizes, said_rows = head.unpack(data[: head.size])
    if ndim != len(shape) or sizes != [d & 0xFFFFFFFF for d in shape] or said_rows != rows:
        raise CorruptBlobError("qstore: the cells are those of another tensor")
    row_map = np.frombuffer(data, "<u4", rows, head.size)
    stream, at = np.frombuffer(data, np.uint8), head.size + 4 * rows
    # Every group has rows, and its 512 records.
    if not (0 < groups <= rows) or (stream.size - at) // (512 * RECORD) < groups:
        raise CorruptBlobError("qstore: there are more groups than bytes for them")
    order = np.argsort(row_map, kind="stable")
    bounds = np.searchsorted(row_map[order], np.arange(groups + 1))
    if bounds[0] != 0 or bounds[-1] != rows:
        raise CorruptBlobError("qstore: a row is in a group that does not exist")
    scratch = np.empty(CHUNK + 64, np.uint8)
    for group in range(groups):
        mine = order[bounds[group] : bounds[group + 1]]
        at = int(decode_group(stream, at, given.codes, mine, given.group, out, scratch))
        if at < 0:
            raise CorruptBlobError("qstore: a cell's stream is corrupt")
    if at != stream.size:
        raise CorruptBlobError("qstore: bytes are left behind the last cell")
