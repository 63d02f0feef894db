"""Integer deltas of float patterns as byte tokens, sorted by the exponent of the base, and raw low bits.

The delta is FM-Delta's (Ning et al., NeurIPS 2024): both patterns mapped to unsigned integers in the order of
the floats, subtracted. What is ours: a token holds sign, bit length and the `top` bits after the leading one,
so small deltas need no raw bits; and tokens are dealt to contexts by the base's exponent, because at equal
change of the weight the delta's length is the mantissa's width less that exponent. Every context of a piece
is one chunk of the byte entropy coder (kernels.plane_chunk).

For |d| = a of L bits: s = max(L − 1 − top, 0), token = 2·(s·2^top + (a >> s)) + (d < 0), raw bits a mod 2^s.

A piece of up to PIECE elements is four lanes, its quarters (the last takes what is left over); lanes advance
side by side, which keeps four chains of dependent loads in flight. Layout of a piece (little-endian)::

    method u8     0: the words as they are, 1: coded
    top u8 · contexts u8 · lowest exponent u16 · bytes of the raw bits u32
    for every context: elements in each of the four lanes (u24 each), bytes of its chunk (u24)
    raw bits      lowest bit first; the lanes in turn, element by element, what is left over at the end
    chunks        in the order of the contexts; a context without elements has none
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
    "CONTEXT_HEAD",
    "HEAD",
    "LANES",
    "MAX_CONTEXTS",
    "PIECE",
    "STEP",
    "contexts_of",
    "ordered_reference",
    "patterns_of",
    "token_values",
    "tokens_of",
]

PIECE = 1 << 18
LANES = 4
MAX_CONTEXTS = 16
STEP = 1024
HEAD = 9
CONTEXT_HEAD = 3 * (LANES + 1)


def ordered_reference(patterns: NDArray[Any]) -> NDArray[Any]:
    """Return FM-Delta's map of bit patterns to unsigned integers in the order of the floats (for tests)."""
    top = patterns.dtype.type(1 << (8 * patterns.itemsize - 1))
    ordered: NDArray[Any] = np.where(patterns & top, ~patterns, patterns | top)
    return ordered


# Vector loops: slices from their first element, and arithmetic in the words' own width.


@kernel
def contexts_of(words, mantissa, mask, low, last, context):  # type: ignore[no-untyped-def]
    """The base's exponent less `low`, clamped to 0 … last."""
    for i in range(context.size):
        exponent = both(shift_right(words[i], mantissa), mask)
        context[i] = np.uint8(smaller(subtract(exponent, smaller(exponent, low)), last))


@kernel
def _ordered(pattern, high, rest, last):  # type: ignore[no-untyped-def]
    negative = subtract(except_or(pattern, pattern), shift_right(pattern, last))
    return except_or(pattern, either(high, both(negative, rest)))


@kernel
def tokens_of(base, fine, top, token, bits, raw):  # type: ignore[no-untyped-def]
    """The token of every delta, and its raw bits: how many, and their value."""
    word = base.dtype.type
    width = 8 * base.itemsize
    one, zero = word(1), word(0)
    high = word(1 << (width - 1))
    rest = word((1 << (width - 1)) - 1)
    last = word(width - 1)
    most = word(width - 1 - top)
    for i in range(token.size):
        expected = _ordered(base[i], high, rest, last)
        actual = _ordered(fine[i], high, rest, last)
        change = subtract(actual, expected)
        below = one if actual < expected else zero
        a = subtract(zero, change) if actual < expected else change
        s = subtract(most, smaller(leading_zeros(a), most))
        kept = shift_right(a, s)
        token[i] = np.uint8(either(shift_left(add(shift_left(s, top), kept), one), below))
        bits[i] = np.uint8(s)
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
def token_values(top, width, values, lengths):  # type: ignore[no-untyped-def]
    """What each token stands for, without its raw bits, and how many of those there are."""
    for token in range(256):
        index = token >> 1
        s = max((index >> top) - 1, 0)
        kept = index - (s << top)
        if s > width - 1 - top:  # no encoder writes such a token
            s, kept = 0, 0
        values[token] = np.uint64(kept) << np.uint64(s)
        lengths[token] = s
