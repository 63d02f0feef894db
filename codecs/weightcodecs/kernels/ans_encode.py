"""tANS encoding of a plane as four streams side by side, the quarters of the plane as in huffman_encode.

Every stream starts in state 0 and codes its last symbol first. It grows downwards in memory, so the decoder
reads it forwards, lowest bit first: zeros, a one bit, the final state (log2 of the table size bits), then
what each symbol needs. A decoder that comes back to state 0 at the last bit has seen what was coded.
Encoding tables: FSE (Collet); the side-by-side streams and the accumulator, which writes whole words over
what is there already, are ours.
"""

import numpy as np
from numba import njit

from weightcodecs.kernels.ans_code import spread_symbols
from weightcodecs.kernels.histogram import SEGMENTS
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import address_of, bit_length, copy_bytes, store64

_BATCH = 4  # symbols between two flushes: 4 x 12 bits
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W16 = np.uint64(16)


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
    bits = (state + bits_of[symbol]) >> _W16
    pending = (pending << bits) | (state & ((_W1 << bits) - _W1))
    return np.uint64(next_state[(state >> bits) + base_of[symbol]]), pending, at - bits


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
    quarter = size // SEGMENTS
    reach = (quarter + SEGMENTS) * log // 8 + 24
    scratch = np.empty(SEGMENTS * reach, np.uint8)
    starts = np.empty(SEGMENTS, np.int64)
    target = address_of(scratch)
    end = reach - 8  # of the first stream; the first words that are written go beyond the ends
    x0 = x1 = x2 = x3 = np.uint64(1 << log)
    b0 = b1 = b2 = b3 = np.uint64(0)
    o0, o1 = np.uint64(8 * end), np.uint64(8 * (end + reach))
    o2, o3 = np.uint64(8 * (end + 2 * reach)), np.uint64(8 * (end + 3 * reach))
    # The last quarter's extra symbols, then all four streams side by side.
    for back in range(size - SEGMENTS * quarter):
        x3, b3, o3 = _step(plane[start + size - 1 - back], x3, b3, o3, bits_of, base_of, next_state)
    flush_bits(b3, target, o3)
    rounds = quarter // _BATCH
    for round_ in range(rounds):
        for back in range(1, _BATCH + 1):
            i0 = start + quarter - _BATCH * round_ - back
            x0, b0, o0 = _step(plane[np.uint64(i0)], x0, b0, o0, bits_of, base_of, next_state)
            x1, b1, o1 = _step(plane[np.uint64(i0 + quarter)], x1, b1, o1, bits_of, base_of, next_state)
            x2, b2, o2 = _step(plane[np.uint64(i0 + 2 * quarter)], x2, b2, o2, bits_of, base_of, next_state)
            x3, b3, o3 = _step(plane[np.uint64(i0 + 3 * quarter)], x3, b3, o3, bits_of, base_of, next_state)
        flush_bits(b0, target, o0)
        flush_bits(b1, target, o1)
        flush_bits(b2, target, o2)
        flush_bits(b3, target, o3)
    for left in range(quarter - _BATCH * rounds - 1, -1, -1):
        x0, b0, o0 = _step(plane[start + left], x0, b0, o0, bits_of, base_of, next_state)
        x1, b1, o1 = _step(plane[start + left + quarter], x1, b1, o1, bits_of, base_of, next_state)
        x2, b2, o2 = _step(plane[start + left + 2 * quarter], x2, b2, o2, bits_of, base_of, next_state)
        x3, b3, o3 = _step(plane[start + left + 3 * quarter], x3, b3, o3, bits_of, base_of, next_state)
    starts[0] = close_stream(x0, b0, log, target, o0)
    starts[1] = close_stream(x1, b1, log, target, o1)
    starts[2] = close_stream(x2, b2, log, target, o2)
    starts[3] = close_stream(x3, b3, log, target, o3)
    for segment in range(SEGMENTS):
        sizes[segment] = end + segment * reach - starts[segment]
    total = sizes[0] + sizes[1] + sizes[2] + sizes[3]
    if total <= room:
        for segment in range(SEGMENTS):
            copy_bytes(stream, at, scratch, starts[segment], sizes[segment])
            at += sizes[segment]
    return total
