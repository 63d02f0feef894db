"""tANS decoding of four streams side by side, up to five symbols per table lookup on skewed planes.

Where one symbol has most of the states, most symbols cost no bit: the state alone tells the next symbol,
and the one after that. A table entry may therefore hold every symbol up to the first that has to read bits,
five at most, so a plane of 0.2 bit a symbol decodes several symbols a step. Layout of an entry (uint64):

    bits 0-7     bits to read
    bits 8-47    the symbols, the first one lowest
    bits 48-50   how many symbols
    bits 52-63   the next state, less the bits read

A stream is read forwards, lowest bit first. The highest bit of the accumulator is a marker whose position
tells how much has been consumed. Several symbols an entry and the streams side by side are ours.
"""

import numpy as np
from numba import njit

from weightcodecs.kernels.ans_code import spread_symbols
from weightcodecs.kernels.histogram import SEGMENTS
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import bit_length, load64, store64, trailing_zeros

MAX_SYMBOLS = 5
_LOOKUPS = 4  # between refills: at most 7 bits used up at the start, 4 x 12 more, and the marker
_SYMBOLS = np.uint64(0x0000_FFFF_FFFF_FF00)
_FIELDS = np.uint64(0xFFFF_0000_0000_00FF)
_MARKER = np.uint64(1 << 63)
_BYTE = np.uint64(0xFF)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W8 = np.uint64(8)
_W48 = np.uint64(48)
_W52 = np.uint64(52)
_W64 = np.uint64(64)


@kernel
def single_table(frequencies, log, table):  # type: ignore[no-untyped-def]
    """Fill ``table`` (uint64 (2**log,)) for frequencies (int64 (256,)) with sum ``2**log``.

    Returns:
        How many states read no bit.
    """
    states = 1 << log
    spread = np.empty(states, np.uint8)
    spread_symbols(frequencies, log, spread)
    next_of = frequencies.copy()
    free = 0
    for state in range(states):
        symbol = spread[state]
        x = next_of[symbol]
        next_of[symbol] += 1
        bits = log + 1 - np.int64(bit_length(np.uint64(x)))
        free += bits == 0
        base = np.uint64((x << bits) - states)
        table[state] = np.uint64(bits) | np.uint64(symbol) << _W8 | _W1 << _W48 | base << _W52
    return free


@kernel
def _join(left, right, symbols):  # type: ignore[no-untyped-def]
    """``left``'s symbols, then ``right``'s, for states where ``left`` has ``symbols`` and reads no bit."""
    shift = np.uint64(8 * symbols)
    more = np.uint64(symbols) << _W48
    joined = np.empty_like(left)
    for state in range(left.size):
        entry = left[state]
        after = right[entry >> _W52]
        both = (entry & _SYMBOLS) + ((after & _SYMBOLS) << shift) + (after & _FIELDS) + more
        goes_on = (entry & _BYTE) == 0 and ((entry >> _W48) & _W7) == symbols
        joined[state] = both if goes_on else entry
    return joined


@kernel
def several_table(single):  # type: ignore[no-untyped-def]
    """The table with up to five symbols an entry."""
    two = _join(single, single, 1)
    return _join(_join(two, two, 2), single, 4)


@kernel
def open_stream(stream, start, end, log):  # type: ignore[no-untyped-def]
    """Bit position (in all of ``stream``) after the first state, or -1; and that state."""
    first = np.uint64(stream[start])
    position = 8 * start + np.int64(trailing_zeros(first | np.uint64(256))) + 1
    if first == 0 or position + log > 8 * end:
        return -1, np.uint64(0)
    return position + log, _peek(stream, position, end) & ((_W1 << np.uint64(log)) - _W1)


@njit(inline="always")
def _peek(stream, position, end):  # type: ignore[no-untyped-def]
    """Bits from ``position`` on: at least 12, or those before byte ``end`` (8 or more) and zeros above."""
    byte = min(position >> 3, end - 8)
    return load64(stream, byte) >> np.uint64(position - 8 * byte)


@kernel
def _decode_tail(stream, position, end, state, single, plane, at, last):  # type: ignore[no-untyped-def]
    """Decode one stream to its end, filling ``plane[at:last]``; True if both end together in state 0."""
    while at < last:
        entry = single[state]
        plane[at] = (entry >> _W8) & _BYTE
        at += 1
        bits = entry & _BYTE
        if position + np.int64(bits) > 8 * end:
            return False
        state = entry >> _W52
        if bits > 0:
            state += _peek(stream, position, end) & ((_W1 << bits) - _W1)
            position += np.int64(bits)
    return position == 8 * end and state == 0


@njit(inline="always")
def _load(stream, byte, skip):  # type: ignore[no-untyped-def]
    return (load64(stream, byte) | _MARKER) >> skip


@njit(inline="always")
def _one(table, state, pending, plane, at):  # type: ignore[no-untyped-def]
    entry = table[state]
    bits = entry & _BYTE
    plane[np.uint64(at)] = (entry >> _W8) & _BYTE
    return (entry >> _W52) + (pending & ((_W1 << bits) - _W1)), pending >> bits


@njit(inline="always")
def _several(table, state, pending, plane, at):  # type: ignore[no-untyped-def]
    entry = table[state]
    bits = entry & _BYTE
    store64(plane, at, entry >> _W8)
    return (
        (entry >> _W52) + (pending & ((_W1 << bits) - _W1)),
        pending >> bits,
        at + np.int64((entry >> _W48) & _W7),
    )


@njit(inline="always")
def _consumed(pending):  # type: ignore[no-untyped-def]
    return _W64 - bit_length(pending)


@kernel
def decode_ans(stream, bounds, single, several, one_by_one, log, plane, at, size):  # type: ignore[no-untyped-def]
    """Decode four streams into ``plane[at : at + size]``.

    Args:
        stream: uint8 array.
        bounds: int64 (5,); stream k is at ``[bounds[k], bounds[k + 1])``, none is empty, and
            ``bounds[0] >= 8`` (the last bytes of a stream are read with what stands before them).
        single: of ``single_table``.
        several: of ``several_table``; not used (``single`` will do) if
        one_by_one: symbols are taken one by one, which is faster unless many states read no bit.
        plane: uint8 array with ``size`` bytes at ``at``; nothing outside them is written.

    Returns:
        True if every stream holds exactly its share of symbols; otherwise the plane's range is undefined.
    """
    quarter = size // SEGMENTS
    o0, o1, o2, o3 = at, at + quarter, at + 2 * quarter, at + 3 * quarter
    e0, e1, e2, e3 = o1, o2, o3, at + size
    z0, z1, z2, z3 = bounds[1], bounds[2], bounds[3], bounds[4]
    t0, x0 = open_stream(stream, bounds[0], z0, log)
    t1, x1 = open_stream(stream, z0, z1, log)
    t2, x2 = open_stream(stream, z1, z2, log)
    t3, x3 = open_stream(stream, z2, z3, log)
    if t0 < 0 or t1 < 0 or t2 < 0 or t3 < 0:
        return False
    while True:
        # A round takes at most 6 bytes and 7 bits from a stream and gives at most 20 symbols (8-byte stores).
        p0, p1, p2, p3 = t0 >> 3, t1 >> 3, t2 >> 3, t3 >> 3
        rounds = min(min(z0 - p0, z1 - p1), min(z2 - p2, z3 - p3)) - 8
        rounds = max(rounds, 0) // 7
        if one_by_one:
            rounds = min(rounds, (e0 - o0) // _LOOKUPS)
        else:
            space = min(min(e0 - o0, e1 - o1), min(e2 - o2, e3 - o3)) - 8
            rounds = min(rounds, max(space, 0) // (_LOOKUPS * MAX_SYMBOLS))
        if rounds == 0:
            break
        b0 = _load(stream, p0, np.uint64(t0) & _W7)
        b1 = _load(stream, p1, np.uint64(t1) & _W7)
        b2 = _load(stream, p2, np.uint64(t2) & _W7)
        b3 = _load(stream, p3, np.uint64(t3) & _W7)
        for _ in range(rounds):
            if one_by_one:
                for step in range(_LOOKUPS):
                    x0, b0 = _one(single, x0, b0, plane, o0 + step)
                    x1, b1 = _one(single, x1, b1, plane, o1 + step)
                    x2, b2 = _one(single, x2, b2, plane, o2 + step)
                    x3, b3 = _one(single, x3, b3, plane, o3 + step)
                o0 += _LOOKUPS
                o1 += _LOOKUPS
                o2 += _LOOKUPS
                o3 += _LOOKUPS
            else:
                for _ in range(_LOOKUPS):
                    x0, b0, o0 = _several(several, x0, b0, plane, o0)
                    x1, b1, o1 = _several(several, x1, b1, plane, o1)
                    x2, b2, o2 = _several(several, x2, b2, plane, o2)
                    x3, b3, o3 = _several(several, x3, b3, plane, o3)
            u0, u1, u2, u3 = _consumed(b0), _consumed(b1), _consumed(b2), _consumed(b3)
            p0 += np.int64(u0 >> _W3)
            p1 += np.int64(u1 >> _W3)
            p2 += np.int64(u2 >> _W3)
            p3 += np.int64(u3 >> _W3)
            b0 = _load(stream, p0, u0 & _W7)
            b1 = _load(stream, p1, u1 & _W7)
            b2 = _load(stream, p2, u2 & _W7)
            b3 = _load(stream, p3, u3 & _W7)
        t0 = 8 * p0 + np.int64(_consumed(b0))
        t1 = 8 * p1 + np.int64(_consumed(b1))
        t2 = 8 * p2 + np.int64(_consumed(b2))
        t3 = 8 * p3 + np.int64(_consumed(b3))
    good = _decode_tail(stream, t0, z0, x0, single, plane, o0, e0)
    good &= _decode_tail(stream, t1, z1, x1, single, plane, o1, e1)
    good &= _decode_tail(stream, t2, z2, x2, single, plane, o2, e2)
    good &= _decode_tail(stream, t3, z3, x3, single, plane, o3, e3)
    return good
