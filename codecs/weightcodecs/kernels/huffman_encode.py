"""Huffman coding of a plane as four interleaved bit streams.

Each quarter of the plane has a stream of its own. Four independent accumulators keep the processor busy
where a single one would wait for its own last shift. A symbol costs a load, a table load, a shift, an or
and an add: its table entry holds the code in the highest bits and the code length in the lowest, so the
entry itself serves as shift count (only its low six bits count) and as addend of the bit counter (only its
low eight bits count). Streams are written forwards from the last symbol to the first, and read backwards,
as in huff0 (Collet, FiniteStateEntropy), from which the accumulator is taken; sizes of the streams known
beforehand, and no scratch copy, are ours.

A stream ends in a one bit and is padded with zeros to a byte.
"""

import numpy as np

from weightcodecs.kernels.histogram import SEGMENTS
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import store64

_BATCH = 5  # symbols between two flushes: 5 x 11 bits and at most 7 left over stay below 63
_LENGTH = np.uint64(15)
_BYTE = np.uint64(0xFF)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W63 = np.uint64(63)
_W64 = np.uint64(64)
_ONE = np.uint64(1)
_NONE = np.uint64(0)


@kernel
def encoding_table(lengths, codes, entries):  # type: ignore[no-untyped-def]
    """Fill ``entries`` (uint64 (256,)): code in the highest bits, its length in the lowest."""
    for symbol in range(256):
        length = np.uint64(lengths[symbol])
        entries[symbol] = _NONE
        if length > _NONE:
            entries[symbol] = (codes[symbol] << (_W64 - length)) | length


@kernel
def stream_sizes(histograms, lengths, sizes):  # type: ignore[no-untyped-def]
    """Bytes of each stream into ``sizes`` (int64 (4,)), from the quarters' histograms; returns their sum."""
    total = 0
    for segment in range(SEGMENTS):
        bits = np.int64(1)
        for symbol in range(256):
            bits += np.int64(histograms[segment, symbol]) * np.int64(lengths[symbol])
        sizes[segment] = (bits + 7) >> 3
        total += sizes[segment]
    return total


@kernel
def close_stream(plane, first, last, entries, stream, at, pending, filled):  # type: ignore[no-untyped-def]
    """Code ``plane[first:last]`` from its end and close the stream, never writing beyond its last byte."""
    for back in range(last - first):
        entry = entries[np.uint64(plane[last - 1 - back])]
        length = entry & _LENGTH
        pending = (pending >> length) | (entry ^ length)
        filled += length
        while filled >= np.uint64(8):
            stream[at] = (pending >> (_W64 - filled)) & _BYTE
            at += 1
            filled -= np.uint64(8)
    pending = (pending >> _ONE) | (_ONE << _W63)
    stream[at] = (pending >> (_W63 - filled)) & _BYTE


@kernel
def encode_streams(plane, start, size, entries, stream, at, sizes):  # type: ignore[no-untyped-def]
    """Write the four streams of ``plane[start : start + size]`` to ``stream[at:]``, one behind the other.

    Args:
        plane: uint8 array.
        start, size: a range inside it.
        entries: uint64 (256,) of ``encoding_table``; every byte of the range has a code.
        stream: uint8 array with room for ``sizes.sum()`` bytes at ``at``.
        sizes: int64 (4,) of ``stream_sizes``.
    """
    quarter = size // SEGMENTS
    # The last 64 symbols of a stream have at least 64 bits, so the 8-byte stores before them stay inside it.
    rounds = max(quarter - 64, 0) // _BATCH
    for segment in range(0, SEGMENTS, 2):
        end0 = start + (segment + 1) * quarter
        end1 = end0 + quarter if segment == 0 else start + size
        at0 = at
        at1 = at + sizes[segment]
        at = at1 + sizes[segment + 1]
        pending0 = pending1 = _NONE
        filled0 = filled1 = _NONE
        for round_ in range(rounds):
            from0 = end0 - _BATCH * round_
            from1 = end1 - _BATCH * round_
            for back in range(1, _BATCH):
                entry0 = entries[np.uint64(plane[np.uint64(from0 - back)])]
                entry1 = entries[np.uint64(plane[np.uint64(from1 - back)])]
                pending0 = (pending0 >> (entry0 & _W63)) | entry0
                pending1 = (pending1 >> (entry1 & _W63)) | entry1
                filled0 += entry0
                filled1 += entry1
            # The length bits of the last entry would stay in reach of the flush: mask them.
            entry0 = entries[np.uint64(plane[np.uint64(from0 - _BATCH)])]
            entry1 = entries[np.uint64(plane[np.uint64(from1 - _BATCH)])]
            pending0 = (pending0 >> (entry0 & _W63)) | (entry0 & ~_LENGTH)
            pending1 = (pending1 >> (entry1 & _W63)) | (entry1 & ~_LENGTH)
            filled0 = (filled0 + entry0) & _BYTE
            filled1 = (filled1 + entry1) & _BYTE
            store64(stream, at0, pending0 >> ((_NONE - filled0) & _W63))
            store64(stream, at1, pending1 >> ((_NONE - filled1) & _W63))
            at0 += np.int64(filled0 >> _W3)
            at1 += np.int64(filled1 >> _W3)
            filled0 &= _W7
            filled1 &= _W7
        done = _BATCH * rounds
        close_stream(plane, end0 - quarter, end0 - done, entries, stream, at0, pending0, filled0)
        close_stream(plane, end0, end1 - done, entries, stream, at1, pending1, filled1)
