"""Fixed-point codes of floats in (−1, 1): k = round(|w|·2^t) and the sign, as one integer k·2 + sign.

This is Elf's transform (Su et al., PVLDB 17(8), 2024, the map of |w| into [1, 2)) for any number t of
fraction bits: adding 2^(m−t), m the mantissa width, rounds |w| to a multiple of 2^−t in one correctly
rounded addition and leaves k in the low bits of the sum; t = m is the paper's |w| + 1. Elements whose
magnitude is `guard` or more, and NaN and infinities, get code 0; they are counted, and the caller keeps them
apart. float16 has no arithmetic here: its |w|·2^t is an integer shift, rounded the same way.

Codes are written as byte planes, most significant bits first, as many as the caller gives, and as bit planes
for the low bits that do not fit (`plane_depth`): in a block of up to 4096 codes, lane j of eight holds codes
j·L … (j+1)·L − 1, L = 8·⌈block/64⌉, and byte i of a bit plane has one bit of each lane. That keeps both
directions elementwise on 64-bit words, so that LLVM vectorises them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bitcast import float_bits, float_of
from .code_planes import join_codes, split_codes
from .jit import kernel

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
"""Codes in a block: a block's codes stay in the first-level cache. A multiple of 8."""

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
        rest: uint8 [rest_bytes(n, plane_depth(t, width))], 8-byte aligned, written; fewer than 8 bit planes.
        column: where these elements stand in the planes.
    """
    patterns = _input(values).view(_bits(values))
    limit = np.array(guard, values.dtype).view(patterns.dtype)[()]
    magic, base = _adder(values, fraction)
    low = np.empty(BLOCK, np.uint8)
    depth = plane_depth(fraction, len(planes))
    shared = (planes, column, rest.view(np.uint64), depth, low, low.view(np.uint64))
    if values.itemsize == 2:
        return _encode16(patterns, np.uint16(25 - fraction), limit, np.empty(BLOCK, np.uint16), *shared)  # type: ignore[no-any-return]
    codes = np.empty(BLOCK, np.uint32)
    if values.itemsize == 4:
        return _encode32(patterns, magic, base, limit, codes, *shared)  # type: ignore[no-any-return]
    return _encode64(patterns, magic, base, limit, codes, np.empty(BLOCK, np.uint32), *shared)  # type: ignore[no-any-return]


def decode_planes(planes: Array, rest: Array, fraction: int, out: Array, column: int = 0) -> None:
    """Turn planes of `encode_planes` back into `out` (flat, aligned, the same dtype); code 0 gives 0.0."""
    target = out.view(_bits(out))
    magic, base = _adder(out, fraction)
    low = np.empty(BLOCK, np.uint8)
    depth = plane_depth(fraction, len(planes))
    shared = (_input(planes), column, _input(rest).view(np.uint64), depth, low, low.view(np.uint64), target)
    if out.itemsize == 2:
        _decode16(magic, base, np.empty(BLOCK, np.uint16), *shared)
    elif out.itemsize == 4:
        _decode32(magic, base, np.empty(BLOCK, np.uint32), *shared)
    else:
        _decode64(magic, base, np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32), *shared)


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


def _adder(values: Array, fraction: int) -> tuple[Any, Any]:
    """Return the number to add, float64 for float64 and float32 otherwise, and its bit pattern."""
    mantissa, dtype = (52, np.float64) if values.itemsize == 8 else (23, np.float32)
    magic = np.array(2.0 ** (mantissa - fraction), dtype)
    return magic[()], magic.view(_bits(magic))[()]


# As in `code_planes`, every constant has the arrays' own type, which lets LLVM vectorise the loops.


@kernel
def _encode32(bits, magic, base, guard, codes, planes, column, rest, depth, low, low_words):  # type: ignore[no-untyped-def]
    outside = 0
    for start in range(0, bits.size, BLOCK):
        block = bits[start : start + BLOCK]
        at, end = column + start, column + start + block.size
        if planes.shape[0] == 3 and depth == 0:  # the paper's 24 bits, in one pass
            a, b, c = planes[0, at:end], planes[1, at:end], planes[2, at:end]
            outside += _three_planes(block, magic, base, guard, a, b, c)
            continue
        outside += _codes(block, magic, base, guard, codes)
        split_codes(codes, planes, at, block.size, rest[start // 64 * depth :], depth, low, low_words)
    return outside


@kernel
def _three_planes(bits, magic, base, guard, a, b, c):  # type: ignore[no-untyped-def]
    zero, one = np.uint32(0), np.uint32(1)
    outside = zero
    for i in range(bits.size):
        magnitude = np.uint32(bits[i] & np.uint32(0x7FFFFFFF))
        k = np.uint32(float_bits(float_of(magnitude) + magic) - base)
        inside = magnitude < guard
        code = np.uint32((k << one) | (bits[i] >> np.uint32(31))) if inside else zero
        a[i] = np.uint8(code >> np.uint32(16))
        b[i] = np.uint8(code >> np.uint32(8))
        c[i] = np.uint8(code)
        outside = np.uint32(outside + (zero if inside else one))
    return np.int64(outside)


@kernel
def _codes(bits, magic, base, guard, codes):  # type: ignore[no-untyped-def]
    zero, one = np.uint32(0), np.uint32(1)
    outside = zero
    for i in range(bits.size):
        magnitude = np.uint32(bits[i] & np.uint32(0x7FFFFFFF))
        k = np.uint32(float_bits(float_of(magnitude) + magic) - base)
        inside = magnitude < guard
        codes[i] = np.uint32((k << one) | (bits[i] >> np.uint32(31))) if inside else zero
        outside = np.uint32(outside + (zero if inside else one))
    return np.int64(outside)


@kernel
def _encode64(bits, magic, base, guard, codes, high, planes, column, rest, depth, low, low_words):  # type: ignore[no-untyped-def]
    # A code is handled as two halves of 32 bits, since bytes are taken from those at twice the speed: the
    # last three byte planes and the bit planes, and the planes above.
    outside = 0
    above = max(planes.shape[0] - 3, 0)
    cut = np.uint64(depth + 8 * (planes.shape[0] - above))
    for start in range(0, bits.size, BLOCK):
        block = bits[start : start + BLOCK]
        at = column + start
        outside += _codes64(block, magic, base, guard, cut, codes, high)
        split_codes(codes, planes[above:], at, block.size, rest[start // 64 * depth :], depth, low, low_words)
        if above:
            split_codes(high, planes[:above], at, block.size, rest, 0, low, low_words)
    return outside


@kernel
def _codes64(bits, magic, base, guard, cut, codes, high):  # type: ignore[no-untyped-def]
    zero, one = np.uint64(0), np.uint64(1)
    outside = zero
    for i in range(bits.size):
        magnitude = np.uint64(bits[i] & np.uint64(0x7FFFFFFFFFFFFFFF))
        k = np.uint64(float_bits(float_of(magnitude) + magic) - base)
        inside = magnitude < guard
        code = np.uint64((k << one) | (bits[i] >> np.uint64(63))) if inside else zero
        codes[i] = np.uint32(code)  # bits above the cut are those that no plane takes
        high[i] = np.uint32(code >> cut)
        outside = np.uint64(outside + (zero if inside else one))
    return np.int64(outside)


@kernel
def _encode16(bits, exponent, guard, codes, planes, column, rest, depth, low, low_words):  # type: ignore[no-untyped-def]
    outside = 0
    for start in range(0, bits.size, BLOCK):
        block = bits[start : start + BLOCK]
        outside += _codes16(block, exponent, guard, codes)
        split_codes(
            codes, planes, column + start, block.size, rest[start // 64 * depth :], depth, low, low_words
        )
    return outside


@kernel
def _codes16(bits, exponent, guard, codes):  # type: ignore[no-untyped-def]
    # |w|·2^t is the 11-bit significand, shifted right by 25 − t − e bits, e the biased exponent.
    zero, one = np.uint16(0), np.uint16(1)
    outside = zero
    for i in range(bits.size):
        magnitude = np.uint16(bits[i] & np.uint16(0x7FFF))
        biased = np.uint16(magnitude >> np.uint16(10))
        normal = biased != zero
        significand = np.uint16((magnitude & np.uint16(0x3FF)) | (np.uint16(0x400) if normal else zero))
        shift = min(np.uint16(exponent - (biased if normal else one)), np.uint16(15))  # 12 and more give 0
        half = np.uint16((one << shift) >> one)
        odd = np.uint16((significand >> shift) & one)  # a tie goes to the even neighbour
        k = np.uint16(np.uint16(significand + half - one + odd) >> shift)
        inside = magnitude < guard
        codes[i] = np.uint16((k << one) | (bits[i] >> np.uint16(15))) if inside else zero
        outside = np.uint16(outside + (zero if inside else one))
    return np.int64(outside)


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
def _decode32(magic, base, codes, planes, column, rest, depth, low, low_words, out):  # type: ignore[no-untyped-def]
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        at, end = column + start, column + start + block.size
        if planes.shape[0] == 3 and depth == 0:
            _from_three(planes[2, at:end], planes[1, at:end], planes[0, at:end], base, magic, block)
            continue
        join_codes(planes, at, block.size, rest[start // 64 * depth :], depth, codes, low, low_words)
        _floats(codes, base, magic, block)


@kernel
def _from_three(lowest, middle, highest, base, magic, out):  # type: ignore[no-untyped-def]
    one = np.uint32(1)
    for i in range(out.size):
        pair = np.uint32(lowest[i]) | np.uint32(np.uint32(middle[i]) << np.uint32(8))
        code = np.uint32(pair | np.uint32(np.uint32(highest[i]) << np.uint32(16)))
        magnitude = float_bits(float_of(np.uint32((code >> one) | base)) - magic)
        out[i] = magnitude | np.uint32(code << np.uint32(31))


@kernel
def _floats(codes, base, magic, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        magnitude = float_bits(float_of(np.uint32((codes[i] >> np.uint32(1)) | base)) - magic)
        out[i] = magnitude | np.uint32(codes[i] << np.uint32(31))


@kernel
def _decode64(magic, base, codes, high, planes, column, rest, depth, low, low_words, out):  # type: ignore[no-untyped-def]
    above = max(planes.shape[0] - 3, 0)
    cut = np.uint64(depth + 8 * (planes.shape[0] - above))
    high[:] = 0
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        at = column + start
        part = rest[start // 64 * depth :]
        join_codes(planes[above:], at, block.size, part, depth, codes, low, low_words)
        if above:
            join_codes(planes[:above], at, block.size, rest, 0, high, low, low_words)
        _floats64(codes, high, cut, base, magic, block)


@kernel
def _floats64(codes, high, cut, base, magic, out):  # type: ignore[no-untyped-def]
    one = np.uint64(1)
    for i in range(out.size):
        code = np.uint64(codes[i]) | np.uint64(np.uint64(high[i]) << cut)
        magnitude = float_bits(float_of(np.uint64((code >> one) | base)) - magic)
        out[i] = magnitude | np.uint64(code << np.uint64(63))


@kernel
def _decode16(magic, base, codes, planes, column, rest, depth, low, low_words, out):  # type: ignore[no-untyped-def]
    for start in range(0, out.size, BLOCK):
        block = out[start : start + BLOCK]
        part = rest[start // 64 * depth :]
        join_codes(planes, column + start, block.size, part, depth, codes, low, low_words)
        _floats16(codes, base, magic, block)


@kernel
def _floats16(codes, base, magic, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        code = codes[i]
        wide = float_bits(float_of(np.uint32(np.uint32(code >> np.uint16(1)) | base)) - magic)
        # k·2^−t is 0 or a normal float16, so rebiasing the exponent converts it exactly.
        narrow = np.uint16(np.uint16(wide >> np.uint32(13)) - np.uint16(112 << 10))
        out[i] = (narrow if code > np.uint16(1) else np.uint16(0)) | np.uint16(code << np.uint16(15))
