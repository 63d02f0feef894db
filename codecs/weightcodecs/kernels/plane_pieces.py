"""Pieces of an array through planes to chunks and back, without any plane ever standing whole in memory.

A piece's planes fit into the L2 cache: they are split into a scratch buffer and coded from there straight
into the output (`encode_pieces`), or decoded into it and merged into the output (`decode_pieces`). A plane
that was stored as it is goes from the stream into the words without a stop. Source: ours.
"""

import numpy as np

from .jit import kernel
from .plane_chunk import RAW, decode_chunk, encode_chunk
from .planes import merge_piece, split_piece

__all__ = ["decode_pieces", "encode_pieces"]


@kernel
def encode_pieces(words, base, turn, turned, planes, piece, first, last, allowed, stream, at, sizes):  # type: ignore[no-untyped-def]
    """Code pieces `first` to `last - 1` to stream[at:]; return how many bytes that took.

    Args:
        words, base, turn, turned: see planes.split_piece.
        planes: uint8 scratch, word size · piece bytes.
        piece: elements of a piece, at most MAX_CHUNK_BYTES.
        allowed: methods, see plane_chunk.encode_chunk.
        stream: uint8 with room for word size · (elements + pieces) bytes.
        sizes: int64 [pieces, word size], written: bytes of every chunk.
    """
    width = words.itemsize
    begin = at
    for index in range(first, last):
        start = index * piece
        stop = min(start + piece, words.size)
        split_piece(words[start:stop], base[start:stop], turn, turned, planes, piece)
        for plane in range(width):
            coded = encode_chunk(planes, plane * piece, stop - start, stream, at, allowed)
            sizes[index, plane] = coded
            at += coded
    return at - begin


@kernel
def decode_pieces(stream, offsets, base, turn, planes, read_planes, piece, first, last, words):  # type: ignore[no-untyped-def]
    """Decode pieces `first` to `last - 1` into `words`; return the first that is corrupt, or −1.

    Args:
        stream: uint8, read-only.
        offsets: int64, where every chunk starts, and the end of the last; ascending, inside the stream.
        planes, read_planes: uint8 scratch, word size · piece bytes, and a read-only view of it.
        words: unsigned integers, written.
        base, turn, piece: as in `encode_pieces`.
    """
    width = words.itemsize
    places = np.empty(width, np.int64)
    for index in range(first, last):
        start = index * piece
        stop = min(start + piece, words.size)
        size = stop - start
        for plane in range(width):
            at = offsets[index * width + plane]
            coded = offsets[index * width + plane + 1] - at
            if coded == size + 1 and stream[at] == RAW:
                places[plane] = -2 - at
            elif decode_chunk(stream, at, coded, planes, plane * piece, size):
                places[plane] = plane * piece
            else:
                return index
        merge_piece(stream, read_planes, places, base[start:stop], turn, words[start:stop])
    return -1
