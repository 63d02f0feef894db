"""Words to byte planes and back: rotation, byte grouping and XOR with a base in one pass over a block.

ZipNN (Hershcovitch et al., arXiv 2411.05239) moves the sign bit below the exponent, so that the exponent of a
float with eight of them fills a byte, and keeps byte b of every element together. Here the turned word is
made block by block in the first-level cache, from where the planes, highest byte first, are taken:

    sign · exponent · mantissa   →   exponent · sign · mantissa

A rotation is four numbers of the words' own type (`rotation`); formats whose exponent fills no byte
(float16, 8-bit floats) and integers are not turned. Loops run over slices from their first element and every
constant has the arrays' own type, or LLVM would not vectorise them (see fixed_point). Arrays that are both
written and read come in twice, once as a read-only view. Source of the kernels: ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import FloatFormat
from .interleave import STEP, store_float32, store_words32
from .jit import kernel

__all__ = ["BLOCK", "NO_ROTATION", "merge_planes_reference", "rotation", "split_planes_reference"]

BLOCK = 4096
"""Words turned at a time: they stay in the first-level cache."""
NO_ROTATION = (0, 0, 0, 0)

Array = NDArray[Any]


def rotation(format: FloatFormat) -> tuple[int, int, int, int]:
    """Return masks of exponent, turned sign and mantissa, and the exponent's width; zeros: do not turn.

    Words of two and four bytes that are turned are those of bfloat16 and float32, whatever the masks.
    """
    if format.exponent_bits < 8:
        return NO_ROTATION
    exponent = ((1 << format.exponent_bits) - 1) << format.mantissa_bits
    return exponent, 1 << format.mantissa_bits, (1 << format.mantissa_bits) - 1, format.exponent_bits


def split_planes_reference(words: Array, base: Array | None, turn: tuple[int, int, int, int]) -> Array:
    """Return the byte planes [word size, n] of flat unsigned words, highest first (for the tests)."""
    changed = words if base is None else words ^ base
    exponent, sign, mantissa, shift = (changed.dtype.type(number) for number in turn)
    if exponent:
        one = changed.dtype.type(1)
        changed = ((changed & exponent) << one) | ((changed >> shift) & sign) | (changed & mantissa)
    return (
        np.ascontiguousarray(changed.astype(changed.dtype.newbyteorder(">")))
        .view(np.uint8)
        .reshape(words.size, words.itemsize)
        .T.copy()
    )


def merge_planes_reference(planes: Array, base: Array | None, turn: tuple[int, int, int, int]) -> Array:
    """Return the words that `split_planes_reference` split (for the tests)."""
    width = planes.shape[0]
    turned = np.ascontiguousarray(planes.T).reshape(-1).view(f">u{width}").astype(f"u{width}")
    exponent, sign, mantissa, shift = (turned.dtype.type(number) for number in turn)
    if exponent:
        one = turned.dtype.type(1)
        turned = ((turned >> one) & exponent) | ((turned & sign) << shift) | (turned & mantissa)
    return turned if base is None else turned ^ base


@kernel
def split_piece(words, base, turn, turned, planes, stride):  # type: ignore[no-untyped-def]
    """Write the planes of `words` to planes[0 : n], planes[stride : stride + n], …, highest byte first.

    Args:
        words: unsigned integers, read-only, n of them.
        base: as many, or none.
        turn: `rotation`, an array of the words' dtype.
        turned: BLOCK words of scratch.
        planes: uint8, one dimension.
        stride: distance of the planes.
    """
    for start in range(0, words.size, BLOCK):
        stop = min(start + BLOCK, words.size)
        block = turned[: stop - start]
        if base.size == 0:
            _split_block(words[start:stop], turn, block, planes[start:], stride)
        else:
            _difference(words[start:stop], base[start:stop], block)
            _split_block(block, turn, block, planes[start:], stride)


@kernel
def _difference(words, base, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = words[i] ^ base[i]


# Two planes a pass: with four, LLVM gives up checking that the arrays do not overlap. Shifts are constants:
# a variable one might exceed the word, and has to be done on 64 bits. Only bfloat16 and float32 have turned
# words of two and four bytes, so that their masks are constants too.


@kernel
def _split_block(words, turn, turned, planes, stride):  # type: ignore[no-untyped-def]
    width = words.itemsize
    size = words.size
    first, second = planes[:size], planes[stride : stride + size] if width > 1 else planes[:0]
    if width == 1:
        _take_one(words, first)
    elif width == 2:
        if turn[0] != words.dtype.type(0):
            _take_bfloat16(words, first, second)
        else:
            _take_lowest(words, first, second)
    elif width == 4:
        if turn[0] != words.dtype.type(0):
            _take_float32(words, first, second)
        else:
            _take_second(words, first, second)
        lower = planes[2 * stride :]
        _take_lowest(words, lower[:size], lower[stride : stride + size])
    else:
        _turn(words, turn, turned)
        _take_top(turned, first, second)
        lower = planes[2 * stride :]
        _take_third(turned, lower[:size], lower[stride : stride + size])
        lower = planes[4 * stride :]
        _take_second(turned, lower[:size], lower[stride : stride + size])
        lower = planes[6 * stride :]
        _take_lowest(turned, lower[:size], lower[stride : stride + size])


@kernel
def _turn(words, turn, turned):  # type: ignore[no-untyped-def]
    exponent, sign, mantissa = turn[0], turn[1], turn[2]
    one, zero = words.dtype.type(1), words.dtype.type(0)
    top = words.dtype.type(words.itemsize * 8 - 1)
    if exponent == zero:
        for i in range(turned.size):
            turned[i] = words[i]
        return
    for i in range(turned.size):
        word = words[i]
        high = words.dtype.type((word & exponent) << one)
        turned[i] = high | (sign if word >> top else zero) | (word & mantissa)


@kernel
def _take_one(words, plane):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        plane[i] = np.uint8(words[i])


@kernel
def _take_bfloat16(words, high, low):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        word = np.uint16(words[i])
        high[i] = np.uint8(word >> np.uint16(7))
        low[i] = np.uint8(((word >> np.uint16(8)) & np.uint16(0x80)) | (word & np.uint16(0x7F)))


@kernel
def _take_float32(words, high, low):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        word = np.uint32(words[i])
        high[i] = np.uint8(word >> np.uint32(23))
        sign = (word >> np.uint32(24)) & np.uint32(0x80)
        low[i] = np.uint8(sign | ((word >> np.uint32(16)) & np.uint32(0x7F)))


@kernel
def _take_lowest(words, high, low):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        word = words[i]
        high[i] = np.uint8(word >> words.dtype.type(8))
        low[i] = np.uint8(word)


@kernel
def _take_second(words, high, low):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        word = words[i]
        high[i] = np.uint8(word >> words.dtype.type(24))
        low[i] = np.uint8(word >> words.dtype.type(16))


@kernel
def _take_third(words, high, low):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        word = words[i]
        high[i] = np.uint8(word >> words.dtype.type(40))
        low[i] = np.uint8(word >> words.dtype.type(32))


@kernel
def _take_top(words, high, low):  # type: ignore[no-untyped-def]
    for i in range(low.size):
        word = words[i]
        high[i] = np.uint8(word >> words.dtype.type(56))
        low[i] = np.uint8(word >> words.dtype.type(48))


@kernel
def merge_piece(stream, planes, places, base, turn, words):  # type: ignore[no-untyped-def]
    """Put words together from planes, some of which may stand in `stream` as they are.

    Args:
        stream: uint8, read-only.
        planes: uint8, read-only.
        places: int64, one a plane, highest first: where it starts in `planes`, or −1 − where in `stream`.
        base: as many words, or none.
        turn: as in `split_piece`.
        words: unsigned integers, written; every plane has as many bytes from its place on.
    """
    for start in range(0, words.size, BLOCK):
        stop = min(start + BLOCK, words.size)
        block = words[start:stop]
        _merge_block(stream, planes, places, turn, start, stop, block)
        if base.size > 0:
            _difference(block, base[start:stop], block)


@kernel
def _merge_block(stream, planes, places, turn, start, stop, words):  # type: ignore[no-untyped-def]
    width = words.itemsize
    first = _plane(stream, planes, places[0], start, stop)
    if width == 1:
        _put_one(first, words)
        return
    second = _plane(stream, planes, places[1], start, stop)
    if width == 2:
        if turn[0] != words.dtype.type(0):
            _put_bfloat16(first, second, words)
        else:
            _put_two(first, second, words)
        return
    third = _plane(stream, planes, places[width - 2], start, stop)
    fourth = _plane(stream, planes, places[width - 1], start, stop)
    if width == 4:
        # Whole steps by shuffles, the rest word by word.
        done = words.size // STEP * STEP
        rest = words[done:]
        if turn[0] != words.dtype.type(0):
            for at in range(0, done, STEP):
                store_float32(first, second, third, fourth, words, at)
            _put_float32(first[done:], second[done:], third[done:], fourth[done:], rest)
        else:
            for at in range(0, done, STEP):
                store_words32(first, second, third, fourth, words, at)
            _put_four(first[done:], second[done:], third[done:], fourth[done:], rest)
        return
    fifth = _plane(stream, planes, places[width - 4], start, stop)
    sixth = _plane(stream, planes, places[width - 3], start, stop)
    _put_four(fifth, sixth, third, fourth, words)
    third = _plane(stream, planes, places[2], start, stop)
    fourth = _plane(stream, planes, places[3], start, stop)
    _or_top(first, second, third, fourth, words)
    _turn_back(turn, words)


@kernel
def _plane(stream, planes, place, start, stop):  # type: ignore[no-untyped-def]
    if place < 0:
        return stream[start - 1 - place : stop - 1 - place]
    return planes[place + start : place + stop]


@kernel
def _put_one(plane, words):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        words[i] = plane[i]


@kernel
def _put_two(high, low, words):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        words[i] = words.dtype.type(words.dtype.type(high[i]) << words.dtype.type(8)) | low[i]


@kernel
def _put_bfloat16(high, low, words):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        rest = np.uint16(low[i])
        sign = np.uint16((rest & np.uint16(0x80)) << np.uint16(8))
        exponent = np.uint16(np.uint16(high[i]) << np.uint16(7))
        words[i] = sign | exponent | (rest & np.uint16(0x7F))


@kernel
def _put_float32(a, b, c, d, words):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        rest = np.uint32(b[i])
        sign = np.uint32((rest & np.uint32(0x80)) << np.uint32(24))
        exponent = np.uint32(np.uint32(a[i]) << np.uint32(23))
        upper = np.uint32((rest & np.uint32(0x7F)) << np.uint32(16))
        words[i] = sign | exponent | upper | np.uint32(np.uint32(c[i]) << np.uint32(8)) | np.uint32(d[i])


@kernel
def _put_four(a, b, c, d, words):  # type: ignore[no-untyped-def]
    eight, sixteen, more = words.dtype.type(8), words.dtype.type(16), words.dtype.type(24)
    for i in range(words.size):
        words[i] = (
            words.dtype.type(words.dtype.type(a[i]) << more)
            | words.dtype.type(words.dtype.type(b[i]) << sixteen)
            | words.dtype.type(words.dtype.type(c[i]) << eight)
            | words.dtype.type(d[i])
        )


@kernel
def _or_top(a, b, c, d, words):  # type: ignore[no-untyped-def]
    for i in range(words.size):
        words[i] |= (
            words.dtype.type(words.dtype.type(a[i]) << words.dtype.type(56))
            | words.dtype.type(words.dtype.type(b[i]) << words.dtype.type(48))
            | words.dtype.type(words.dtype.type(c[i]) << words.dtype.type(40))
            | words.dtype.type(words.dtype.type(d[i]) << words.dtype.type(32))
        )


@kernel
def _turn_back(turn, words):  # type: ignore[no-untyped-def]
    exponent, sign, mantissa = turn[0], turn[1], turn[2]
    one, zero = words.dtype.type(1), words.dtype.type(0)
    negative = words.dtype.type(1 << (words.itemsize * 8 - 1))
    if exponent == zero:
        return
    for i in range(words.size):
        word = words[i]
        high = negative if word & sign else zero
        words[i] = high | (words.dtype.type(word >> one) & exponent) | (word & mantissa)
