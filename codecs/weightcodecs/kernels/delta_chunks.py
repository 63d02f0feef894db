"""Decoding fm_delta's first fast format, which put the tokens of each context into chunks; nothing writes it.

Tokens, contexts and the signed change are those of delta_tokens. Every context of a piece is one chunk of the
byte entropy coder (kernels.plane_chunk), and the raw bits stand apart. A piece is four lanes, its quarters
(the last takes what is left over). Layout of a piece (little-endian)::

    method u8     0: the words as they are, 1: coded
    top u8 · contexts u8 · lowest exponent u16 · bytes of the raw bits u32
    for every context: elements in each of the four lanes (u24 each), bytes of its chunk (u24)
    raw bits      lowest bit first; the lanes in turn, element by element, what is left over at the end
    chunks        in the order of the contexts; a context without elements has none

Safe on any content. Source: ours.
"""

import numpy as np

from .delta_tokens import (
    LANES,
    MAX_CONTEXTS,
    PIECE,
    STEP,
    contexts_of,
    patterns_of,
)
from .jit import kernel
from .plane_chunk import decode_chunk
from .unaligned import load64

__all__ = ["decode_chunks"]

_HEAD = 9
_CONTEXT_HEAD = 3 * (LANES + 1)

_W0 = np.uint64(0)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W32 = np.uint64(32)


@kernel
def _load24(stream, at):  # type: ignore[no-untyped-def]
    return np.int64(stream[at]) | np.int64(stream[at + 1]) << 8 | np.int64(stream[at + 2]) << 16


@kernel
def _get(stream, position, bits, limit, wide):  # type: ignore[no-untyped-def]
    """The `bits` at bit `position`; from byte `limit` on they are others, but nothing outside is read."""
    value = load64(stream, min(np.int64(position >> _W3), limit)) >> (position & _W7)
    if wide:
        some = min(bits, _W32)
        value &= (_W1 << some) - _W1
        behind = position + some
        more = load64(stream, min(np.int64(behind >> _W3), limit)) >> (behind & _W7)
        return value | (more & ((_W1 << (bits - some)) - _W1)) << some
    return value & ((_W1 << bits) - _W1)


@kernel
def _signed(distance, token):  # type: ignore[no-untyped-def]
    sign = _W0 - (token & _W1)
    return (distance ^ sign) - sign


@kernel
def _one_change(t, values, lengths, stream, position, limit, wide):  # type: ignore[no-untyped-def]
    length = np.uint64(lengths[t])
    distance = values[t] | _get(stream, position, length, limit, wide)
    return _signed(distance, t), position + length


@kernel
def _next(context, lane, places, plane, i):  # type: ignore[no-untyped-def]
    place = np.uint64(context[i]) * np.uint64(LANES) + np.uint64(lane)
    of = places[place]
    places[place] = of + _W1
    return np.uint64(plane[of])


@kernel
def _collect(context, size, places, plane, values, lengths, stream, position, limit, change):  # type: ignore[no-untyped-def]
    """Undo `_deal`: the signed change of `size` elements of each lane."""
    word = change.dtype.type
    wide = change.itemsize == 8
    c0, c1, c2, c3 = context[0], context[1], context[2], context[3]
    d0, d1, d2, d3 = change[0], change[1], change[2], change[3]
    for index in range(size):
        i = np.uint64(index)
        t0 = _next(c0, 0, places, plane, i)
        t1 = _next(c1, 1, places, plane, i)
        t2 = _next(c2, 2, places, plane, i)
        t3 = _next(c3, 3, places, plane, i)
        if change.itemsize == 2:
            # One load for four: with a top bit in the token they are at most 56 raw bits.
            n0, n1, n2, n3 = lengths[t0], lengths[t1], lengths[t2], lengths[t3]
            held = load64(stream, min(np.int64(position >> _W3), limit)) >> (position & _W7)
            v0 = values[t0] | (held & ((_W1 << n0) - _W1))
            held >>= n0
            v1 = values[t1] | (held & ((_W1 << n1) - _W1))
            held >>= n1
            v2 = values[t2] | (held & ((_W1 << n2) - _W1))
            held >>= n2
            v3 = values[t3] | (held & ((_W1 << n3) - _W1))
            position += n0 + n1 + n2 + n3
            v0, v1, v2, v3 = _signed(v0, t0), _signed(v1, t1), _signed(v2, t2), _signed(v3, t3)
        else:
            v0, position = _one_change(t0, values, lengths, stream, position, limit, wide)
            v1, position = _one_change(t1, values, lengths, stream, position, limit, wide)
            v2, position = _one_change(t2, values, lengths, stream, position, limit, wide)
            v3, position = _one_change(t3, values, lengths, stream, position, limit, wide)
        d0[i] = word(v0)
        d1[i] = word(v1)
        d2[i] = word(v2)
        d3[i] = word(v3)
    return position


@kernel
def _token_values(top, width, values, lengths):  # type: ignore[no-untyped-def]
    """What each token stands for, without its raw bits, and how many of those there are."""
    for token in range(256):
        index = token >> 1
        s = max((index >> top) - 1, 0)
        kept = index - (s << top)
        if s > width - 1 - top:  # no encoder writes such a token
            s, kept = 0, 0
        values[token] = np.uint64(kept) << np.uint64(s)
        lengths[token] = s


@kernel
def _decode_piece(stream, at, size, base, mantissa, mask, scratch, fine):  # type: ignore[no-untyped-def]
    context, change, plane = scratch
    word = base.dtype.type
    width = 8 * base.itemsize
    if size < 2:
        return False
    if stream[at] == 0:
        if size != 1 + base.size * base.itemsize:
            return False
        for i in range(base.size):
            value = _W0
            for byte in range(base.itemsize):
                value |= np.uint64(stream[at + 1 + i * base.itemsize + byte]) << np.uint64(8 * byte)
            fine[i] = word(value)
        return True
    end = at + size
    if size < _HEAD or stream[at] != 1:
        return False
    top, contexts = np.int64(stream[at + 1]), np.int64(stream[at + 2])
    low = np.int64(stream[at + 3]) | np.int64(stream[at + 4]) << 8
    raw_bytes = _load24(stream, at + 5) | np.int64(stream[at + 8]) << 24
    head = at + _HEAD
    first_raw = head + contexts * _CONTEXT_HEAD
    if (
        contexts < 1
        or contexts > MAX_CONTEXTS
        or top > 3
        or (width == 16 and top < 1)
        or low > np.int64(mask)
    ):
        return False
    if 2 * (((width - 1 - top) << top) + (2 << top)) > 256 or end - first_raw < raw_bytes:
        return False
    places = np.empty(contexts * LANES, np.uint64)
    ends = np.empty(contexts * LANES, np.uint64)
    chunk = first_raw + raw_bytes
    total = 0
    for index in range(contexts):
        elements = 0
        for lane in range(LANES):
            places[index * LANES + lane] = total + elements
            elements += _load24(stream, head + 3 * lane)
            ends[index * LANES + lane] = total + elements
        coded = _load24(stream, head + 3 * LANES)
        head += _CONTEXT_HEAD
        if total + elements > base.size or coded > end - chunk:
            return False
        if elements > 0:
            if not decode_chunk(stream, chunk, coded, plane, total, elements):
                return False
        elif coded != 0:
            return False
        chunk += coded
        total += elements
    if total != base.size or chunk != end:
        return False
    values = np.empty(256, np.uint64)
    lengths = np.empty(256, np.uint64)
    _token_values(top, width, values, lengths)
    position = np.uint64(8 * first_raw)
    # What stands before the raw bits alone is more than the eight bytes of a load.
    limit = end - 8
    quarter = base.size // LANES
    last = word(contexts - 1)
    for block in range(0, quarter, STEP):
        some = min(STEP, quarter - block)
        for lane in range(LANES):
            begin = lane * quarter + block
            contexts_of(
                base[begin : begin + some],
                mantissa,
                mask,
                word(low),
                last,
                np.uint16(0),
                context[lane, :some],
            )
        position = _collect(context, some, places, plane, values, lengths, stream, position, limit, change)
        for lane in range(LANES):
            begin = lane * quarter + block
            patterns_of(base[begin : begin + some], change[lane, :some], fine[begin : begin + some])
    rest = base.size - LANES * quarter
    if rest > 0:
        begin = LANES * quarter
        contexts_of(base[begin:], mantissa, mask, word(low), last, np.uint16(0), context[0, :rest])
        for i in range(rest):
            place = np.uint64(context[0, i]) * np.uint64(LANES) + np.uint64(LANES - 1)
            token = np.uint64(plane[places[place]])
            places[place] += _W1
            value, position = _one_change(token, values, lengths, stream, position, limit, width == 64)
            change[0, i] = word(value)
        patterns_of(base[begin:], change[0, :rest], fine[begin:])
    for index in range(places.size):
        if places[index] != ends[index]:
            return False
    return (np.int64(position) + 7) >> 3 == first_raw + raw_bytes


@kernel
def decode_chunks(stream, offsets, base, mantissa, mask, first, last, scratch, fine):  # type: ignore[no-untyped-def]
    """Decode pieces `first` to `last - 1` into `fine`; return the first that is corrupt, or −1.

    Safe on any content: a lane that takes more tokens of a context than it has stays inside `plane`, and is
    found out afterwards.

    Args:
        stream: uint8, read-only.
        offsets: int64, where every piece starts, and the end of the last; ascending, inside the stream.
        base, mantissa, mask: as in `encode_deltas`.
        scratch: context (uint16 [4, STEP]), change (words [4, STEP]), plane (uint8 [2 · PIECE]).
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
