"""Pieces of an array through planes to chunks and back, without any plane ever standing whole in memory.

A piece's planes fit into the L2 cache: they are split into a scratch buffer and coded from there straight
into the output (`encode_pieces`), or decoded into it and merged into the output (`decode_pieces`). A plane
that was stored as it is goes from the stream into the words without a stop. Source: ours.
"""

import numpy as np

from .jit import kernel
from .plane_chunk import RAW, decode_chunk, decode_two_chunks, encode_chunk
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
    """Decode pieces `first` to `last - 1` into `words`, two at a time; return a corrupt one, or −1.

    Args:
        stream: uint8, read-only.
        offsets: int64, where every chunk starts, and the end of the last; ascending, inside the stream.
        planes, read_planes: uint8 scratch, 2 · word size · piece bytes, and a read-only view of it.
        words: unsigned integers, written.
        base, turn, piece: as in `encode_pieces`.
    """
    width = words.itemsize
    places = np.empty((2, width), np.int64)
    start, at, coded = np.empty(3, np.int64), np.empty(2, np.int64), np.empty(2, np.int64)
    for index in range(first, last, 2):
        count = min(2, last - index)
        for k in range(3):
            start[k] = min((index + k) * piece, words.size)
        for plane in range(width):
            to = 2 * plane * piece
            for k in range(count):
                at[k] = offsets[(index + k) * width + plane]
                coded[k] = offsets[(index + k) * width + plane + 1] - at[k]
                raw = coded[k] == start[k + 1] - start[k] + 1 and stream[at[k]] == RAW
                places[k, plane] = -2 - at[k] if raw else to + k * piece
            if count == 2 and start[2] - start[1] == piece and min(places[0, plane], places[1, plane]) >= 0:
                good = decode_two_chunks(
                    stream, at[0], coded[0], at[1], coded[1], planes, to, to + piece, piece
                )
                if good < 2:
                    return index + good
                continue
            for k in range(count):
                size = start[k + 1] - start[k]
                if places[k, plane] < 0:
                    continue
                if not decode_chunk(stream, at[k], coded[k], planes, to + k * piece, size):
                    return index + k
        for k in range(count):
            here, there = start[k], start[k + 1]
            merge_piece(stream, read_planes, places[k], base[here:there], turn, words[here:there])
    return -1
