"""Integer deltas of float patterns as byte tokens, sorted by the exponent of the base, and raw low bits.

The delta is FM-Delta's (Ning et al., NeurIPS 2024): both patterns mapped to unsigned integers in the order of
the floats, subtracted. What is ours: a token holds sign, bit length and the `top` bits after the leading one,
so small deltas need no raw bits; and a token is coded given the base's exponent (its context), because at
equal change of the weight the delta's length is the mantissa's width less that exponent.

For |d| = a of L bits: s = max(L − 1 − top, 0), token = 2·(s·2^top + (a >> s)) + (d < 0), raw bits a mod 2^s.

Tokens are coded by tANS (ans_code): one state goes through the tables of all contexts, which have as many
states each, and an element's raw bits stand behind the bits of its state, so that one load of eight bytes
decodes an element, or two of 16 bits. A piece of up to PIECE elements is four lanes, its quarters, rounded
down to an even number, each with a stream of its own; the last takes what is left over. Layout of a piece
(little-endian)::

    method u8     0: the words as they are, 1: coded, 2: the base, and nothing follows
    top u8 · log2 of a table's states u8 · contexts u8
    contexts that occur u16, a bit each · lowest exponent u16
    frequencies   of each context that occurs (ans_code.write_frequencies)
    sizes         of the first three streams (u24 each)
    streams       as ans_encode's: zeros to a one bit, the state, for each element state bits, raw bits
    eight zero bytes
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel
from .own_width import (
    add,
    both,
    either,
    except_or,
    leading_zeros,
    shift_left,
    shift_right,
    smaller,
    subtract,
)

__all__ = [
    "HEAD",
    "LANES",
    "MAX_CONTEXTS",
    "MAX_LOG",
    "PADDING",
    "PIECE",
    "SIZE_BYTES",
    "STEP",
    "TOKENS",
    "TOKENS_NARROW",
    "TOKEN_AT",
    "changes_of",
    "contexts_of",
    "ordered_reference",
    "patterns_of",
    "token_lengths",
    "tokens_of",
]

PIECE = 1 << 18
LANES = 4
TOKENS = 256
TOKENS_NARROW = 64  # with words of 16 bits, whose table entries have 32
TOKEN_AT = 16
MAX_CONTEXTS = 16
MAX_LOG = 10
STEP = 1024
HEAD = 8
SIZE_BYTES = 3
PADDING = 8


def ordered_reference(patterns: NDArray[Any]) -> NDArray[Any]:
    """Return FM-Delta's map of bit patterns to unsigned integers in the order of the floats (for tests)."""
    top = patterns.dtype.type(1 << (8 * patterns.itemsize - 1))
    ordered: NDArray[Any] = np.where(patterns & top, ~patterns, patterns | top)
    return ordered


_WORD = np.uint64(0xFFFF_FFFF)

# Vector loops: slices from their first element, and arithmetic in the words' own width.


@kernel
def contexts_of(words, mantissa, mask, low, last, shift, context):  # type: ignore[no-untyped-def]
    """The base's exponent less `low`, clamped to 0 … last, times 2**shift (uint16)."""
    for i in range(context.size):
        exponent = both(shift_right(words[i], mantissa), mask)
        place = smaller(subtract(exponent, smaller(exponent, low)), last)
        context[i] = np.uint16(shift_left(np.uint16(place), shift))


@kernel
def _ordered(pattern, high, rest, last):  # type: ignore[no-untyped-def]
    negative = subtract(except_or(pattern, pattern), shift_right(pattern, last))
    return except_or(pattern, either(high, both(negative, rest)))


@kernel
def tokens_of(base, fine, top, index, raw):  # type: ignore[no-untyped-def]
    """Add every delta's token to `index`, and write its raw bits."""
    word = base.dtype.type
    width = 8 * base.itemsize
    one, zero = word(1), word(0)
    high = word(1 << (width - 1))
    rest = word((1 << (width - 1)) - 1)
    last = word(width - 1)
    most = word(width - 1 - top)
    for i in range(index.size):
        expected = _ordered(base[i], high, rest, last)
        actual = _ordered(fine[i], high, rest, last)
        change = subtract(actual, expected)
        below = one if actual < expected else zero
        a = subtract(zero, change) if actual < expected else change
        s = subtract(most, smaller(leading_zeros(a), most))
        kept = shift_right(a, s)
        token = either(shift_left(add(shift_left(s, top), kept), one), below)
        index[i] = either(index[i], np.uint16(token))
        raw[i] = except_or(a, shift_left(kept, s))


@kernel
def patterns_of(base, change, fine):  # type: ignore[no-untyped-def]
    """The patterns that lie `change` above the base's in the order of the floats."""
    word = base.dtype.type
    width = 8 * base.itemsize
    one = word(1)
    high = word(1 << (width - 1))
    rest = word((1 << (width - 1)) - 1)
    last = word(width - 1)
    for i in range(fine.size):
        actual = add(_ordered(base[i], high, rest, last), change[i])
        negative = subtract(shift_right(actual, last), one)
        fine[i] = except_or(actual, either(high, both(negative, rest)))


@kernel
def changes_of(entries, seen, top, change):  # type: ignore[no-untyped-def]
    """The signed changes that decoding-table entries (see delta_decode) and the bits met with them say."""
    word = entries.dtype.type
    mask = word(TOKENS_NARROW - 1 if np.uint64(word(-1)) == _WORD else TOKENS - 1)
    zero, one, byte, place = word(0), word(1), word(255), word(TOKEN_AT)
    for i in range(change.size):
        token = both(shift_right(entries[i], place), mask)
        number = shift_right(token, one)
        scale = shift_right(number, top)
        s = subtract(scale, smaller(scale, one))
        raw = shift_right(seen[i], both(entries[i], byte))
        raw = both(raw, subtract(shift_left(one, s), one))
        a = either(shift_left(subtract(number, shift_left(s, top)), s), raw)
        sign = subtract(zero, both(token, one))
        change[i] = change.dtype.type(subtract(except_or(a, sign), sign))


@kernel
def token_lengths(top, width, lengths):  # type: ignore[no-untyped-def]
    """How many raw bits follow each token; return the number of tokens."""
    for token in range(256):
        lengths[token] = max((token >> 1 >> top) - 1, 0)
    return 2 * (((width - 1 - top) << top) + (2 << top))
