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
from .jit import kernel

__all__ = ["BLOCK", "NO_ROTATION", "merge_planes_reference", "rotation", "split_planes_reference"]

BLOCK = 4096
"""Words turned at a time: they stay in the first-level cache."""
NO_ROTATION = (0, 0, 0, 0)

Array = NDArray[Any]


def rotation(format: FloatFormat) -> tuple[int, int, int, int]:
    """Return masks of exponent, turned sign and mantissa, and the exponent's width; zeros: do not turn."""
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
    width = words.itemsize
    for start in range(0, words.size, BLOCK):
        stop = min(start + BLOCK, words.size)
        block = turned[: stop - start]
        if base.size == 0:
            _turn(words[start:stop], turn, block)
        else:
            _turn_difference(words[start:stop], base[start:stop], turn, block)
        for plane in range(width):
            shift = words.dtype.type(8 * (width - 1 - plane))
            _take_byte(block, shift, planes[plane * stride + start : plane * stride + stop])


@kernel
def _turn(words, turn, turned):  # type: ignore[no-untyped-def]
    exponent, sign, mantissa, shift = turn[0], turn[1], turn[2], turn[3]
    one, zero = words.dtype.type(1), words.dtype.type(0)
    if exponent == zero:
        for i in range(turned.size):
            turned[i] = words[i]
        return
    for i in range(turned.size):
        word = words[i]
        high = words.dtype.type((word & exponent) << one)
        turned[i] = high | (words.dtype.type(word >> shift) & sign) | (word & mantissa)


@kernel
def _turn_difference(words, base, turn, turned):  # type: ignore[no-untyped-def]
    exponent, sign, mantissa, shift = turn[0], turn[1], turn[2], turn[3]
    one, zero = words.dtype.type(1), words.dtype.type(0)
    if exponent == zero:
        for i in range(turned.size):
            turned[i] = words[i] ^ base[i]
        return
    for i in range(turned.size):
        word = words[i] ^ base[i]
        high = words.dtype.type((word & exponent) << one)
        turned[i] = high | (words.dtype.type(word >> shift) & sign) | (word & mantissa)


@kernel
def _take_byte(words, shift, plane):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        plane[i] = np.uint8(words[i] >> shift)


@kernel
def merge_piece(stream, planes, places, base, turn, turned, words):  # type: ignore[no-untyped-def]
    """Put words together from planes, some of which may stand in `stream` as they are.

    Args:
        stream: uint8, read-only.
        planes: uint8, read-only.
        places: int64, one a plane, highest first: where it starts in `planes`, or −1 − where in `stream`.
        base, turn, turned: as in `split_piece`.
        words: unsigned integers, written; every plane has as many bytes from its place on.
    """
    width = words.itemsize
    for start in range(0, words.size, BLOCK):
        stop = min(start + BLOCK, words.size)
        block = turned[: stop - start]
        if width == 1:
            _put_one(_plane(stream, planes, places[0], start, stop), block)
        elif width == 2:
            _put_two(
                _plane(stream, planes, places[0], start, stop),
                _plane(stream, planes, places[1], start, stop),
                block,
            )
        else:
            _put_four(
                _plane(stream, planes, places[width - 4], start, stop),
                _plane(stream, planes, places[width - 3], start, stop),
                _plane(stream, planes, places[width - 2], start, stop),
                _plane(stream, planes, places[width - 1], start, stop),
                block,
            )
            for plane in range(width - 4):
                shift = words.dtype.type(8 * (width - 1 - plane))
                _or_byte(_plane(stream, planes, places[plane], start, stop), shift, block)
        if base.size == 0:
            _turn_back(block, turn, words[start:stop])
        else:
            _turn_back_difference(block, base[start:stop], turn, words[start:stop])


@kernel
def _plane(stream, planes, place, start, stop):  # type: ignore[no-untyped-def]
    if place < 0:
        return stream[start - 1 - place : stop - 1 - place]
    return planes[place + start : place + stop]


@kernel
def _put_one(plane, turned):  # type: ignore[no-untyped-def]
    for i in range(turned.size):
        turned[i] = plane[i]


@kernel
def _put_two(high, low, turned):  # type: ignore[no-untyped-def]
    for i in range(turned.size):
        turned[i] = turned.dtype.type(turned.dtype.type(high[i]) << turned.dtype.type(8)) | low[i]


@kernel
def _put_four(a, b, c, d, turned):  # type: ignore[no-untyped-def]
    eight, sixteen, more = turned.dtype.type(8), turned.dtype.type(16), turned.dtype.type(24)
    for i in range(turned.size):
        turned[i] = (
            turned.dtype.type(turned.dtype.type(a[i]) << more)
            | turned.dtype.type(turned.dtype.type(b[i]) << sixteen)
            | turned.dtype.type(turned.dtype.type(c[i]) << eight)
            | turned.dtype.type(d[i])
        )


@kernel
def _or_byte(plane, shift, turned):  # type: ignore[no-untyped-def]
    for i in range(turned.size):
        turned[i] |= turned.dtype.type(turned.dtype.type(plane[i]) << shift)


@kernel
def _turn_back(turned, turn, words):  # type: ignore[no-untyped-def]
    exponent, sign, mantissa, shift = turn[0], turn[1], turn[2], turn[3]
    one, zero = words.dtype.type(1), words.dtype.type(0)
    if exponent == zero:
        for i in range(words.size):
            words[i] = turned[i]
        return
    for i in range(words.size):
        word = turned[i]
        high = words.dtype.type((word & sign) << shift)
        words[i] = high | (words.dtype.type(word >> one) & exponent) | (word & mantissa)


@kernel
def _turn_back_difference(turned, base, turn, words):  # type: ignore[no-untyped-def]
    exponent, sign, mantissa, shift = turn[0], turn[1], turn[2], turn[3]
    one, zero = words.dtype.type(1), words.dtype.type(0)
    if exponent == zero:
        for i in range(words.size):
            words[i] = turned[i] ^ base[i]
        return
    for i in range(words.size):
        word = turned[i]
        high = words.dtype.type((word & sign) << shift)
        words[i] = (high | (words.dtype.type(word >> one) & exponent) | (word & mantissa)) ^ base[i]
