"""Huffman decoding, several symbols per table lookup, four bit streams side by side.

An entry of the decoding table belongs to the next 11 bits of a stream and gives every symbol whose code lies
wholly in them, up to six: for a bf16 exponent plane 3.7 symbols a lookup on average. Layout (uint64):

    bits 0-5     number of bits the symbols take (lowest: shift instructions count modulo 64 by themselves)
    bits 8-55    the symbols, the first one lowest
    bits 61-63   how many symbols

The table is built without a search. Let T(w) be the table for the next w bits. The codes that start with
symbol s of length l fill one range of it, and there T(w) is "s, then T(w - l)": 12 small tables give the
large one by copying runs. Streams are read backwards (see huffman_encode); the lowest bit of the
accumulator is a marker whose position tells how much has been consumed, as in zstd's decoder (Collet,
Terrell). The table and its construction are ours.
"""

import numpy as np

from weightcodecs.kernels.huffman_code import MAX_CODE_BITS
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import bit_length, load64, store64, trailing_zeros

TABLE_SIZE = 1 << MAX_CODE_BITS
MAX_SYMBOLS = 6
_LOOKUPS = 5  # between refills: at most 8 bits used up at the start, 5 x 11 more, and the marker
_CHILD_SYMBOLS = np.uint64(0x0000_FFFF_FFFF_FF00)  # at most five, so that one more fits in front
_FIELDS = np.uint64(0xE000_0000_0000_003F)
_ONE_SYMBOL = np.uint64(1 << 61)
_INDEX = np.uint64(64 - MAX_CODE_BITS)
_COUNT = np.uint64(61)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W8 = np.uint64(8)
_W63 = np.uint64(63)
_BYTE = np.uint64(0xFF)


@kernel
def decoding_table(lengths, tables):  # type: ignore[no-untyped-def]
    """Fill the tables of a complete code.

    Args:
        lengths: uint8 (256,), the code lengths, at most 11 each.
        tables: uint64 (4096,), overwritten: T(w) at ``[2**w, 2**(w + 1))``; the last half is the one to use.
    """
    order = np.empty(256, np.int64)
    present = 0
    shortest = 1
    for length in range(1, MAX_CODE_BITS + 1):
        for symbol in range(256):
            if lengths[symbol] == length:
                order[present] = symbol
                present += 1
        if present == 0:
            shortest += 1
    for at in range(TABLE_SIZE):
        tables[at] = np.uint64(0)
    for width in range(MAX_CODE_BITS + 1):
        at = 1 << width
        for rank in range(present):
            symbol = order[rank]
            length = np.int64(lengths[symbol])
            if length > width:
                break
            head = (np.uint64(symbol) << _W8) + np.uint64(length) + _ONE_SYMBOL
            # What follows may hold five symbols: look at fewer bits if codes are very short.
            rest = width - length
            seen = min(rest, (MAX_SYMBOLS - 1) * shortest)
            repeat = 1 << (rest - seen)
            if repeat == 1:  # the usual case, by itself, so that it is vectorised
                for index in range(1 << rest):
                    tail = tables[(1 << rest) + index]
                    tables[at + index] = ((tail & _CHILD_SYMBOLS) << _W8) + (tail & _FIELDS) + head
                at += 1 << rest
                continue
            for index in range(1 << seen):
                tail = tables[(1 << seen) + index]
                entry = ((tail & _CHILD_SYMBOLS) << _W8) + (tail & _FIELDS) + head
                for copy in range(repeat):
                    tables[at + index * repeat + copy] = entry
            at += 1 << rest


@kernel
def _decode_tail(stream, start, bits, table, lengths, plane, at, last):  # type: ignore[no-untyped-def]
    """Decode ``bits`` bits of one stream into ``plane[at:last]``; True if both end together."""
    while at < last and bits > 0:
        byte = (bits + 7) >> 3
        word = load64(stream, start + byte - 8) << (np.uint64(-bits) & _W7)
        entry = table[word >> _INDEX]
        if last - at >= 8 and bits >= MAX_CODE_BITS:
            store64(plane, at, entry >> _W8)
            at += np.int64(entry >> _COUNT)
            bits -= np.int64(entry & _W63)
        else:
            symbol = (entry >> _W8) & _BYTE
            plane[at] = symbol
            at += 1
            bits -= np.int64(lengths[symbol])
    return at == last and bits == 0


@kernel
def decode_streams(stream, s0, s1, s2, s3, end, table, lengths, plane, at, size):  # type: ignore[no-untyped-def]
    """Decode four streams into ``plane[at : at + size]``.

    Args:
        stream: uint8 array; the streams are at ``[s0, s1), [s1, s2), [s2, s3), [s3, end)``, none of them
            empty, and ``s0 >= 8`` (a stream shorter than eight bytes is read with what stands before it).
        table: uint64 (2048,), the last half of ``decoding_table``'s.
        lengths: uint8 (256,), the code lengths.
        plane: uint8 array with ``size`` bytes at ``at``; nothing outside them is written.

    Returns:
        True if every stream holds exactly its share of symbols; otherwise the plane's range is undefined.
    """
    quarter = size >> 2
    o0 = at
    o1 = o0 + quarter
    o2 = o1 + quarter
    o3 = o2 + quarter
    e0 = o1
    e1 = o2
    e2 = o3
    e3 = at + size
    z0 = np.uint64(stream[s1 - 1])
    z1 = np.uint64(stream[s2 - 1])
    z2 = np.uint64(stream[s3 - 1])
    z3 = np.uint64(stream[end - 1])
    if z0 == 0 or z1 == 0 or z2 == 0 or z3 == 0:
        return False
    p0 = s1 - 8
    p1 = s2 - 8
    p2 = s3 - 8
    p3 = end - 8
    b0 = (load64(stream, p0) | _W1) << (np.uint64(9) - bit_length(z0))
    b1 = (load64(stream, p1) | _W1) << (np.uint64(9) - bit_length(z1))
    b2 = (load64(stream, p2) | _W1) << (np.uint64(9) - bit_length(z2))
    b3 = (load64(stream, p3) | _W1) << (np.uint64(9) - bit_length(z3))
    while True:
        # A round takes at most 7 bytes of a stream and gives at most 30 symbols, stored 8 bytes at a time.
        rounds = min(min(p0 - s0, p1 - s1), min(p2 - s2, p3 - s3)) // 7
        space = min(min(e0 - o0, e1 - o1), min(e2 - o2, e3 - o3)) - 8
        rounds = min(rounds, space // (_LOOKUPS * MAX_SYMBOLS))
        if rounds <= 0:
            break
        for _ in range(rounds):
            for _ in range(_LOOKUPS):
                t0 = table[b0 >> _INDEX]
                t1 = table[b1 >> _INDEX]
                t2 = table[b2 >> _INDEX]
                t3 = table[b3 >> _INDEX]
                b0 <<= t0 & _W63
                b1 <<= t1 & _W63
                b2 <<= t2 & _W63
                b3 <<= t3 & _W63
                store64(plane, o0, t0 >> _W8)
                store64(plane, o1, t1 >> _W8)
                store64(plane, o2, t2 >> _W8)
                store64(plane, o3, t3 >> _W8)
                o0 += np.int64(t0 >> _COUNT)
                o1 += np.int64(t1 >> _COUNT)
                o2 += np.int64(t2 >> _COUNT)
                o3 += np.int64(t3 >> _COUNT)
            u0 = trailing_zeros(b0)
            u1 = trailing_zeros(b1)
            u2 = trailing_zeros(b2)
            u3 = trailing_zeros(b3)
            p0 -= np.int64(u0 >> _W3)
            p1 -= np.int64(u1 >> _W3)
            p2 -= np.int64(u2 >> _W3)
            p3 -= np.int64(u3 >> _W3)
            b0 = (load64(stream, p0) | _W1) << (u0 & _W7)
            b1 = (load64(stream, p1) | _W1) << (u1 & _W7)
            b2 = (load64(stream, p2) | _W1) << (u2 & _W7)
            b3 = (load64(stream, p3) | _W1) << (u3 & _W7)
    left0 = 8 * (p0 - s0) + 64 - np.int64(trailing_zeros(b0))
    left1 = 8 * (p1 - s1) + 64 - np.int64(trailing_zeros(b1))
    left2 = 8 * (p2 - s2) + 64 - np.int64(trailing_zeros(b2))
    left3 = 8 * (p3 - s3) + 64 - np.int64(trailing_zeros(b3))
    good = _decode_tail(stream, s0, left0, table, lengths, plane, o0, e0)
    good &= _decode_tail(stream, s1, left1, table, lengths, plane, o1, e1)
    good &= _decode_tail(stream, s2, left2, table, lengths, plane, o2, e2)
    good &= _decode_tail(stream, s3, left3, table, lengths, plane, o3, e3)
    return good
