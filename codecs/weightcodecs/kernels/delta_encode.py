"""Encoding a fine-tuned tensor's deltas: deal the tokens to contexts, write raw bits, code each context.

Layout and lanes: see delta_tokens. Source: ours.
"""

import numpy as np

from .delta_tokens import CONTEXT_HEAD, HEAD, LANES, MAX_CONTEXTS, PIECE, STEP, contexts_of, tokens_of
from .jit import kernel
from .plane_chunk import encode_chunk
from .unaligned import copy_bytes, store64

__all__ = ["ROOM", "encode_deltas"]

ROOM = 64 + MAX_CONTEXTS * 18
"""A piece takes at most its words, a byte for each element and this long before it is found too long."""
_SAMPLES = 2048
_RARE = 8  # of the samples: exponents above the highest context share it
_W0 = np.uint64(0)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W32 = np.uint64(32)
_WHOLE = ~_W7


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
def _store24(stream, at, value):  # type: ignore[no-untyped-def]
    for byte in range(3):
        stream[at + byte] = np.uint8((value >> (8 * byte)) & 255)


@kernel
def _put(stream, at, held, count, value, bits, wide):  # type: ignore[no-untyped-def]
    """Append `bits` of `value` to the fewer than 8 held ones and write bytes; in two halves if `wide`."""
    if wide:
        some = min(bits, _W32)
        held |= (value & ((_W1 << some) - _W1)) << count
        count += some
        store64(stream, at, held)
        at += np.int64(count >> _W3)
        held >>= count & _WHOLE
        count &= _W7
        value >>= some
        bits -= some
    held |= value << count
    count += bits
    store64(stream, at, held)
    at += np.int64(count >> _W3)
    held >>= count & _WHOLE
    return at, held, count & _W7


@kernel
def _sort(token, lane, context, places, sorted_tokens, i):  # type: ignore[no-untyped-def]
    place = np.uint64(context[i]) * np.uint64(LANES) + np.uint64(lane)
    to = places[place]
    sorted_tokens[to] = token[i]
    places[place] = to + _W1


@kernel
def _deal(token, context, bits, raw, size, places, sorted_tokens, stream, at, held, count):  # type: ignore[no-untyped-def]
    """Deal `size` elements of each lane to their contexts and write their raw bits."""
    t0, t1, t2, t3 = token[0], token[1], token[2], token[3]
    c0, c1, c2, c3 = context[0], context[1], context[2], context[3]
    b0, b1, b2, b3 = bits[0], bits[1], bits[2], bits[3]
    r0, r1, r2, r3 = raw[0], raw[1], raw[2], raw[3]
    wide = raw.itemsize == 8
    for index in range(size):
        i = np.uint64(index)
        _sort(t0, 0, c0, places, sorted_tokens, i)
        _sort(t1, 1, c1, places, sorted_tokens, i)
        _sort(t2, 2, c2, places, sorted_tokens, i)
        _sort(t3, 3, c3, places, sorted_tokens, i)
        n0, n1, n2, n3 = np.uint64(b0[i]), np.uint64(b1[i]), np.uint64(b2[i]), np.uint64(b3[i])
        v0, v1, v2, v3 = np.uint64(r0[i]), np.uint64(r1[i]), np.uint64(r2[i]), np.uint64(r3[i])
        if raw.itemsize == 2:
            # With a top bit in the token these are four times at most 14 bits, and fewer than 8 held ones.
            n1 += n0
            n2 += n1
            all_four = v0 | v1 << n0 | v2 << n1 | v3 << n2
            at, held, count = _put(stream, at, held, count, all_four, n2 + n3, False)
        else:
            at, held, count = _put(stream, at, held, count, v0, n0, wide)
            at, held, count = _put(stream, at, held, count, v1, n1, wide)
            at, held, count = _put(stream, at, held, count, v2, n2, wide)
            at, held, count = _put(stream, at, held, count, v3, n3, wide)
    return at, held, count


@kernel
def _encode_piece(base, fine, mantissa, mask, top, contexts, allowed, scratch, stream, at):  # type: ignore[no-untyped-def]
    token, context, bits, raw, sorted_tokens, plane = scratch
    word = base.dtype.type
    quarter = base.size // LANES
    low = _lowest_exponent(base, mantissa, mask, contexts)
    region = np.uint64(quarter + LANES)  # of a lane in a context
    places = np.empty(contexts * LANES, np.uint64)
    for index in range(places.size):
        places[index] = np.uint64(index) * region
    start = at
    at += HEAD + contexts * CONTEXT_HEAD
    first_raw = at
    held, count = _W0, _W0
    last = word(contexts - 1)
    for block in range(0, quarter, STEP):
        size = min(STEP, quarter - block)
        for lane in range(LANES):
            begin = lane * quarter + block
            some = base[begin : begin + size]
            contexts_of(some, mantissa, mask, word(low), last, context[lane, :size])
            tokens_of(
                some, fine[begin : begin + size], top, token[lane, :size], bits[lane, :size], raw[lane, :size]
            )
        at, held, count = _deal(
            token, context, bits, raw, size, places, sorted_tokens, stream, at, held, count
        )
    rest = base.size - LANES * quarter
    if rest > 0:
        some, size = base[LANES * quarter :], rest
        contexts_of(some, mantissa, mask, word(low), last, context[0, :size])
        tokens_of(some, fine[LANES * quarter :], top, token[0, :size], bits[0, :size], raw[0, :size])
        for i in range(size):
            place = np.uint64(context[0, i]) * np.uint64(LANES) + np.uint64(LANES - 1)
            sorted_tokens[places[place]] = token[0, i]
            places[place] += _W1
            at, held, count = _put(
                stream, at, held, count, np.uint64(raw[0, i]), np.uint64(bits[0, i]), raw.itemsize == 8
            )
    at += np.int64(count > _W0)
    stream[start] = 1
    stream[start + 1] = np.uint8(top)
    stream[start + 2] = contexts
    stream[start + 3] = low & 255
    stream[start + 4] = low >> 8
    raw_bytes = at - first_raw
    _store24(stream, start + 5, raw_bytes)
    stream[start + 8] = raw_bytes >> 24
    head = start + HEAD
    for index in range(contexts):
        total = 0
        for lane in range(LANES):
            begin = np.int64(region) * (index * LANES + lane)
            size = np.int64(places[index * LANES + lane]) - begin
            copy_bytes(plane, total, sorted_tokens, begin, size)
            _store24(stream, head + 3 * lane, size)
            total += size
        coded = encode_chunk(plane, 0, total, stream, at, allowed) if total > 0 else 0
        _store24(stream, head + 3 * LANES, coded)
        at += coded
        head += CONTEXT_HEAD
    return at - start


@kernel
def encode_deltas(  # type: ignore[no-untyped-def]
    base, fine, mantissa, mask, top, contexts, allowed, first, last, scratch, stream, at, sizes
):
    """Code pieces `first` to `last - 1` to stream[at:]; return how many bytes that took.

    Args:
        base, fine: bit patterns (u2, u4 or u8), flat, aligned, of one type and size.
        mantissa, mask: where the exponent stands, both of the words' type.
        top: bits after the leading one in a token, of the words' type: at most 3, 2, 1 for 16, 32, 64
            bits, and at least 1 for 16.
        contexts: 1 to MAX_CONTEXTS.
        allowed: methods of a chunk (kernels.plane_chunk).
        scratch: token, context, bits (uint8 [4, 512]), raw (words [4, 512]), sorted tokens
            (uint8 [contexts · (PIECE + 16)]), plane (uint8 [PIECE]).
        stream: uint8; a piece of n words may write 9n/8 times their bytes, n + ROOM more bytes at most.
        sizes: int64 [pieces], written: bytes of every piece.
    """
    begin = at
    for index in range(first, last):
        start = index * PIECE
        stop = min(start + PIECE, base.size)
        size = _encode_piece(
            base[start:stop], fine[start:stop], mantissa, mask, top, contexts, allowed, scratch, stream, at
        )
        raw_size = 1 + (stop - start) * base.itemsize
        if size >= raw_size:
            stream[at] = 0
            for i in range(start, stop):
                value = np.uint64(fine[i])
                for byte in range(base.itemsize):
                    stream[at + 1 + (i - start) * base.itemsize + byte] = np.uint8(
                        value >> np.uint64(8 * byte)
                    )
            size = raw_size
        sizes[index] = size
        at += size
    return at - begin
