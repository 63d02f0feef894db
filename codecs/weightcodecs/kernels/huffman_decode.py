"""Huffman decoding, several symbols per table lookup, four or eight bit streams side by side.

An entry of the decoding table belongs to the next 11 bits of a stream and gives every symbol whose code lies
wholly in them, up to six: for a bf16 exponent plane 3.7 symbols a lookup on average. Its eight bytes:

    0 to 5   the symbols, the first one lowest
    6        number of bits the symbols take
    7        how many symbols

Two things bound such a decoder. Processors have few units that shift: the two numbers are loaded as bytes,
and the symbols are stored as they stand, so that two shifts a lookup remain. And a load waits for an earlier
store whose address agrees with its own in the lowest 12 bits: where no code has less than four bits, two
bytes are stored and not eight. What is left to wait for are the lookups themselves, for each needs the one
before it: of two chunks at once (``decode_both``) rounds of four streams alternate.

The table is built without a search. Let T(w) be the table for the next w bits. The codes that start with
symbol s of length l fill one range of it, and there T(w) is "s, then T(w - l)": 12 small tables give the
large one by copying runs. Streams are read backwards (see huffman_encode); the lowest bit of the
accumulator is a marker whose position tells how much has been consumed, as in zstd's decoder (Collet,
Terrell). The table and its construction are ours.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from weightcodecs.kernels.huffman_code import MAX_CODE_BITS
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import bit_length, intrinsic, load64, trailing_zeros

TABLE_SIZE = 1 << MAX_CODE_BITS
MAX_SYMBOLS = 6
TWO_SYMBOLS = 4  # codes of so many bits: no lookup gives three of them
_LOOKUPS = 5  # between refills: at most 8 bits used up at the start, 5 x 11 more, and the marker
_CHILD_SYMBOLS = np.uint64(0x0000_00FF_FFFF_FFFF)  # at most five, so that one more fits in front
_FIELDS = np.uint64(0xFFFF_0000_0000_0000)
_ONE_SYMBOL = np.uint64(1 << 56)
_INDEX = np.uint64(64 - MAX_CODE_BITS)
_BYTE = np.uint64(0xFF)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W8 = np.uint64(8)
_W48 = np.uint64(48)
_W63 = np.uint64(63)


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
            head = np.uint64(symbol) + (np.uint64(length) << _W48) + _ONE_SYMBOL
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


@njit(inline="always")
def _rounds_left(bounds, at, size, state):  # type: ignore[no-untyped-def]
    """How many rounds neither run out of a stream nor write beyond its share.

    A round takes at most 7 bytes of a stream and gives at most 30 symbols, stored 8 bytes at a time.
    """
    _, _, _, _, o0, o1, o2, o3, p0, p1, p2, p3 = state
    quarter = size >> 2
    rounds = min(min(p0 - bounds[0], p1 - bounds[1]), min(p2 - bounds[2], p3 - bounds[3])) // 7
    space = min(min(quarter - o0, 2 * quarter - o1), min(3 * quarter - o2, size - o3)) + at - 8
    return min(rounds, space // (_LOOKUPS * MAX_SYMBOLS))


def _number(byte: int) -> Any:
    """A load of one byte of ``table[index]``; LLVM would rather shift an entry that it has loaded already."""

    def typed(_context: Any, table: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            entry = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
            number = builder.load(builder.gep(entry, [ir.Constant(ir.IntType(64), byte)]))
            return builder.zext(number, ir.IntType(64))

        return types.uint64(table, index), codegen

    return intrinsic(typed)


_bits_at = _number(6)
_symbols_at = _number(7)


@intrinsic
def _store_symbols(_context: Any, plane: Any, at: Any, entry: Any, unit: Any) -> Any:
    """Store as many bytes of an entry as ``unit`` has."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), args[3].type.as_pointer())
        symbols = args[2] if unit.bitwidth == 64 else builder.trunc(args[2], args[3].type)
        builder.store(symbols, pointer, align=1)
        return context.get_dummy_value()

    return types.void(plane, types.int64, types.uint64, unit), codegen


@njit(inline="always")
def _round(stream, table, plane, unit, state):  # type: ignore[no-untyped-def]
    b0, b1, b2, b3, o0, o1, o2, o3, p0, p1, p2, p3 = state
    for _ in range(_LOOKUPS):
        # A store stands between the loads of an entry, or LLVM would make one of them.
        index = b0 >> _INDEX
        _store_symbols(plane, o0, table[index], unit)
        b0 <<= _bits_at(table, index) & _W63
        o0 += np.int64(_symbols_at(table, index))
        index = b1 >> _INDEX
        _store_symbols(plane, o1, table[index], unit)
        b1 <<= _bits_at(table, index) & _W63
        o1 += np.int64(_symbols_at(table, index))
        index = b2 >> _INDEX
        _store_symbols(plane, o2, table[index], unit)
        b2 <<= _bits_at(table, index) & _W63
        o2 += np.int64(_symbols_at(table, index))
        index = b3 >> _INDEX
        _store_symbols(plane, o3, table[index], unit)
        b3 <<= _bits_at(table, index) & _W63
        o3 += np.int64(_symbols_at(table, index))
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
    return b0, b1, b2, b3, o0, o1, o2, o3, p0, p1, p2, p3


@njit(inline="always")
def _first_bits(stream, end):  # type: ignore[no-untyped-def]
    marker = np.uint64(stream[end - 1]) | _W1  # no marker, which is no stream, must shift by less than 64 too
    return (load64(stream, end - 8) | _W1) << (np.uint64(9) - bit_length(marker))


@njit(inline="always")
def _begin(stream, bounds, at, size):  # type: ignore[no-untyped-def]
    """Accumulators of the four streams, where their next symbols go, and where their next bits are."""
    s1, s2, s3, s4 = bounds[1], bounds[2], bounds[3], bounds[4]
    quarter = size >> 2
    b0, b1 = _first_bits(stream, s1), _first_bits(stream, s2)
    b2, b3 = _first_bits(stream, s3), _first_bits(stream, s4)
    o1, o2, o3 = at + quarter, at + 2 * quarter, at + 3 * quarter
    return b0, b1, b2, b3, at, o1, o2, o3, s1 - 8, s2 - 8, s3 - 8, s4 - 8


@kernel
def _decode_tail(stream, start, bits, table, lengths, plane, at, last, unit):  # type: ignore[no-untyped-def]
    """Decode ``bits`` bits of one stream into ``plane[at:last]``; True if both end together."""
    while at < last and bits > 0:
        byte = (bits + 7) >> 3
        word = load64(stream, start + byte - 8) << (np.uint64(-bits) & _W7)
        index = word >> _INDEX
        if last - at >= 8 and bits >= MAX_CODE_BITS:
            _store_symbols(plane, at, table[index], unit)
            at += np.int64(_symbols_at(table, index))
            bits -= np.int64(_bits_at(table, index))
        else:
            symbol = table[index] & _BYTE
            plane[at] = symbol
            at += 1
            bits -= np.int64(lengths[symbol])
    return at == last and bits == 0


@kernel
def _finish(stream, bounds, table, lengths, plane, at, size, unit, state):  # type: ignore[no-untyped-def]
    """Decode what is left of four streams; True if every one holds exactly its share of symbols."""
    while True:
        rounds = _rounds_left(bounds, at, size, state)
        if rounds <= 0:
            break
        for _ in range(rounds):
            state = _round(stream, table, plane, unit, state)
    b0, b1, b2, b3, o0, o1, o2, o3, p0, p1, p2, p3 = state
    s0, s1, s2, s3 = bounds[0], bounds[1], bounds[2], bounds[3]
    left0 = 8 * (p0 - s0) + 64 - np.int64(trailing_zeros(b0))
    left1 = 8 * (p1 - s1) + 64 - np.int64(trailing_zeros(b1))
    left2 = 8 * (p2 - s2) + 64 - np.int64(trailing_zeros(b2))
    left3 = 8 * (p3 - s3) + 64 - np.int64(trailing_zeros(b3))
    end1 = at + (size >> 2)
    end2 = end1 + (size >> 2)
    end3 = end2 + (size >> 2)
    good = stream[s1 - 1] != 0 and stream[s2 - 1] != 0 and stream[s3 - 1] != 0 and stream[bounds[4] - 1] != 0
    good &= _decode_tail(stream, s0, left0, table, lengths, plane, o0, end1, unit)
    good &= _decode_tail(stream, s1, left1, table, lengths, plane, o1, end2, unit)
    good &= _decode_tail(stream, s2, left2, table, lengths, plane, o2, end3, unit)
    good &= _decode_tail(stream, s3, left3, table, lengths, plane, o3, at + size, unit)
    return good


@kernel
def decode_streams(stream, bounds, table, lengths, plane, at, size, unit):  # type: ignore[no-untyped-def]
    """Decode four streams into ``plane[at : at + size]``.

    Args:
        stream: uint8 array.
        bounds: int64 (5,): the streams are at ``bounds[0]`` to ``bounds[1]`` and so on, none of them empty,
            and ``bounds[0] >= 8`` (a stream shorter than eight bytes is read with what stands before it).
        table: uint64 (2048,), the last half of ``decoding_table``'s.
        lengths: uint8 (256,), the code lengths.
        plane: uint8 array with ``size`` bytes at ``at``; nothing outside them is written.
        unit: of the type that holds what a lookup may give: uint64, or uint16 where every code has at least
            ``TWO_SYMBOLS`` bits.

    Returns:
        True if every stream holds exactly its share of symbols; otherwise the plane's range is undefined.
    """
    state = _begin(stream, bounds, at, size)
    return _finish(stream, bounds, table, lengths, plane, at, size, unit, state)


@kernel
def decode_both(stream, bounds, table0, table1, lengths, plane, at0, at1, size, unit):  # type: ignore[no-untyped-def]
    """Decode two times four streams into ``size`` bytes each at ``plane[at0:]`` and ``plane[at1:]``.

    Args:
        bounds, table0, table1, lengths: as in ``decode_streams``, int64 (2, 5), two tables, uint8 (2, 256).

    Returns:
        How many could be decoded: 2, 1 if the second could not, 0 if the first could not.
    """
    state0 = _begin(stream, bounds[0], at0, size)
    state1 = _begin(stream, bounds[1], at1, size)
    while True:
        rounds = min(_rounds_left(bounds[0], at0, size, state0), _rounds_left(bounds[1], at1, size, state1))
        if rounds <= 0:
            break
        for _ in range(rounds):
            state0 = _round(stream, table0, plane, unit, state0)
            state1 = _round(stream, table1, plane, unit, state1)
    if not _finish(stream, bounds[0], table0, lengths[0], plane, at0, size, unit, state0):
        return 0
    return 1 + _finish(stream, bounds[1], table1, lengths[1], plane, at1, size, unit, state1)
