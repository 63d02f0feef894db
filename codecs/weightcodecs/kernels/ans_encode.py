"""tANS encoding of a plane as four streams side by side, the quarters of the plane as in huffman_encode.

Every stream starts in state 0 and codes its last symbol first. It grows downwards in memory, so the decoder
reads it forwards, lowest bit first: zeros, a one bit, the final state (log2 of the table size bits), then
what each symbol needs. A decoder that comes back to state 0 at the last bit has seen what was coded.
Encoding tables: FSE (Collet); the side-by-side streams and the accumulator, which writes whole words over
what is there already, are ours. So are leaps: where one symbol is most of a plane (of XOR exponents 97 % are
zeros), a table says what four of it in a row do.
"""

import numpy as np
from numba import njit

from weightcodecs.kernels.ans_code import spread_symbols
from weightcodecs.kernels.histogram import SEGMENTS
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import (
    address_of,
    bit_length,
    copy_bytes,
    load8,
    load16,
    load32,
    load64,
    store64,
)

_BATCH = 4  # symbols between two flushes: 4 x 12 bits
WORTH_LEAPS = 1 << 15  # symbols: fewer take less time than the table of leaps
_W0 = np.uint64(0)
_W1 = np.uint64(1)
_W2 = np.uint64(2)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W8 = np.uint64(8)
_W16 = np.uint64(16)
_W24 = np.uint64(24)
_BYTE = np.uint64(0xFF)
_STATE = np.uint64(0xFFFF)
_FOUR_TIMES = np.uint64(0x0101_0101)


@kernel
def _encoding_tables(frequencies, log, bits_of, base_of, next_state):  # type: ignore[no-untyped-def]
    states = 1 << log
    spread = np.empty(states, np.uint8)
    spread_symbols(frequencies, log, spread)
    place = np.empty(256, np.int64)
    total = 0
    for symbol in range(256):
        frequency = frequencies[symbol]
        place[symbol] = total
        bits_of[symbol] = base_of[symbol] = np.uint64(0)
        if frequency > 0:
            # (state + bits_of) >> 16 bits leave: most, or one less for states below frequency << most.
            most = log - (np.int64(bit_length(np.uint64(frequency - 1))) - 1) if frequency > 1 else log
            bits_of[symbol] = np.uint64((most << 16) - (frequency << most))
            base_of[symbol] = np.uint64(total - frequency)
            total += frequency
    for state in range(states):
        symbol = spread[state]
        next_state[place[symbol]] = states + state
        place[symbol] += 1


@njit(inline="always")
def _step(symbol, state, pending, at, bits_of, base_of, next_state):  # type: ignore[no-untyped-def]
    place = symbol << _W3
    bits = (state + load64(bits_of, place)) >> _W16
    pending = (pending << bits) | (state & ((_W1 << bits) - _W1))
    return load16(next_state, ((state >> bits) + load64(base_of, place)) << _W1), pending, at - bits


@njit(inline="always")
def _leap(state, pending, at, leaps):  # type: ignore[no-untyped-def]
    leap = load32(leaps, state << _W2)
    bits = leap >> _W24
    return leap & _STATE, (pending << bits) | ((leap >> _W16) & _BYTE), at - bits


@kernel
def _fill_leaps(symbol, log, bits_of, base_of, next_state, leaps):  # type: ignore[no-untyped-def]
    """For every state: the one after ``_BATCH`` of a symbol, their bits (16 to 23), how many (24 and on).

    The symbol has more than half of the states, so one of it gives a bit at most. The result is leaps[0].
    """
    one, two = leaps[0], leaps[1]
    bits_of, base_of, next_state = address_of(bits_of), address_of(base_of), address_of(next_state)
    for state in range(1 << log, 2 << log):
        after, bits, at = _step(symbol, np.uint64(state), _W0, _W8, bits_of, base_of, next_state)
        one[state] = after | bits << _W16 | (_W8 - at) << _W24
    _double_leaps(one, two)
    _double_leaps(two, one)


@kernel
def _double_leaps(once, twice):  # type: ignore[no-untyped-def]
    source = address_of(once)
    for state in range(once.size >> 1, once.size):
        half = np.uint64(once[state])
        after, bits, at = _leap(half & _STATE, (half >> _W16) & _BYTE, _W8, source)
        twice[state] = after | bits << _W16 | ((half >> _W24) + _W8 - at) << _W24


@njit(inline="always")
def _batch(plane, first, same, state, pending, at, leaps, bits_of, base_of, next_state, target):  # type: ignore[no-untyped-def]
    """Code ``_BATCH`` symbols from ``first`` on: at once, if their bytes are ``same``."""
    if load32(plane, first) == same:
        state, pending, at = _leap(state, pending, at, leaps)
    else:
        for back in range(1, _BATCH + 1):
            symbol = load8(plane, first + _BATCH - back)
            state, pending, at = _step(symbol, state, pending, at, bits_of, base_of, next_state)
    flush_bits(pending, target, at)
    return state, pending, at


@njit(inline="always")
def flush_bits(pending, target, at):  # type: ignore[no-untyped-def]
    """Write what was put below bit ``at`` of ``target``, an address, at most 57 bits since the last time.

    ``pending`` has the stream's bits from ``at`` on: those that are in memory already are written again.
    """
    store64(target, np.int64(at >> _W3), pending << (at & _W7))


@njit(inline="always")
def close_stream(state, pending, log, target, at):  # type: ignore[no-untyped-def]
    """Put the state and the one bit below it, zeros to a whole byte; the byte where the stream starts."""
    index = state & ((_W1 << np.uint64(log)) - _W1)
    pending = (pending << np.uint64(log + 1)) | (index << _W1) | _W1
    at -= np.uint64(log + 1)
    flush_bits(pending, target, at)
    return np.int64(at >> _W3)


@kernel
def _write_streams(plane, start, size, log, bits_of, base_of, next_state, leaps, same, scratch, starts):  # type: ignore[no-untyped-def]
    """Code the quarters into parts of ``scratch``; ``starts`` becomes where each one's stream starts.

    ``leaps`` is that of ``_fill_leaps`` and ``same`` four of its symbol, or it is empty.
    """
    leaping = leaps.size > 0
    quarter, reach = size // SEGMENTS, scratch.size // SEGMENTS
    source, target, leaps = address_of(plane) + start, address_of(scratch), address_of(leaps)
    bits_of, base_of, next_state = address_of(bits_of), address_of(base_of), address_of(next_state)
    x0 = x1 = x2 = x3 = np.uint64(1 << log)
    b0 = b1 = b2 = b3 = _W0
    # The first words that are written go beyond the ends of the parts.
    o0, o1 = np.uint64(8 * (reach - 8)), np.uint64(8 * (2 * reach - 8))
    o2, o3 = np.uint64(8 * (3 * reach - 8)), np.uint64(8 * (4 * reach - 8))
    # The last quarter's extra symbols, then all four streams side by side.
    for back in range(size - SEGMENTS * quarter):
        x3, b3, o3 = _step(load8(source, size - 1 - back), x3, b3, o3, bits_of, base_of, next_state)
    flush_bits(b3, target, o3)
    i0, i1, i2, i3 = quarter, 2 * quarter, 3 * quarter, 4 * quarter
    for _ in range(quarter // _BATCH):
        i0, i1, i2, i3 = i0 - _BATCH, i1 - _BATCH, i2 - _BATCH, i3 - _BATCH
        if leaping:
            x0, b0, o0 = _batch(source, i0, same, x0, b0, o0, leaps, bits_of, base_of, next_state, target)
            x1, b1, o1 = _batch(source, i1, same, x1, b1, o1, leaps, bits_of, base_of, next_state, target)
            x2, b2, o2 = _batch(source, i2, same, x2, b2, o2, leaps, bits_of, base_of, next_state, target)
            x3, b3, o3 = _batch(source, i3, same, x3, b3, o3, leaps, bits_of, base_of, next_state, target)
            continue
        for back in range(1, _BATCH + 1):
            to = _BATCH - back
            x0, b0, o0 = _step(load8(source, i0 + to), x0, b0, o0, bits_of, base_of, next_state)
            x1, b1, o1 = _step(load8(source, i1 + to), x1, b1, o1, bits_of, base_of, next_state)
            x2, b2, o2 = _step(load8(source, i2 + to), x2, b2, o2, bits_of, base_of, next_state)
            x3, b3, o3 = _step(load8(source, i3 + to), x3, b3, o3, bits_of, base_of, next_state)
        flush_bits(b0, target, o0)
        flush_bits(b1, target, o1)
        flush_bits(b2, target, o2)
        flush_bits(b3, target, o3)
    for left in range(1, quarter % _BATCH + 1):
        x0, b0, o0 = _step(load8(source, i0 - left), x0, b0, o0, bits_of, base_of, next_state)
        x1, b1, o1 = _step(load8(source, i1 - left), x1, b1, o1, bits_of, base_of, next_state)
        x2, b2, o2 = _step(load8(source, i2 - left), x2, b2, o2, bits_of, base_of, next_state)
        x3, b3, o3 = _step(load8(source, i3 - left), x3, b3, o3, bits_of, base_of, next_state)
    starts[0] = close_stream(x0, b0, log, target, o0)
    starts[1] = close_stream(x1, b1, log, target, o1)
    starts[2] = close_stream(x2, b2, log, target, o2)
    starts[3] = close_stream(x3, b3, log, target, o3)


@kernel
def encode_ans(plane, start, size, frequencies, log, stream, at, room, sizes):  # type: ignore[no-untyped-def]
    """Write the four streams of ``plane[start : start + size]`` to ``stream[at : at + room]`` if they fit.

    Args:
        plane: uint8 array.
        start, size: a range inside it.
        frequencies: int64 (256,) with sum ``2**log``, not 0 for any byte of the range.
        stream: uint8 array with ``room`` bytes at ``at``.
        sizes: int64 (4,), overwritten: bytes of each stream.

    Returns:
        Bytes of all streams; nothing has been written if that is more than ``room``.
    """
    bits_of = np.empty(256, np.uint64)
    base_of = np.empty(256, np.uint64)
    next_state = np.empty(1 << log, np.uint16)
    _encoding_tables(frequencies, log, bits_of, base_of, next_state)
    most = np.uint64(frequencies.argmax())
    leaping = 4 * frequencies[most] > 3 << log and size >= WORTH_LEAPS
    leaps = np.empty((2, 2 << log if leaping else 0), np.uint32)
    if leaping:
        _fill_leaps(most, log, bits_of, base_of, next_state, leaps)
    reach = (size // SEGMENTS + SEGMENTS) * log // 8 + 24
    scratch = np.empty(SEGMENTS * reach, np.uint8)
    starts = np.empty(SEGMENTS, np.int64)
    same = most * _FOUR_TIMES
    _write_streams(plane, start, size, log, bits_of, base_of, next_state, leaps[0], same, scratch, starts)
    for segment in range(SEGMENTS):
        sizes[segment] = (segment + 1) * reach - 8 - starts[segment]
    total = sizes[0] + sizes[1] + sizes[2] + sizes[3]
    if total <= room:
        for segment in range(SEGMENTS):
            copy_bytes(stream, at, scratch, starts[segment], sizes[segment])
            at += sizes[segment]
    return total
