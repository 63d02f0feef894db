"""Decoding what delta_encode wrote; safe on any content. Layout and lanes: see delta_tokens. Source: ours.

A table entry belongs to a context and a state: how many bits follow for the next state (bits 0-7), these and
the raw bits behind them (8-15), the token (16-21), the next state less the bits read (22-31). With words of
more than 16 bits entries have 64, the token ends at bit 23.
"""

import numpy as np
from numba import njit

from .ans_code import read_frequencies, spread_symbols
from .ans_decode import open_stream
from .code_table import MAX_TABLE_BYTES
from .delta_tokens import (
    HEAD,
    LANES,
    MAX_CONTEXTS,
    MAX_LOG,
    PADDING,
    PIECE,
    SIZE_BYTES,
    STEP,
    TOKEN_AT,
    TOKENS,
    TOKENS_NARROW,
    changes_of,
    contexts_of,
    patterns_of,
    token_lengths,
)
from .jit import kernel
from .unaligned import address_of, bit_length, copy_bytes, fill_bytes, load64

__all__ = ["decode_deltas"]

_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W8 = np.uint64(8)
_W22 = np.uint64(22)
_W24 = np.uint64(24)
_W32 = np.uint64(32)
_BYTE = np.uint64(255)
_LANE1, _LANE2, _LANE3 = np.uint64(STEP), np.uint64(2 * STEP), np.uint64(3 * STEP)
_HALF = np.uint64(0xFFFF)
_WORD = np.uint64(0xFFFF_FFFF)


@kernel
def _decoding_table(frequencies, log, lengths, spread, base_at, table):  # type: ignore[no-untyped-def]
    """Fill the 2**log entries of a context."""
    spread_symbols(frequencies, log, spread)
    for state in range(1 << log):
        token = np.int64(spread[state])
        place = frequencies[token]
        frequencies[token] += 1
        bits = log + 1 - np.int64(bit_length(np.uint64(place)))
        next_state = (place << bits) - (1 << log)
        table[state] = bits | (bits + lengths[token]) << 8 | token << TOKEN_AT | next_state << base_at


@njit
def _load(stream, position, limit):  # type: ignore[no-untyped-def]
    """The bits at a position; where there is a limit, others from byte `limit` on, but none outside."""
    byte = np.int64(position >> _W3)
    if limit is not None:
        byte = min(byte, limit)
    return load64(stream, byte) >> (position & _W7)


@njit(inline="always")
def _take(entry, pending, position, base_at):  # type: ignore[no-untyped-def]
    """The next state, what is left of the bits, and where they stand."""
    bits = entry & _BYTE
    both = (entry >> _W8) & _BYTE
    return (entry >> base_at) + (pending & ((_W1 << bits) - _W1)), pending >> both, position + both


@njit(inline="always")
def _raw(stream, limit, entry, pending, position):  # type: ignore[no-untyped-def]
    """The raw bits of a word of 64 bits, which may be more than what is left of a load."""
    bits = entry & _BYTE
    more = _load(stream, position + bits + _W32, limit)
    return more << _W32 | ((pending >> bits) & _WORD)


@kernel
def _read_streams(stream, limit, table, offsets, size, states, positions, entries, seen, change):  # type: ignore[no-untyped-def]
    """What the table says about `size` elements of each lane, and the bits that it says it of.

    Args:
        stream: uint8.
        limit: int64, byte from which no eight bytes are there to be read; None if no lane comes so far.
        table: uint32 for words of 16 bits, or uint64.
        offsets: uint16 [4 · STEP], where the table of an element's context starts, lane by lane.
        size: elements of each lane, even.
        states, positions: uint64 [4], read and written.
        entries, seen: of the table's type [4 · STEP], written, for `changes_of`.
        change: words; only their type counts.
    """
    x0, x1, x2, x3 = states[0], states[1], states[2], states[3]
    p0, p1, p2, p3 = positions[0], positions[1], positions[2], positions[3]
    source = address_of(stream)
    # Constants that LLVM knows when it unrolls; `itemsize` is a field that it would have to read.
    largest = np.uint64(change.dtype.type(-1))
    wide = largest > _WORD
    steps = 2 if largest == _HALF else 1  # from one load of eight bytes
    base_at = _W22 if largest == _HALF else _W24
    for round_ in range(size // steps):
        # Lane by lane: the processor runs them side by side, and registers hold one at a time.
        i = np.uint64(round_ * steps)
        pending = _load(source, p0, limit)
        for step in range(steps):
            k = i + np.uint64(step)
            entry = np.uint64(table[np.uint64(offsets[k]) + x0])
            entries[k], seen[k] = entry, pending
            if wide:
                entries[k], seen[k] = entry & ~_BYTE, _raw(source, limit, entry, pending, p0)
            x0, pending, p0 = _take(entry, pending, p0, base_at)
        pending = _load(source, p1, limit)
        for step in range(steps):
            k = i + _LANE1 + np.uint64(step)
            entry = np.uint64(table[np.uint64(offsets[k]) + x1])
            entries[k], seen[k] = entry, pending
            if wide:
                entries[k], seen[k] = entry & ~_BYTE, _raw(source, limit, entry, pending, p1)
            x1, pending, p1 = _take(entry, pending, p1, base_at)
        pending = _load(source, p2, limit)
        for step in range(steps):
            k = i + _LANE2 + np.uint64(step)
            entry = np.uint64(table[np.uint64(offsets[k]) + x2])
            entries[k], seen[k] = entry, pending
            if wide:
                entries[k], seen[k] = entry & ~_BYTE, _raw(source, limit, entry, pending, p2)
            x2, pending, p2 = _take(entry, pending, p2, base_at)
        pending = _load(source, p3, limit)
        for step in range(steps):
            k = i + _LANE3 + np.uint64(step)
            entry = np.uint64(table[np.uint64(offsets[k]) + x3])
            entries[k], seen[k] = entry, pending
            if wide:
                entries[k], seen[k] = entry & ~_BYTE, _raw(source, limit, entry, pending, p3)
            x3, pending, p3 = _take(entry, pending, p3, base_at)
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    positions[0], positions[1], positions[2], positions[3] = p0, p1, p2, p3


@kernel
def _read_rest(stream, limit, table, offsets, size, states, positions, entries, seen, change):  # type: ignore[no-untyped-def]
    """The same for `size` more elements of the last lane, which stand in the front."""
    source = address_of(stream)
    largest = np.uint64(change.dtype.type(-1))
    state, position = states[LANES - 1], positions[LANES - 1]
    for index in range(size):
        i = np.uint64(index)
        entry = np.uint64(table[np.uint64(offsets[i]) + state])
        pending = _load(source, position, limit)
        if largest > _WORD:
            entries[i] = entry & ~_BYTE
            seen[i] = _raw(source, limit, entry, pending, position)
        else:
            entries[i], seen[i] = entry, pending
        state, pending, position = _take(entry, pending, position, _W22 if largest == _HALF else _W24)
    states[LANES - 1], positions[LANES - 1] = state, position


@kernel
def _read_tables(stream, at, end, used, contexts, log, lengths, tokens, table):  # type: ignore[no-untyped-def]
    """Fill the tables of the contexts; return where what is behind them starts, or -1."""
    base_at = 22 if table.itemsize == 4 else 24
    padded = np.empty(MAX_TABLE_BYTES + 8, np.uint8)
    frequencies = np.empty(TOKENS, np.int64)
    spread = np.empty(1 << log, np.uint8)
    for context in range(contexts):
        of_context = table[context << log : (context + 1) << log]
        if (used >> context) & 1:
            head = min(end - at, MAX_TABLE_BYTES)
            copy_bytes(padded, 0, stream, at, head)
            fill_bytes(padded, head, padded.size - head, np.uint8(0))
            own_log, taken = read_frequencies(padded, frequencies)
            at += taken
            if own_log != log or at > end:
                return -1
            for token in range(tokens, TOKENS):
                if frequencies[token] > 0:
                    return -1
            _decoding_table(frequencies, log, lengths, spread, base_at, of_context)
        else:
            of_context[:] = 0
    return at


@kernel
def _restore(base, entries, seen, top, change, fine):  # type: ignore[no-untyped-def]
    changes_of(entries, seen, entries.dtype.type(top), change)
    patterns_of(base, change, fine)


@kernel
def _decode_piece(stream, at, size, base, mantissa, mask, scratch, fine):  # type: ignore[no-untyped-def]
    offsets, entries, seen, change, table = scratch
    word = base.dtype.type
    width = 8 * base.itemsize
    if size < 1:
        return False
    if stream[at] == 2:
        fine[:] = base
        return size == 1
    if stream[at] == 0:
        if size != 1 + base.size * base.itemsize:
            return False
        for i in range(base.size):
            value = np.uint64(0)
            for byte in range(base.itemsize):
                value |= np.uint64(stream[at + 1 + i * base.itemsize + byte]) << np.uint64(8 * byte)
            fine[i] = word(value)
        return True
    end = at + size - PADDING
    if stream[at] != 1 or size < HEAD + SIZE_BYTES * (LANES - 1) + PADDING:
        return False
    top, log, contexts = np.int64(stream[at + 1]), np.int64(stream[at + 2]), np.int64(stream[at + 3])
    used = np.int64(stream[at + 4]) | np.int64(stream[at + 5]) << 8
    low = np.int64(stream[at + 6]) | np.int64(stream[at + 7]) << 8
    if contexts < 1 or contexts > MAX_CONTEXTS or top > 3 or (width == 16 and top < 1):
        return False
    if low > np.int64(mask) or log > MAX_LOG or used >> contexts:
        return False
    lengths = np.empty(TOKENS, np.int64)
    tokens = token_lengths(top, width, lengths)
    if tokens > (TOKENS_NARROW if width == 16 else TOKENS):
        return False
    sizes_at = _read_tables(stream, at + HEAD, end, used, contexts, log, lengths, tokens, table)
    begin = sizes_at + SIZE_BYTES * (LANES - 1)
    if sizes_at < 0 or begin > end:
        return False
    states = np.empty(LANES, np.uint64)
    positions = np.empty(LANES, np.uint64)
    ends = np.empty(LANES, np.int64)
    for lane in range(LANES):
        stop = end
        if lane < LANES - 1:
            stop = begin
            for byte in range(SIZE_BYTES):
                stop += np.int64(stream[sizes_at + SIZE_BYTES * lane + byte]) << (8 * byte)
        if stop <= begin or stop > end:
            return False
        position, states[lane] = open_stream(stream, begin, stop, log)
        if position < 0:
            return False
        positions[lane] = position
        begin = ends[lane] = stop
    # A lane that comes nowhere near the end in so many elements need not look out for it.
    room = np.uint64(max(8 * end - STEP * (MAX_LOG + width), 0))
    quarter = base.size // (2 * LANES) * 2
    last, shift = word(contexts - 1), np.uint16(log)
    for block in range(0, quarter, STEP):
        some = min(STEP, quarter - block)
        for lane in range(LANES):
            first = lane * quarter + block
            place = offsets[lane * STEP : lane * STEP + some]
            contexts_of(base[first : first + some], mantissa, mask, word(low), last, shift, place)
        if positions.max() < room:
            _read_streams(stream, None, table, offsets, some, states, positions, entries, seen, change)
        else:
            _read_streams(stream, end, table, offsets, some, states, positions, entries, seen, change)
        for lane in range(LANES):
            first = lane * quarter + block
            place = lane * STEP
            _restore(
                base[first : first + some],
                entries[place : place + some],
                seen[place : place + some],
                top,
                change[:some],
                fine[first : first + some],
            )
    first = LANES * quarter
    rest = base.size - first
    contexts_of(base[first:], mantissa, mask, word(low), last, shift, offsets[:rest])
    _read_rest(stream, end, table, offsets, rest, states, positions, entries, seen, change)
    _restore(base[first:], entries[:rest], seen[:rest], top, change[:rest], fine[first:])
    for lane in range(LANES):
        if states[lane] != 0 or positions[lane] != np.uint64(8 * ends[lane]):
            return False
    return True


@kernel
def decode_deltas(stream, offsets, base, mantissa, mask, first, last, scratch, fine):  # type: ignore[no-untyped-def]
    """Decode pieces `first` to `last - 1` into `fine`; return the first that is corrupt, or −1.

    Safe on any content: a lane never reads outside its piece, and is found out afterwards if it did not end
    where and as it should.

    Args:
        stream: uint8, read-only.
        offsets: int64, where every piece starts, and the end of the last; ascending, inside the stream.
        base, mantissa, mask: as in `encode_deltas`.
        scratch: offsets (uint16 [4 · STEP]); entries and seen (uint32 for words of 16 bits, or uint64
            [4 · STEP]); change (words [STEP]); table (as entries [16 · 1024]).
        fine: words, written.
    """
    for index in range(first, last):
        start = index * PIECE
        stop = min(start + PIECE, base.size)
        at = offsets[index]
        if not _decode_piece(
            stream, at, offsets[index + 1] - at, base[start:stop], mantissa, mask, scratch, fine[start:stop]
        ):
            return index
    return -1
