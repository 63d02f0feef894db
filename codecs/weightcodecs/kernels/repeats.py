"""Repeats of earlier values in an array of bit patterns, and bit streams of their distances. Source: ours.

Finding a repeat takes a hash map from value to last position: open addressing, slots of positions (the
values themselves are in the array), of bounded size; when it is half full it starts anew. A decoder needs
no map.

Stream of the paper, most significant bit first in 64-bit words: "0" for a new value, else "1", the bit
length of the distance in five bits, the distance. Ours: a byte for every value, 0 for a new one, else that
bit length; and the bits below each distance's leading one, lowest bit first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel
from .unaligned import bit_length, load64, store64

__all__ = [
    "MAX_LENGTH",
    "PAPER_LENGTH",
    "decode_bytes",
    "decode_words",
    "distances_reference",
    "encode_bytes",
    "encode_words",
    "find_repeats",
]

PAPER_LENGTH = 31
"""The longest distance of the paper's stream, in bits."""
MAX_LENGTH = 48
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_W0 = np.uint64(0)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W7 = np.uint64(7)
_W31 = np.uint64(31)
_W63 = np.uint64(63)
_W64 = np.uint64(64)
_WHOLE = ~_W7


def distances_reference(patterns: NDArray[Any]) -> list[int]:
    """Return for each value how far back it stood last, 0 for a new one (for tests)."""
    last: dict[int, int] = {}
    found = []
    for index, value in enumerate(patterns.tolist()):
        found.append(index - last[value] if value in last else 0)
        last[value] = index
    return found


@kernel
def find_repeats(patterns, first, last, table, used, longest, distances):  # type: ignore[no-untyped-def]
    """Write how far back each of patterns[first:last] stood last, 0 for none or beyond `longest`.

    Args:
        patterns: unsigned words, flat.
        table: int64, a power of two of slots; zeros and `used` = 0 at the start, handed on from call to call.
        distances: int64 [last - first], written.

    Returns:
        `used` for the next call.
    """
    shift = _W64 - bit_length(np.uint64(table.size - 1))
    mask = np.uint64(table.size - 1)
    for i in range(first, last):
        pattern = patterns[i]
        home = (np.uint64(pattern) * _GOLDEN) >> shift
        slot = home
        distance = 0
        while True:
            place = table[slot]
            if place == 0:
                if 2 * used >= table.size:
                    table[:] = 0
                    used = 0
                    slot = home
                table[slot] = i + 1
                used += 1
                break
            if patterns[place - 1] == pattern:
                distance = i + 1 - place
                table[slot] = i + 1
                break
            slot = (slot + _W1) & mask
        distances[i - first] = distance if distance <= longest else 0
    return used


@kernel
def _put_high(words, at, held, free, value, bits):  # type: ignore[no-untyped-def]
    """Append `bits` (at most 63) of `value`, highest first, to a word that has `free` > 0 bits left."""
    if bits < free:
        return at, held | value << (free - bits), free - bits
    over = bits - free
    words[at] = held | value >> over
    held = value << (_W64 - over) if over > _W0 else _W0
    return at + 1, held, _W64 - over


@kernel
def encode_words(patterns, distances, distinct, new, words, at, held, free):  # type: ignore[no-untyped-def]
    """Append a block to the paper's stream: new values to distinct[new:], bits to words[at:].

    Returns:
        new, at, held and free for the next block: full words, and a last one with `free` bits left.
    """
    for i in range(patterns.size):
        distance = np.uint64(distances[i])
        if distance == _W0:
            distinct[new] = patterns[i]
            new += 1
            at, held, free = _put_high(words, at, held, free, _W0, _W1)
        else:
            length = bit_length(distance)
            value = (np.uint64(32) | length) << length | distance
            at, held, free = _put_high(words, at, held, free, value, length + np.uint64(6))
    return new, at, held, free


@kernel
def _get_high(words, position, bits):  # type: ignore[no-untyped-def]
    """1 to 32 bits at `position`; `words` has one word more than the position needs."""
    at = position >> np.uint64(6)
    inside = position & _W63
    value = words[at] << inside
    if inside > _W0:
        value |= words[at + _W1] >> (_W64 - inside)
    return value >> (_W64 - bits)


@kernel
def decode_words(words, bits, distinct, out):  # type: ignore[no-untyped-def]
    """Decode the paper's stream of `bits` bits; `words` has two zero words behind them.

    Returns:
        True if the stream and the new values are used up exactly with `out`; safe on any content.
    """
    position = _W0
    end = np.uint64(bits)
    new = 0
    for i in range(out.size):
        if position >= end:
            return False
        if _get_high(words, position, _W1) == _W0:
            position += _W1
            if new >= distinct.size:
                return False
            out[i] = distinct[new]
            new += 1
            continue
        length = _get_high(words, position, np.uint64(6)) & _W31
        position += np.uint64(6)
        if length == _W0 or position + length > end:
            return False
        distance = np.int64(_get_high(words, position, length))
        position += length
        if distance > i or distance >> (np.int64(length) - 1) != 1:
            return False
        out[i] = out[i - distance]
    return position == end and new == distinct.size


@kernel
def encode_bytes(patterns, distances, distinct, new, lengths, stream, at, held, count):  # type: ignore[no-untyped-def]
    """Append a block to our stream; `lengths` (uint8) is the block's, `stream` has 8 bytes to spare.

    Returns:
        new, at, held and count for the next block: whole bytes, and `count` < 8 held bits.
    """
    for i in range(patterns.size):
        distance = np.uint64(distances[i])
        length = bit_length(distance)
        lengths[i] = np.uint8(length)
        if length == _W0:
            distinct[new] = patterns[i]
            new += 1
            continue
        bits = length - _W1
        held |= (distance ^ (_W1 << bits)) << count
        count += bits
        store64(stream, at, held)
        at += np.int64(count >> _W3)
        held >>= count & _WHOLE
        count &= _W7
    return new, at, held, count


@kernel
def decode_bytes(lengths, stream, distinct, out):  # type: ignore[no-untyped-def]
    """Decode our stream, which has 8 zero bytes behind its bits.

    Returns:
        True if bits and new values are used up exactly with `out`; safe on any content.
    """
    end = np.uint64(8 * (stream.size - 8))
    position = _W0
    new = 0
    for i in range(out.size):
        length = np.uint64(lengths[i])
        if length == _W0:
            if new >= distinct.size:
                return False
            out[i] = distinct[new]
            new += 1
            continue
        bits = length - _W1
        if length > np.uint64(MAX_LENGTH) or position + bits > end:
            return False
        word = load64(stream, np.int64(position >> _W3)) >> (position & _W7)
        distance = np.int64((word & ((_W1 << bits) - _W1)) | _W1 << bits)
        position += bits
        if distance > i:
            return False
        out[i] = out[i - distance]
    return new == distinct.size and end - position < np.uint64(8)
