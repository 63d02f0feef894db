"""Huffman encoding two symbols at a time, for planes of at most 64 symbols: the same streams, sooner.

The exponents of a weight tensor fill a narrow window. Where all symbols of a plane but 0 agree in their two
highest bits (exponents of magnitudes from 2**-62 to below 2), the six other bits of two neighbours make a
number of 12 bits; six zero bits stand for the symbol 0, so the window's own first symbol must not occur.
Counting pairs takes half the increments, and coding pairs half the table loads and shifts.
The streams are those of huffman_encode, bit for bit. Source: ours.
"""

import numpy as np

from weightcodecs.kernels.histogram import SEGMENTS
from weightcodecs.kernels.huffman_encode import close_stream
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import load64, store64

PAIRS = 1 << 12
MIN_BYTES = 1 << 14  # below, the larger tables cost more than they spare
MAX_BYTES = 1 << 19  # above, a count could exceed 16 bits
_BLOCK = 1 << 12
_BATCH = 2  # pairs between two flushes: 2 x 22 bits and at most 7 left over
_WINDOW = np.uint64(0xC0C0_C0C0_C0C0_C0C0)
_LOW_BITS = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
_HIGH_BIT = np.uint64(0x8080_8080_8080_8080)
_FIRST = np.uint64(0x003F_003F_003F_003F)
_SECOND = np.uint64(0x0FC0_0FC0_0FC0_0FC0)
_LOW_SIX = np.uint64(0x3F3F_3F3F_3F3F_3F3F)
_SEVENTH_BIT = np.uint64(0x4040_4040_4040_4040)
_EVERY_BYTE = np.uint64(0x0101_0101_0101_0101)
_PAIR = np.uint64(0xFFFF)
_TABLE1, _TABLE2, _TABLE3 = np.uint64(PAIRS), np.uint64(2 * PAIRS), np.uint64(3 * PAIRS)
_LENGTH = np.uint64(15)
_W1 = np.uint64(1)
_W2 = np.uint64(2)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W63 = np.uint64(63)
_NONE = np.uint64(0)


@kernel
def pair_numbers(plane, start, size, words):  # type: ignore[no-untyped-def]
    """Number the pairs of ``plane[start : start + size]``.

    Args:
        plane: uint8 array.
        start, size: a range inside it.
        words: uint64 (size // 8,), overwritten: four pair numbers of 16 bits each, the first one lowest.

    Returns:
        The two high bits that all symbols but 0 have (0, 64, 128 or 192), or -1 if there is no such window,
        its first symbol (64, 128, 192) occurs, or the size does not suit.
    """
    if size % (8 * SEGMENTS) != 0 or size < MIN_BYTES or size > MAX_BYTES:
        return -1
    at = start
    while at < start + _BLOCK and plane[at] == 0:
        at += 1
    window = np.int64(plane[at]) & 0xC0
    expected = np.uint64(window) * _EVERY_BYTE
    for block in range(0, size, _BLOCK):
        outside = _NONE
        for word in range(block >> 3, min(block + _BLOCK, size) >> 3):
            symbols = load64(plane, start + 8 * word)
            occurs = (((symbols & _LOW_BITS) + _LOW_BITS) | symbols) & _HIGH_BIT
            outside |= ((symbols ^ expected) & _WINDOW) & (occurs | (occurs >> _W1))
            # 64, 128 and 192 would be taken for 0: their six low bits are zero, they are not.
            outside |= (occurs >> _W1) & ~((symbols & _LOW_SIX) + _LOW_SIX) & _SEVENTH_BIT
            store64(words, 8 * word, (symbols & _FIRST) | ((symbols >> _W2) & _SECOND))
        if outside != _NONE:
            return -1
    return window


@kernel
def pair_histograms(words, size, window, histograms):  # type: ignore[no-untyped-def]
    """Count the symbols of a numbered plane, quarter by quarter, as histogram.segment_histograms does.

    Args:
        words, size, window: of ``pair_numbers``.
        histograms: uint32 (4, 256), overwritten.
    """
    quarter = size // (8 * SEGMENTS)
    counts = np.zeros(SEGMENTS * PAIRS, np.uint16)
    one = np.uint16(1)
    for word in range(size // 8 // SEGMENTS):
        pairs0 = words[np.uint64(word)]
        pairs1 = words[np.uint64(word + quarter)]
        pairs2 = words[np.uint64(word + 2 * quarter)]
        pairs3 = words[np.uint64(word + 3 * quarter)]
        for shift in range(0, 64, 16):  # by turns, so that no counter waits for its own last value
            counts[(pairs0 >> np.uint64(shift)) & _PAIR] += one
            counts[_TABLE1 + ((pairs1 >> np.uint64(shift)) & _PAIR)] += one
            counts[_TABLE2 + ((pairs2 >> np.uint64(shift)) & _PAIR)] += one
            counts[_TABLE3 + ((pairs3 >> np.uint64(shift)) & _PAIR)] += one
    sums = np.empty(64, np.uint32)
    for segment in range(SEGMENTS):
        for symbol in range(256):
            histograms[segment, symbol] = 0
        for symbol in range(64):
            sums[symbol] = 0
        for second in range(64):
            row = segment * PAIRS + second * 64
            total = np.uint32(0)
            for first in range(64):
                count = np.uint32(counts[row + first])
                sums[first] += count
                total += count
            histograms[segment, second + window if second > 0 else 0] += total
        for first in range(64):
            histograms[segment, first + window if first > 0 else 0] += sums[first]


@kernel
def _pair_table(entries, window, table):  # type: ignore[no-untyped-def]
    """Entries of pairs from entries of symbols (encoding_table): the first symbol's code on top.

    Rows of a second symbol that does not occur are not filled.
    """
    for second in range(64):
        entry2 = entries[second + window if second > 0 else 0]
        if entry2 == _NONE:
            continue
        for first in range(64):
            entry1 = entries[first + window if first > 0 else 0]
            length1 = entry1 & _LENGTH
            code2 = (entry2 ^ (entry2 & _LENGTH)) >> length1
            table[second * 64 + first] = (entry1 ^ length1) | code2 | (length1 + (entry2 & _LENGTH))


@kernel
def encode_pairs(plane, start, size, words, window, entries, stream, at, sizes):  # type: ignore[no-untyped-def]
    """Write what ``huffman_encode.encode_streams`` writes, given the pairs of the range.

    Args:
        words, window: of ``pair_numbers``.
        plane, start, size, entries, stream, at, sizes: as there.
    """
    table = np.empty(PAIRS, np.uint64)
    _pair_table(entries, window, table)
    numbers = words.view(np.uint16)
    quarter = size // SEGMENTS
    # The last 64 symbols of a stream have at least 64 bits, so the 8-byte stores before them stay inside it.
    rounds = (quarter - 64) // (2 * _BATCH)
    for segment in range(0, SEGMENTS, 2):
        last0 = (segment + 1) * quarter // 2
        last1 = last0 + quarter // 2
        at0 = at
        at1 = at + sizes[segment]
        at = at1 + sizes[segment + 1]
        pending0 = pending1 = _NONE
        filled0 = filled1 = _NONE
        for round_ in range(rounds):
            for back in range(1, _BATCH + 1):
                entry0 = table[numbers[np.uint64(last0 - _BATCH * round_ - back)]]
                entry1 = table[numbers[np.uint64(last1 - _BATCH * round_ - back)]]
                pending0 = (pending0 >> (entry0 & _W63)) | entry0
                pending1 = (pending1 >> (entry1 & _W63)) | entry1
                filled0 += entry0
                filled1 += entry1
            store64(stream, at0, pending0 >> ((_NONE - filled0) & _W63))
            store64(stream, at1, pending1 >> ((_NONE - filled1) & _W63))
            at0 += np.int64((filled0 >> _W3) & _W7)
            at1 += np.int64((filled1 >> _W3) & _W7)
            filled0 &= _W7
            filled1 &= _W7
        done = 2 * _BATCH * rounds
        begin0 = start + segment * quarter
        begin1 = begin0 + quarter
        close_stream(plane, begin0, begin1 - done, entries, stream, at0, pending0, filled0)
        close_stream(plane, begin1, begin1 + quarter - done, entries, stream, at1, pending1, filled1)
