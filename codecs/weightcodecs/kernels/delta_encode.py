"""Encoding a fine-tuned tensor's deltas. Layout and lanes: see delta_tokens. Source: ours."""

import numpy as np
from numba import njit

from .ans_code import scale_counts, spread_symbols, table_log, write_frequencies
from .ans_encode import close_stream, flush_bits
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
    TOKENS,
    contexts_of,
    token_lengths,
    tokens_of,
)
from .jit import kernel
from .unaligned import address_of, bit_length, copy_bytes, fill_bytes, load16, load32

__all__ = ["COUNTS", "encode_deltas", "scratch_bytes", "scratch_words"]

COUNTS = LANES * MAX_CONTEXTS * 256
"""Counters of a piece."""
_SAMPLES = 2048
_RARE = 8  # of the samples: exponents above the highest context share it
_TABLE1 = np.uint64(MAX_CONTEXTS * TOKENS)
_TABLE2, _TABLE3 = _TABLE1 * np.uint64(2), _TABLE1 * np.uint64(3)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W4 = np.uint64(4)
_W6 = np.uint64(6)
_W16 = np.uint64(16)
_W32 = np.uint64(32)
_LANE1, _LANE2, _LANE3 = np.uint64(STEP), np.uint64(2 * STEP), np.uint64(3 * STEP)
_HALF = np.uint64(0xFFFF)
_WORD = np.uint64(0xFFFF_FFFF)


@kernel
def _lowest_exponent(words, mantissa, mask, contexts):  # type: ignore[no-untyped-def]
    """Where the contexts should start so that the last of them takes the highest exponents that matter."""
    counts = np.zeros(1 << 11, np.int64)
    step = max(words.size // _SAMPLES, 1)
    taken = 0
    for i in range(0, words.size, step):
        counts[np.int64((words[i] >> mantissa) & mask)] += 1
        taken += 1
    above = 0
    top = np.int64(mask)
    while top > 0 and (above + counts[top]) * _SAMPLES <= _RARE * taken:
        above += counts[top]
        top -= 1
    return max(top + 1 - contexts, 0)


@kernel
def _equal(base, fine):  # type: ignore[no-untyped-def]
    for start in range(0, base.size, STEP):
        stop = min(start + STEP, base.size)
        some, other = base[start:stop], fine[start:stop]
        change = base.dtype.type(0)
        for i in range(some.size):
            change |= some[i] ^ other[i]
        if change != base.dtype.type(0):
            return False
    return True


@kernel
def _count(index, counts):  # type: ignore[no-untyped-def]
    """How often each index occurs; four tables, so that no counter waits for its own last value."""
    one = np.uint32(1)
    for four in range(index.size >> 2):
        i = np.uint64(four << 2)
        counts[np.uint64(index[i])] += one
        counts[_TABLE1 + np.uint64(index[i + np.uint64(1)])] += one
        counts[_TABLE2 + np.uint64(index[i + np.uint64(2)])] += one
        counts[_TABLE3 + np.uint64(index[i + np.uint64(3)])] += one
    for i in range(index.size & -4, index.size):
        counts[np.uint64(index[i])] += one


@kernel
def _encoding_table(frequencies, log, lengths, context, spread, table, next_state):  # type: ignore[no-untyped-def]
    """The entries of a context's tokens: what states add for the bits that leave, next state, raw bits."""
    states = 1 << log
    spread_symbols(frequencies, log, spread)
    place = np.empty(TOKENS, np.int64)
    total = (context + 1) << log  # the first states stay free, so that no place is negative
    for token in range(TOKENS):
        frequency = frequencies[token]
        place[token] = total
        entry = lengths[token] << 48
        if frequency > 0:
            # (state + these 32 bits) >> 16 bits leave: most, or one less for states below frequency << most.
            most = log - (np.int64(bit_length(np.uint64(frequency - 1))) - 1) if frequency > 1 else log
            entry |= ((most << 16) - (frequency << most)) | (total - frequency) << 32
        table[context * TOKENS + token] = entry
        total += frequency
    for state in range(states):
        token = np.int64(spread[state])
        next_state[place[token]] = states + state
        place[token] += 1


@njit(inline="always")
def _push(index, bits, state, pending, at, table, after, target, wide):  # type: ignore[no-untyped-def]
    """Put one element's raw bits and what leaves its state below bit `at`."""
    entry = np.uint64(index) << _W3
    length = load16(table, entry + _W6)
    if wide:
        more = max(length, _W32) - _W32
        pending = (pending << more) | (bits >> _W32)
        at -= more
        flush_bits(pending, target, at)
        length -= more
        bits &= _WORD
    pending = (pending << length) | bits
    leaving = (state + load32(table, entry)) >> _W16
    pending = (pending << leaving) | (state & ((_W1 << leaving) - _W1))
    state = load16(after, ((state >> leaving) + load16(table, entry + _W4)) << _W1)
    return state, pending, at - length - leaving


@kernel
def _write_streams(index, raw, quarter, rest, table, next_state, log, scratch, starts):  # type: ignore[no-untyped-def]
    """Code the four lanes from their ends into parts of `scratch`; `starts` becomes where each one starts."""
    reach = scratch.size // LANES
    tables, after, target = address_of(table), address_of(next_state), address_of(scratch)
    x0 = x1 = x2 = x3 = np.uint64(1 << log)
    b0 = b1 = b2 = b3 = np.uint64(0)
    o0, o1 = np.uint64(8 * (reach - 8)), np.uint64(8 * (2 * reach - 8))
    o2, o3 = np.uint64(8 * (3 * reach - 8)), np.uint64(8 * (4 * reach - 8))
    # Constants that LLVM knows when it unrolls; `itemsize` is a field that it would have to read.
    largest = np.uint64(raw.dtype.type(-1))
    wide = largest > _WORD
    steps = 2 if largest == _HALF else 1  # between two flushes: two times 10 + 14 bits, or 10 + 31
    blocks = -(-quarter // STEP)
    for back in range(rest):
        i = np.uint64(blocks * LANES * STEP + rest - 1 - back)
        x3, b3, o3 = _push(index[i], np.uint64(raw[i]), x3, b3, o3, tables, after, target, wide)
        flush_bits(b3, target, o3)
    for block in range(blocks - 1, -1, -1):
        size = min(STEP, quarter - block * STEP)
        end = block * LANES * STEP + size - 1
        for round_ in range(size // steps):
            # Lane by lane: the processor runs them side by side, and registers hold one at a time.
            i = np.uint64(end - round_ * steps)
            for step in range(steps):
                k = i - np.uint64(step)
                x0, b0, o0 = _push(index[k], np.uint64(raw[k]), x0, b0, o0, tables, after, target, wide)
            flush_bits(b0, target, o0)
            for step in range(steps):
                k = i + _LANE1 - np.uint64(step)
                x1, b1, o1 = _push(index[k], np.uint64(raw[k]), x1, b1, o1, tables, after, target, wide)
            flush_bits(b1, target, o1)
            for step in range(steps):
                k = i + _LANE2 - np.uint64(step)
                x2, b2, o2 = _push(index[k], np.uint64(raw[k]), x2, b2, o2, tables, after, target, wide)
            flush_bits(b2, target, o2)
            for step in range(steps):
                k = i + _LANE3 - np.uint64(step)
                x3, b3, o3 = _push(index[k], np.uint64(raw[k]), x3, b3, o3, tables, after, target, wide)
            flush_bits(b3, target, o3)
    starts[0] = close_stream(x0, b0, log, target, o0)
    starts[1] = close_stream(x1, b1, log, target, o1)
    starts[2] = close_stream(x2, b2, log, target, o2)
    starts[3] = close_stream(x3, b3, log, target, o3)


@kernel
def _tokens(base, fine, mantissa, mask, low, contexts, top, index, raw, counts):  # type: ignore[no-untyped-def]
    """Indices and raw bits of a piece, STEP elements of a lane in turn, and how often each index occurs."""
    word = base.dtype.type
    low, last, shift = word(low), word(contexts - 1), np.uint16(8)
    quarter = base.size // (2 * LANES) * 2
    counts[:] = 0
    to = 0
    for block in range(0, quarter + STEP, STEP):
        for lane in range(LANES if block < quarter else 1):
            first = lane * quarter + block
            size = min(STEP, quarter - block)
            if block >= quarter:  # what is left over
                first = LANES * quarter
                size = base.size - first
            some, other = base[first : first + size], fine[first : first + size]
            here = index[to : to + size]
            contexts_of(some, mantissa, mask, low, last, shift, here)
            tokens_of(some, other, top, here, raw[to : to + size])
            _count(here, counts)
            to += STEP
    return quarter


@kernel
def _encode_piece(base, fine, mantissa, mask, top, contexts, scratch, stream, at):  # type: ignore[no-untyped-def]
    """Bytes of the piece, or 0 if it would not be smaller than its words."""
    index, raw, counts, streams = scratch
    if _equal(base, fine):
        stream[at] = 2
        return 1
    width = 8 * base.itemsize
    low = _lowest_exponent(base, mantissa, mask, contexts)
    quarter = _tokens(base, fine, mantissa, mask, low, contexts, top, index, raw, counts)
    lengths = np.empty(TOKENS, np.int64)
    token_lengths(np.int64(top), width, lengths)
    of_context = counts.reshape(LANES, MAX_CONTEXTS, TOKENS)
    sums = np.empty((contexts, TOKENS), np.int64)
    sizes = np.zeros(contexts, np.int64)
    log = 0
    raw_bits = 0
    used = 0
    for context in range(contexts):
        for token in range(TOKENS):
            count = np.int64(0)
            for lane in range(LANES):
                count += np.int64(of_context[lane, context, token])
            sums[context, token] = count
            sizes[context] += count
            raw_bits += count * lengths[token]
        if sizes[context] > 0:
            log = max(log, table_log(sums[context], sizes[context], MAX_LOG))
            used |= 1 << context
    start = at
    head = at + HEAD
    room = base.size * base.itemsize - HEAD - LANES * SIZE_BYTES - PADDING
    frequencies = np.empty(TOKENS, np.int64)
    table = np.empty(contexts * TOKENS, np.uint64)
    next_state = np.empty((contexts + 1) << log, np.uint16)
    spread = np.empty(1 << log, np.uint8)
    written = np.empty(MAX_TABLE_BYTES, np.uint8)
    for context in range(contexts):
        if sizes[context] > 0:
            raw_bits += np.int64(scale_counts(sums[context], sizes[context], log, frequencies))
            bytes_ = write_frequencies(frequencies, written)
            room -= bytes_
            if room < 0:
                return 0
            copy_bytes(stream, head, written, 0, bytes_)
            head += bytes_
            _encoding_table(frequencies, log, lengths, context, spread, table, next_state)
    if raw_bits // 8 >= room:
        return 0
    starts = np.empty(LANES, np.int64)
    _write_streams(index, raw, quarter, base.size - LANES * quarter, table, next_state, log, streams, starts)
    reach = streams.size // LANES
    for lane in range(LANES):
        room -= (lane + 1) * reach - 8 - starts[lane]
    if room < 0:
        return 0
    stream[start] = 1
    stream[start + 1] = np.uint8(top)
    stream[start + 2] = log
    stream[start + 3] = contexts
    stream[start + 4] = used & 255
    stream[start + 5] = used >> 8
    stream[start + 6] = low & 255
    stream[start + 7] = low >> 8
    at = head + SIZE_BYTES * (LANES - 1)
    for lane in range(LANES):
        size = (lane + 1) * reach - 8 - starts[lane]
        if lane < LANES - 1:
            for byte in range(SIZE_BYTES):
                stream[head + byte] = (size >> (8 * byte)) & 255
            head += SIZE_BYTES
        copy_bytes(stream, at, streams, starts[lane], size)
        at += size
    fill_bytes(stream, at, PADDING, np.uint8(0))
    return at + PADDING - start


def scratch_words(size: int) -> int:
    """Return how many words `_tokens` writes of a piece of `size`: whole steps, and one for what is left."""
    return LANES * -(-size // (LANES * STEP)) * STEP + STEP


def scratch_bytes(size: int, itemsize: int) -> int:
    """Return how many bytes the streams of a piece of `size` words can take before they are put together."""
    return LANES * ((size // LANES + 2 * LANES) * (8 * itemsize + MAX_LOG) // 8 + 32)


@kernel
def encode_deltas(base, fine, mantissa, mask, top, contexts, first, last, scratch, stream, at, sizes):  # type: ignore[no-untyped-def]
    """Code pieces `first` to `last - 1` to stream[at:]; return how many bytes that took.

    Args:
        base, fine: bit patterns (u2, u4 or u8), flat, aligned, of one type and size.
        mantissa, mask: where the exponent stands, both of the words' type.
        top: bits after the leading one in a token, of the words' type: 1, or up to 2 for 32 bits.
        contexts: 1 to MAX_CONTEXTS.
        scratch: indices (uint16) and raw bits (words), both [scratch_words]; counts (uint32 [COUNTS]);
            streams (uint8 [scratch_bytes]).
        stream: uint8; a piece of n words takes their bytes and one more at most.
        sizes: int64 [pieces], written: bytes of every piece.
    """
    begin = at
    for index in range(first, last):
        start = index * PIECE
        stop = min(start + PIECE, base.size)
        size = _encode_piece(
            base[start:stop], fine[start:stop], mantissa, mask, top, contexts, scratch, stream, at
        )
        if size == 0:
            stream[at] = 0
            for i in range(start, stop):
                value = np.uint64(fine[i])
                for byte in range(base.itemsize):
                    stream[at + 1 + (i - start) * base.itemsize + byte] = np.uint8(
                        value >> np.uint64(8 * byte)
                    )
            size = 1 + (stop - start) * base.itemsize
        sizes[index] = size
        at += size
    return at - begin
