"""One chunk of a byte plane, coded the smallest way: what kernels that split and merge planes call.

``encode_chunk`` decides from the histogram, before it codes, which method gives the smallest chunk, headers
counted; ``decode_chunk`` checks everything it takes from the chunk. Both are meant to be called from other
kernels too: cut the elements into pieces that fit the L2 cache, split a piece into planes in a scratch
buffer, ``encode_chunk`` each plane. Source: ours.

A chunk is a method byte and

    RAW       the bytes
    CONSTANT  the one byte value
    RUNS      run_length's runs
    HUFFMAN   sizes of the first three streams (two bytes each; three bytes each for more than 128 KiB of
              plane), code lengths (code_table), four streams (huffman_encode)
    ANS       the same with frequencies (ans_code) and the streams of ans_encode

How many bytes a chunk decodes to, and how many it has, the caller knows.
"""

import numpy as np

from weightcodecs.kernels.ans_code import entropy_bits, normalise, read_frequencies, write_frequencies
from weightcodecs.kernels.ans_decode import decode_ans, several_table, single_table
from weightcodecs.kernels.ans_encode import encode_ans
from weightcodecs.kernels.code_table import MAX_TABLE_BYTES, read_table, write_table
from weightcodecs.kernels.histogram import SEGMENTS, add_segments, looks_incompressible, segment_histograms
from weightcodecs.kernels.huffman_code import MAX_CODE_BITS, canonical_codes, code_lengths
from weightcodecs.kernels.huffman_decode import (
    TABLE_SIZE,
    TWO_SYMBOLS,
    decode_both,
    decode_streams,
    decoding_table,
)
from weightcodecs.kernels.huffman_encode import encode_streams, encoding_table, stream_sizes
from weightcodecs.kernels.huffman_pairs import encode_pairs, pair_histograms, pair_numbers
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.run_length import decode_runs, encode_runs, long_runs, run_end, runs_size
from weightcodecs.kernels.unaligned import copy_bytes, fill_bytes

RAW, CONSTANT, RUNS, HUFFMAN, ANS = range(5)
ALLOW_RUNS, ALLOW_HUFFMAN, ALLOW_ANS, PREFER_SPEED = 1, 2, 4, 8
MAX_CHUNK_BYTES = 1 << 20
_SHORT_SIZES_UP_TO = 1 << 17  # a quarter of it times 11 bits is less than 2**16 bytes
_ANS_GAIN = 16
_LEAST_GAIN = 64  # a chunk is coded only if that saves 1/64 of it: raw chunks decode at the speed of a copy


@kernel
def _size_width(size):  # type: ignore[no-untyped-def]
    return 2 if size <= _SHORT_SIZES_UP_TO else 3


@kernel
def _store_sizes(stream, at, sizes, width):  # type: ignore[no-untyped-def]
    for segment in range(SEGMENTS - 1):
        for byte in range(width):
            stream[at] = (sizes[segment] >> (8 * byte)) & 255
            at += 1


@kernel
def _store_raw(plane, start, size, stream, at):  # type: ignore[no-untyped-def]
    stream[at] = RAW
    copy_bytes(stream, at + 1, plane, start, size)
    return size + 1


@kernel
def encode_chunk(plane, start, size, stream, at, allowed):  # type: ignore[no-untyped-def]
    """Code ``plane[start : start + size]`` to ``stream[at:]``.

    Args:
        plane: uint8 array.
        start, size: int64, a range inside it; ``size`` from 1 to MAX_CHUNK_BYTES.
        stream: uint8 array with room for ``size + 1`` bytes at ``at``; nothing beyond the chunk is written.
        allowed: sum of ALLOW_RUNS, ALLOW_HUFFMAN, ALLOW_ANS (raw and constant chunks are always allowed) and
            PREFER_SPEED (ANS, which decodes slower, only where it is at least 1/16 smaller than Huffman).

    Returns:
        Bytes of the chunk, at most ``size + 1``.
    """
    if run_end(plane, start, start + size) == start + size:
        stream[at] = CONSTANT
        stream[at + 1] = plane[start]
        return 2
    if allowed & (ALLOW_RUNS | ALLOW_HUFFMAN | ALLOW_ANS) == 0 or looks_incompressible(plane, start, size):
        return _store_raw(plane, start, size, stream, at)
    histograms = np.empty((SEGMENTS, 256), np.uint32)
    pairs = np.empty(size // 8, np.uint64)
    window = pair_numbers(plane, start, size, pairs)
    if window >= 0:
        pair_histograms(pairs, size, window, histograms)
    else:
        segment_histograms(plane, start, size, histograms)
    counts = np.empty(256, np.int64)
    add_segments(histograms, counts)
    lengths = np.empty(256, np.uint8)
    code_lengths(counts, lengths)
    best = size - size // _LEAST_GAIN
    method = RAW
    width = _size_width(size)
    sizes = np.empty(SEGMENTS, np.int64)
    table = np.empty(MAX_TABLE_BYTES, np.uint8)
    coded = stream_sizes(histograms, lengths, sizes)
    table_bytes = 0
    if allowed & ALLOW_HUFFMAN and coded < best:
        table_bytes = (write_table(lengths, table) + 7) >> 3
        total = 1 + 3 * width + table_bytes + coded
        if total < best:
            best = total
            method = HUFFMAN
    frequencies = np.empty(256, np.int64)
    log = 0
    if allowed & ALLOW_ANS:
        wanted = best - best // _ANS_GAIN if method == HUFFMAN and allowed & PREFER_SPEED else best
        total = wanted
        # No frequencies beat the entropy: where that is too much, as usual beside Huffman, do without them.
        if 1 + 3 * width + np.int64(entropy_bits(counts, size) / 8) < wanted:
            log, bits = normalise(counts, size, frequencies)
            ends = SEGMENTS * (log + 8) // 8
            total = 1 + 3 * width + np.int64(bits / 8) + ends
        if total < wanted:
            ans_table = np.empty(MAX_TABLE_BYTES, np.uint8)
            ans_bytes = write_frequencies(frequencies, ans_table)
            if total + ans_bytes < wanted:
                best = total + ans_bytes
                method = ANS
                table = ans_table
                table_bytes = ans_bytes
    if allowed & ALLOW_RUNS and long_runs(plane, start, size):
        total = 1 + runs_size(plane, start, size, best - 1)
        if total < best:
            best = total
            method = RUNS

    if method == RUNS:
        stream[at] = RUNS
        encode_runs(plane, start, size, stream, at + 1)
        return best
    out = at + 1 + 3 * width
    if method == HUFFMAN:
        codes = np.empty(256, np.uint64)
        canonical_codes(lengths, codes)
        entries = np.empty(256, np.uint64)
        encoding_table(lengths, codes, entries)
        if window >= 0:
            encode_pairs(plane, start, size, pairs, window, entries, stream, out + table_bytes, sizes)
        else:
            encode_streams(plane, start, size, entries, stream, out + table_bytes, sizes)
    elif method == ANS:
        # The size was an estimate, some bytes off at most; what does not fit is stored raw.
        room = size - 3 * width - table_bytes
        coded = encode_ans(plane, start, size, frequencies, log, stream, out + table_bytes, room, sizes)
        if coded > room:
            method = RAW
    if method == RAW:
        return _store_raw(plane, start, size, stream, at)
    stream[at] = method
    _store_sizes(stream, at + 1, sizes, width)
    copy_bytes(stream, out, table, 0, table_bytes)
    return 1 + 3 * width + table_bytes + coded


@kernel
def _load_sizes(stream, at, width, bounds, end):  # type: ignore[no-untyped-def]
    """Read three stream sizes into ``bounds[1:4]`` (int64 (5,)) and ``end`` into ``bounds[4]``."""
    for segment in range(SEGMENTS - 1):
        bytes_ = 0
        for byte in range(width):
            bytes_ |= np.int64(stream[at + segment * width + byte]) << (8 * byte)
        bounds[segment + 1] = bytes_
    bounds[SEGMENTS] = end


@kernel
def _open_streams(stream, at, end, width, padded, bounds):  # type: ignore[no-untyped-def]
    """Read the sizes at ``at``, copy the side information into ``padded``; False if they do not fit."""
    if end - at < SEGMENTS - 1 + 3 * width:
        return False
    _load_sizes(stream, at, width, bounds, end)
    at += 3 * width
    head = min(end - at, MAX_TABLE_BYTES)
    copy_bytes(padded, 0, stream, at, head)
    fill_bytes(padded, head, padded.size - head, np.uint8(0))
    bounds[0] = at
    return True


@kernel
def _place_streams(bounds, table_bytes):  # type: ignore[no-untyped-def]
    """Turn sizes into bounds, the side information being ``table_bytes`` long; False if a stream is empty."""
    bounds[0] += table_bytes
    for segment in range(SEGMENTS - 1):
        if bounds[segment + 1] < 1:
            return False
        bounds[segment + 1] += bounds[segment]
    return bounds[SEGMENTS] > bounds[SEGMENTS - 1]


@kernel
def _open_huffman(stream, at, end, size, lengths, bounds, tables):  # type: ignore[no-untyped-def]
    """Read what stands before the streams; the bits of the shortest code, or 0 if it is not valid."""
    padded = np.empty(MAX_TABLE_BYTES + 8, np.uint8)
    if not _open_streams(stream, at, end, _size_width(size), padded, bounds):
        return 0
    position = read_table(padded, lengths)
    if position < 0 or not _place_streams(bounds, (position + 7) >> 3):
        return 0
    used = 0
    shortest = MAX_CODE_BITS
    for symbol in range(256):
        length = np.int64(lengths[symbol])
        if length > MAX_CODE_BITS:
            return 0
        if length > 0:
            used += TABLE_SIZE >> length
            shortest = min(shortest, length)
    if used != TABLE_SIZE:
        return 0
    decoding_table(lengths, tables)
    return shortest


@kernel
def _decode_huffman(stream, at, end, plane, start, size):  # type: ignore[no-untyped-def]
    bounds = np.empty(SEGMENTS + 1, np.int64)
    lengths = np.empty(256, np.uint8)
    tables = np.empty(2 * TABLE_SIZE, np.uint64)
    shortest = _open_huffman(stream, at, end, size, lengths, bounds, tables)
    if shortest == 0:
        return False
    table = tables[TABLE_SIZE:]
    # Eight bytes before the first stream are there: the method, the sizes and the code lengths.
    if shortest < TWO_SYMBOLS:
        return decode_streams(stream, bounds, table, lengths, plane, start, size, np.uint64(0))
    return decode_streams(stream, bounds, table, lengths, plane, start, size, np.uint16(0))


@kernel
def _decode_two_huffman(stream, at0, end0, at1, end1, plane, start0, start1, size):  # type: ignore[no-untyped-def]
    bounds = np.empty((2, SEGMENTS + 1), np.int64)
    lengths = np.empty((2, 256), np.uint8)
    tables = np.empty((2, 2 * TABLE_SIZE), np.uint64)
    shortest0 = _open_huffman(stream, at0, end0, size, lengths[0], bounds[0], tables[0])
    if shortest0 == 0:
        return 0
    shortest1 = _open_huffman(stream, at1, end1, size, lengths[1], bounds[1], tables[1])
    if shortest1 == 0:
        return 1
    table0, table1 = tables[0, TABLE_SIZE:], tables[1, TABLE_SIZE:]
    if min(shortest0, shortest1) < TWO_SYMBOLS:
        unit = np.uint64(0)
        return decode_both(stream, bounds, table0, table1, lengths, plane, start0, start1, size, unit)
    return decode_both(stream, bounds, table0, table1, lengths, plane, start0, start1, size, np.uint16(0))


@kernel
def _decode_ans(stream, at, end, plane, start, size):  # type: ignore[no-untyped-def]
    bounds = np.empty(SEGMENTS + 1, np.int64)
    padded = np.empty(MAX_TABLE_BYTES + 8, np.uint8)
    if not _open_streams(stream, at, end, _size_width(size), padded, bounds):
        return False
    frequencies = np.empty(256, np.int64)
    log, table_bytes = read_frequencies(padded, frequencies)
    if log < 0 or not _place_streams(bounds, table_bytes):
        return False
    single = np.empty(1 << log, np.uint64)
    free = single_table(frequencies, log, single)
    by_one = 4 * free < single.size
    several = single if by_one else several_table(single)
    return decode_ans(stream, bounds, single, several, by_one, log, plane, start, size)


@kernel
def decode_chunk(stream, at, coded, plane, start, size):  # type: ignore[no-untyped-def]
    """Decode the chunk ``stream[at : at + coded]`` into ``plane[start : start + size]``; safe on any content.

    Args:
        stream: uint8 array that contains the range.
        plane: uint8 array that contains the other range; nothing outside it is written.
        size: from 1 to MAX_CHUNK_BYTES.

    Returns:
        True if the chunk is exactly what ``encode_chunk`` could have written for ``size`` bytes; otherwise
        the range of ``plane`` is undefined.
    """
    if coded < 2 or size < 1 or size > MAX_CHUNK_BYTES:
        return False
    method = stream[at]
    end = at + coded
    if method == RAW:
        if coded != size + 1:
            return False
        copy_bytes(plane, start, stream, at + 1, size)
        return True
    if method == CONSTANT:
        if coded != 2:
            return False
        fill_bytes(plane, start, size, stream[at + 1])
        return True
    if method == RUNS:
        return decode_runs(stream, at + 1, end, plane, start, size)
    if method == HUFFMAN:
        return _decode_huffman(stream, at + 1, end, plane, start, size)
    if method == ANS:
        return _decode_ans(stream, at + 1, end, plane, start, size)
    return False


@kernel
def decode_two_chunks(stream, at0, coded0, at1, coded1, plane, start0, start1, size):  # type: ignore[no-untyped-def]
    """Decode two chunks of `size` bytes as ``decode_chunk`` does, which is faster where both are Huffman.

    Returns:
        How many are good: 2, 1 if the second is not, 0 if the first is not.
    """
    if coded0 >= 2 and coded1 >= 2 and stream[at0] == HUFFMAN and stream[at1] == HUFFMAN:
        end0, end1 = at0 + coded0, at1 + coded1
        return _decode_two_huffman(stream, at0 + 1, end0, at1 + 1, end1, plane, start0, start1, size)
    if not decode_chunk(stream, at0, coded0, plane, start0, size):
        return 0
    return 1 + decode_chunk(stream, at1, coded1, plane, start1, size)
