"""Fixed-point codes of floats in (−1, 1): k = round(|w|·2^t) and the sign, as one integer k·2 + sign.

This is Elf's transform (Su et al., PVLDB 17(8), 2024, the map of |w| into [1, 2)) for any number t of
fraction bits: adding 2^(m−t), m the mantissa width, rounds |w| to a multiple of 2^−t in one correctly
rounded addition and leaves k in the low bits of the sum; t = m is the paper's |w| + 1. Elements whose
magnitude is `guard` or more, and NaN and infinities, get code 0; they are counted, and the caller keeps them
apart. float16 is added as float32.

Codes are written as byte planes, most significant bits first, as many as the caller gives, and as bit planes
for the low bits that do not fit (`plane_depth`): in a block of up to 4096 codes, lane j of eight holds codes
j·L … (j+1)·L − 1, L = 8·⌈block/64⌉, and byte i of a bit plane has one bit of each lane. That keeps both
directions elementwise on whole vectors (`code_tiles`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bitcast import float_bits, float_of, shift_within
from .code_tiles import BITS, WORDS, gather_bits, join_bytes, scatter_bits, split_bytes
from .jit import kernel
from .own_width import add, both, either, larger, shift_left, shift_right

__all__ = [
    "BLOCK",
    "decode_planes",
    "decode_planes_reference",
    "encode_planes",
    "encode_planes_reference",
    "outside_guard",
    "plane_depth",
    "rest_bytes",
]

BLOCK = 4096
"""Codes in a block of bit planes."""
STRIP = 512
"""Codes held as words at a time: in the first-level cache, beside what they come from and go to."""
_BITS_AT = BLOCK + WORDS
_LANES_AT = _BITS_AT + 8 * BITS
_SCRATCH = _LANES_AT + 8 * BITS

Array = NDArray[Any]


def plane_depth(fraction: int, width: int) -> int:
    """Return how many low bits of a code of t + 1 bits stand in bit planes beside `width` byte planes."""
    return max(fraction + 1 - 8 * width, 0)


def rest_bytes(count: int, depth: int) -> int:
    """Return the bytes of the `depth` bit planes of `count` codes, a multiple of 8."""
    full, tail = divmod(count, BLOCK)
    return (full * (BLOCK // 8) + (tail + 63) // 64 * 8) * depth


def encode_planes(
    values: Array, fraction: int, guard: float, planes: Array, rest: Array, column: int = 0
) -> int:
    """Write the codes of `values` as planes; return how many elements lie outside the guard.

    Args:
        values: flat float16, float32 or float64, n elements.
        fraction: t, the fraction bits kept: 1 to the format's mantissa width.
        guard: elements with |w| ≥ guard (and NaN, infinities) get code 0; at most 1 − 2^−(t+1), so that no
            code can round up to 1.
        planes: uint8 [width, at least column + n], C-contiguous; n columns from `column` are written.
        rest: uint8 [rest_bytes(n, plane_depth(t, width))], written; fewer than 8 bit planes.
        column: where these elements stand in the planes.
    """
    patterns = _input(values).view(_bits(values))
    limit = np.array(guard, values.dtype).view(patterns.dtype)[()]
    width, stride = planes.shape
    return _encode(  # type: ignore[no-any-return]
        patterns, _magic(values, fraction), limit, planes.reshape(-1), stride, width, column, rest,
        plane_depth(fraction, width), *_scratch(patterns.dtype),
    )  # fmt: skip


def decode_planes(planes: Array, rest: Array, fraction: int, out: Array, column: int = 0) -> None:
    """Turn planes of `encode_planes` back into `out` (flat, aligned, the same dtype); code 0 gives 0.0."""
    target = out.view(_bits(out))
    width, stride = planes.shape
    _decode(
        _magic(out, fraction), _input(planes).reshape(-1), stride, width, column, _input(rest),
        plane_depth(fraction, width), *_scratch(target.dtype), target,
    )  # fmt: skip


def outside_guard(values: Array, guard: float, count: int) -> NDArray[np.int64]:
    """Return the ascending positions of the `count` elements that `encode_planes` said lie outside."""
    positions = np.empty(count, np.int64)
    # Without any, the kernel is called all the same: the first call compiles it, and belongs to the warm-up.
    patterns = _input(values).view(_bits(values))[: None if count else 0]
    limit = np.array(guard, values.dtype).view(patterns.dtype)[()]
    _find_outside(patterns, limit, positions)
    return positions


def encode_planes_reference(
    values: Array, fraction: int, guard: float, width: int
) -> tuple[Array, Array, int]:
    """Return planes, rest and the number of elements outside, written plainly (for the tests)."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        wide = values.astype(np.float64)
    inside = np.abs(wide) < guard
    scaled = np.rint(np.abs(np.where(inside, wide, 0.0)) * 2.0**fraction).astype(np.uint64)
    codes = np.where(inside, scaled * 2 + np.signbit(wide), 0).astype(np.uint64)
    depth = plane_depth(fraction, width)
    shifts = (depth + 8 * np.arange(width - 1, -1, -1)).astype(np.uint64)
    planes = (codes >> shifts[:, None]).astype(np.uint8)
    rest = [np.empty(0, np.uint8)]
    for start in range(0, values.size, BLOCK):
        block = codes[start : start + BLOCK]
        lanes = np.zeros((8, (block.size + 63) // 64 * 8), np.uint64)
        lanes.reshape(-1)[: block.size] = block
        for bit in range(depth):
            ones = (lanes >> np.uint64(bit)) & np.uint64(1)
            rest.append(np.packbits(ones.astype(np.uint8), axis=0, bitorder="little")[0])
    return planes, np.concatenate(rest), int(values.size - inside.sum())


def decode_planes_reference(planes: Array, rest: Array, fraction: int, count: int, dtype: Any) -> Array:
    """Return the `count` values of type `dtype` that the planes stand for, written plainly (for tests)."""
    depth, at = plane_depth(fraction, len(planes)), 0
    codes = np.zeros(count, np.uint64)
    for index, plane in enumerate(planes):
        codes |= plane.astype(np.uint64) << np.uint64(depth + 8 * (len(planes) - 1 - index))
    for start in range(0, count, BLOCK):
        block = codes[start : start + BLOCK]
        lane = (block.size + 63) // 64 * 8
        for bit in range(depth):
            ones = np.unpackbits(rest[at : at + lane][None], axis=0, bitorder="little").reshape(-1)
            block |= ones[: block.size].astype(np.uint64) << np.uint64(bit)
            at += lane
    magnitudes = (codes >> np.uint64(1)).astype(np.float64) * 2.0**-fraction
    return np.where(codes & np.uint64(1), -magnitudes, magnitudes).astype(dtype)


def _bits(values: Array) -> np.dtype[Any]:
    return np.dtype(f"u{values.itemsize}")


def _input(values: Array) -> Array:
    """Return an aligned read-only view: a kernel is compiled once for each kind of array it is given."""
    view = values.view() if values.flags.aligned else values.copy()
    view.flags.writeable = False
    return view


def _scratch(dtype: np.dtype[Any]) -> tuple[Array, NDArray[np.uint8]]:
    """Return STRIP words, and zeros for the lowest bytes; both begin where a cache line does."""
    words = STRIP * dtype.itemsize
    room = np.zeros(words + _SCRATCH + WORDS, np.uint8)
    room = room[-room.ctypes.data % WORDS :]
    return room[:words].view(dtype), room[words:]


def _magic(values: Array, fraction: int) -> Array:
    """Return the pattern of the number to add, of a float64 for float64 and of a float32 otherwise."""
    mantissa, dtype = (52, np.float64) if values.itemsize == 8 else (23, np.float32)
    magic = np.array([2.0 ** (mantissa - fraction)], dtype)
    return _input(magic.view(_bits(magic)))


# Codes are held as words for a while, shifted so that the lowest byte begins with the bits that stand in bit
# planes and the bytes above it are those of the byte planes. Every constant has the arrays' own type, which
# lets LLVM vectorise the loops. The scratch `low` has the lowest bytes of a block, room for a tile beyond
# them, and two tiles of bits.


@kernel
def _encode(bits, magic, guard, planes, stride, width, column, rest, depth, words, low):  # type: ignore[no-untyped-def]
    outside = 0
    for start in range(0, bits.size, BLOCK):
        block = bits[start : start + BLOCK]
        if bits.itemsize == 4 and width == 3 and depth == 0:  # the paper's 24 bits of a float32
            a, b, c = _three(planes, column + start, stride, block.size)
            outside += _take_three(block, magic, guard, a, b, c)
            continue
        for at in range(0, block.size, STRIP):
            strip = block[at : at + STRIP]
            if _words(strip, magic, 8 - depth, words) >= guard:
                outside += _drop_outside(strip, guard, words)
            words[strip.size : STRIP] = 0
            for tile in range(0, strip.size, WORDS):
                place = column + start + at + tile
                whole = strip.size - tile >= WORDS
                split_bytes(words, tile, low, at + tile, planes, place, stride, width if whole else 0)
                if not whole:
                    _split_tail(words[tile : strip.size], planes, place, stride, width)
        row, lane = start // 8 * depth, (block.size + 63) // 64 * 8
        tail = lane // BITS * BITS
        for at in range(0, tail, BITS):
            gather_bits(low, at, lane, rest, row + at, lane, depth)
        if depth and tail < lane:
            gather_bits(low, tail, lane, low, _BITS_AT, BITS, depth)
            for i in range(depth):
                end = row + (i + 1) * lane
                rest[end - lane + tail : end] = low[_BITS_AT + i * BITS :][: lane - tail]
    return outside


@kernel
def _three(planes, place, stride, size):  # type: ignore[no-untyped-def]
    middle, lowest = place + stride, place + 2 * stride
    return planes[place : place + size], planes[middle : middle + size], planes[lowest : lowest + size]


@kernel
def _take_three(bits, magic, guard, highest, middle, lowest):  # type: ignore[no-untyped-def]
    """Write codes of three bytes and no bits in one pass: for these LLVM's own loop is the faster one."""
    zero, one, sign = bits.dtype.type(0), bits.dtype.type(1), bits.dtype.type(8 * bits.itemsize - 1)
    eight, sixteen = bits.dtype.type(8), bits.dtype.type(16)
    mask = bits.dtype.type((1 << (8 * bits.itemsize - 1)) - 1)
    number, outside = float_of(magic[0]), zero
    for i in range(bits.size):
        magnitude = both(bits[i], mask)
        total = bits.dtype.type(float_bits(float_of(magic.dtype.type(magnitude)) + number))
        inside = magnitude < guard
        code = either(add(total, total), shift_right(bits[i], sign)) if inside else zero
        highest[i] = np.uint8(shift_right(code, sixteen))
        middle[i] = np.uint8(shift_right(code, eight))
        lowest[i] = np.uint8(code)
        outside = add(outside, zero if inside else one)
    return np.int64(outside)


@kernel
def _words(bits, magic, up, words):  # type: ignore[no-untyped-def]
    """Write the word of every pattern as if it were inside the guard; return the largest magnitude."""
    sign = bits.dtype.type(8 * bits.itemsize - 1)
    mask = bits.dtype.type((1 << (8 * bits.itemsize - 1)) - 1)
    shift, number = shift_within(bits.dtype.type(up)), float_of(magic[0])
    largest = bits.dtype.type(0)
    for i in range(bits.size):
        magnitude = both(bits[i], mask)
        pattern = magic.dtype.type(magnitude)
        if bits.itemsize == 2:  # to float32: exact for normal numbers, and subnormals stay below half a unit
            pattern = magic.dtype.type((pattern << magic.dtype.type(13)) + magic.dtype.type(112 << 23))
        # The exponent above k is in no byte that is kept.
        total = bits.dtype.type(float_bits(float_of(pattern) + number))
        words[i] = shift_left(either(add(total, total), shift_right(bits[i], sign)), shift)
        largest = larger(largest, magnitude)
    return largest


@kernel
def _drop_outside(bits, guard, words):  # type: ignore[no-untyped-def]
    mask = bits.dtype.type((1 << (8 * bits.itemsize - 1)) - 1)
    outside = 0
    for i in range(bits.size):
        if both(bits[i], mask) >= guard:
            words[i] = 0
            outside += 1
    return outside


@kernel
def _split_tail(words, planes, place, stride, width):  # type: ignore[no-untyped-def]
    for plane in range(width):
        shift = shift_within(words.dtype.type(8 * (width - plane)))
        for i in range(words.size):
            planes[place + plane * stride + i] = np.uint8(words[i] >> shift)


@kernel
def _find_outside(bits, guard, positions):  # type: ignore[no-untyped-def]
    found = 0
    for start in range(0, bits.size, BLOCK):
        block = bits[start : min(start + BLOCK, bits.size)]
        if _count_outside(block, guard) == 0:
            continue
        mask = bits.dtype.type((1 << (bits.itemsize * 8 - 1)) - 1)
        for i in range(block.size):
            if bits.dtype.type(block[i] & mask) >= guard and found < positions.size:
                positions[found] = start + i
                found += 1


@kernel
def _count_outside(bits, guard):  # type: ignore[no-untyped-def]
    one, zero = bits.dtype.type(1), bits.dtype.type(0)
    mask = bits.dtype.type((1 << (bits.itemsize * 8 - 1)) - 1)
    outside = zero
    for i in range(bits.size):
        outside = bits.dtype.type(outside + (zero if bits.dtype.type(bits[i] & mask) < guard else one))
    return outside


@kernel
def _decode(magic, planes, stride, width, column, rest, depth, words, low, out):  # type: ignore[no-untyped-def]
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        if out.itemsize == 4 and width == 3 and depth == 0:
            a, b, c = _three(planes, column + start, stride, block.size)
            _put_three(a, b, c, magic, block)
            continue
        row, lane = start // 8 * depth, (block.size + 63) // 64 * 8
        tail = lane // BITS * BITS
        for at in range(0, tail, BITS):
            scatter_bits(low, at, lane, rest, row + at, lane, depth)
        if depth and tail < lane:
            for i in range(depth):
                end = row + (i + 1) * lane
                low[_BITS_AT + i * BITS :][: lane - tail] = rest[end - lane + tail : end]
            scatter_bits(low, _LANES_AT, BITS, low, _BITS_AT, BITS, depth)
            for i in range(8):
                end = (i + 1) * lane
                low[end - lane + tail : end] = low[_LANES_AT + i * BITS :][: lane - tail]
        for at in range(0, block.size, STRIP):
            strip = block[at : at + STRIP]
            for tile in range(0, strip.size, WORDS):
                place = column + start + at + tile
                whole = strip.size - tile >= WORDS
                join_bytes(words, tile, low, at + tile, planes, place, stride, width if whole else 0)
                if not whole:
                    _join_tail(planes, place, stride, width, words[tile : strip.size])
            _floats(words, magic, 8 - depth, strip)


@kernel
def _put_three(highest, middle, lowest, magic, out):  # type: ignore[no-untyped-def]
    one, sign = out.dtype.type(1), out.dtype.type(8 * out.itemsize - 1)
    eight, sixteen = out.dtype.type(8), out.dtype.type(16)
    base, number = magic[0], float_of(magic[0])
    for i in range(out.size):
        lower = either(out.dtype.type(lowest[i]), shift_left(out.dtype.type(middle[i]), eight))
        code = either(lower, shift_left(out.dtype.type(highest[i]), sixteen))
        k = magic.dtype.type(shift_right(code, one))
        pattern = float_bits(float_of(either(k, base)) - number)
        out[i] = either(out.dtype.type(pattern), shift_left(code, sign))


@kernel
def _join_tail(planes, place, stride, width, words):  # type: ignore[no-untyped-def]
    for plane in range(width):
        shift = shift_within(words.dtype.type(8 * (width - plane)))
        for i in range(words.size):
            byte = words.dtype.type(planes[place + plane * stride + i])
            words[i] = either(words[i], shift_left(byte, shift))


@kernel
def _floats(words, magic, down, out):  # type: ignore[no-untyped-def]
    one, sign = out.dtype.type(1), out.dtype.type(8 * out.itemsize - 1)
    shift, base, number = shift_within(out.dtype.type(down)), magic[0], float_of(magic[0])
    for i in range(out.size):
        code = shift_right(words[i], shift)
        k = magic.dtype.type(shift_right(code, one))
        pattern = float_bits(float_of(either(k, base)) - number)
        if out.itemsize == 2:  # k·2^−t is 0 or a normal float16
            rebased = magic.dtype.type((pattern >> magic.dtype.type(13)) - magic.dtype.type(112 << 10))
            pattern = rebased if pattern != magic.dtype.type(0) else pattern
        out[i] = either(out.dtype.type(pattern), shift_left(code, sign))
