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
    values = _input(values)
    patterns = values.view(_bits(values))
    limit = np.array(guard, values.dtype).view(patterns.dtype)[()]
    words, low = rest.view(np.uint64), np.empty(BLOCK, np.uint8)
    depth = plane_depth(fraction, len(planes))
    sums, sum_bits, magic, base = _adder(values, fraction)
    shared = (planes, column, words, depth, sums, sum_bits)
    if values.itemsize == 2:
        codes = np.empty(BLOCK, np.uint16)
        return _encode16(patterns, magic, limit, *shared, codes, low, low.view(np.uint64))  # type: ignore[no-any-return]
    return _encode(patterns, values, magic, base, limit, *shared, low, low.view(np.uint64))  # type: ignore[no-any-return]


def decode_planes(planes: Array, rest: Array, fraction: int, out: Array, column: int = 0) -> None:
    """Turn planes of `encode_planes` back into `out` (flat, aligned, the same dtype); code 0 gives 0.0."""
    words, low = _input(rest).view(np.uint64), np.empty(BLOCK, np.uint8)
    shared = (_input(planes), column, words, plane_depth(fraction, len(planes)))
    sums, sum_bits, magic, base = _adder(out, fraction)
    target = out.view(_bits(out))
    if out.itemsize == 2:
        codes = np.empty(BLOCK, np.uint16)
        _decode16(*shared, magic, base, sums, sum_bits, codes, low, low.view(np.uint64), target)
    else:
        _decode(*shared, magic, base, sums, sum_bits, low, low.view(np.uint64), target)


def outside_guard(values: Array, guard: float, count: int) -> NDArray[np.int64]:
    """Return the ascending positions of the `count` elements that `encode_planes` said lie outside."""
    positions = np.empty(count, np.int64)
    patterns = _input(values).view(_bits(values))
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


def _adder(values: Array, fraction: int) -> tuple[Array, Array, Any, Any]:
    """Return scratch sums, the same as integers, the number to add, and its bit pattern."""
    sums = np.empty(BLOCK, np.float64 if values.itemsize == 8 else np.float32)
    mantissa = 52 if values.itemsize == 8 else 23
    magic = np.array(2.0 ** (mantissa - fraction), sums.dtype)
    return sums, sums.view(_bits(sums)), magic[()], magic.view(_bits(sums))[()]


# The loops below run over slices from their first element, and every constant has the arrays' own type:
# an index that might be negative, or one wider operand, keeps LLVM from vectorising them. Arrays that are
# one memory seen as two types (sums and codes, low and low_words) come in twice for the same reason.


@kernel
def _encode(bits, values, magic, base, guard, planes, column, rest, depth, sums, codes, low, low_words):  # type: ignore[no-untyped-def]
    outside = 0
    for start in range(0, bits.size, BLOCK):
        stop = min(start + BLOCK, bits.size)
        outside += _codes(bits[start:stop], values[start:stop], magic, base, guard, sums, codes)
        _split(
            codes, planes, column + start, stop - start, rest[start // 64 * depth :], depth, low, low_words
        )
    return outside


@kernel
def _codes(bits, magnitudes, magic, base, guard, sums, codes):  # type: ignore[no-untyped-def]
    one = codes.dtype.type(1)
    zero = codes.dtype.type(0)
    sign = bits.dtype.type(bits.itemsize * 8 - 1)
    mask = bits.dtype.type((1 << (bits.itemsize * 8 - 1)) - 1)
    for i in range(bits.size):
        sums[i] = abs(magnitudes[i]) + magic
    outside = zero
    for i in range(bits.size):
        pattern = bits[i]
        code = codes.dtype.type(((codes[i] - base) << one) | (pattern >> sign))
        inside = bits.dtype.type(pattern & mask) < guard
        codes[i] = code if inside else zero
        outside = codes.dtype.type(outside + (zero if inside else one))
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
def _encode16(bits, magic, guard, planes, column, rest, depth, sums, patterns, codes, low, low_words):  # type: ignore[no-untyped-def]
    outside = 0
    for start in range(0, bits.size, BLOCK):
        stop = min(start + BLOCK, bits.size)
        _sums16(bits[start:stop], magic, sums, patterns)
        outside += _codes16(bits[start:stop], patterns, guard, codes)
        _split(
            codes, planes, column + start, stop - start, rest[start // 64 * depth :], depth, low, low_words
        )
    return outside


@kernel
def _sums16(bits, magic, sums, patterns):  # type: ignore[no-untyped-def]
    # A float16 subnormal's fraction is put behind the exponent of 2^−14, which is then taken away again: no
    # float32 subnormal ever appears, because the processor handles those a hundred times slower.
    smallest = np.float32(2.0**-14)
    for i in range(bits.size):
        shifted = np.uint32(np.uint32(bits[i] & np.uint16(0x7FFF)) << np.uint32(13))
        subnormal = shifted < np.uint32(1 << 23)
        patterns[i] = shifted + (np.uint32(113 << 23) if subnormal else np.uint32(112 << 23))
    for i in range(bits.size):
        subnormal = bits[i] & np.uint16(0x7C00) == np.uint16(0)
        sums[i] = (sums[i] - (smallest if subnormal else np.float32(0))) + magic


@kernel
def _codes16(bits, patterns, guard, codes):  # type: ignore[no-untyped-def]
    zero, one = np.uint16(0), np.uint16(1)
    outside = zero
    for i in range(bits.size):
        pattern = bits[i]
        k = np.uint16(patterns[i])  # the magic number's own low bits are 0
        inside = np.uint16(pattern & np.uint16(0x7FFF)) < guard
        codes[i] = np.uint16((k << one) | (pattern >> np.uint16(15))) if inside else zero
        outside = np.uint16(outside + (zero if inside else one))
    return np.int64(outside)


@kernel
def _split(codes, planes, column, count, rest, depth, low, low_words):  # type: ignore[no-untyped-def]
    for plane in range(planes.shape[0]):
        shift = codes.dtype.type(depth + 8 * (planes.shape[0] - 1 - plane))
        _take_byte(codes, shift, planes[plane, column : column + count])
    if depth == 0:
        return
    lane = (count + 63) // 64
    _take_byte(codes, codes.dtype.type(0), low[:count])
    low[count : lane * 64] = 0
    for bit in range(depth):
        _gather_bit(low_words, lane, np.uint64(bit), rest[bit * lane : (bit + 1) * lane])


@kernel
def _take_byte(codes, shift, plane):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        plane[i] = np.uint8(codes[i] >> shift)


@kernel
def _gather_bit(words, lane, bit, out):  # type: ignore[no-untyped-def]
    ones = np.uint64(0x0101010101010101)
    a, b, c, d = words[:lane], words[lane : 2 * lane], words[2 * lane : 3 * lane], words[3 * lane : 4 * lane]
    e, f, g, h = words[4 * lane :], words[5 * lane :], words[6 * lane :], words[7 * lane :]
    for i in range(out.size):
        out[i] = (
            ((a[i] >> bit) & ones)
            | (((b[i] >> bit) & ones) << np.uint64(1))
            | (((c[i] >> bit) & ones) << np.uint64(2))
            | (((d[i] >> bit) & ones) << np.uint64(3))
            | (((e[i] >> bit) & ones) << np.uint64(4))
            | (((f[i] >> bit) & ones) << np.uint64(5))
            | (((g[i] >> bit) & ones) << np.uint64(6))
            | (((h[i] >> bit) & ones) << np.uint64(7))
        )


@kernel
def _join(planes, column, count, rest, depth, codes, low, low_words):  # type: ignore[no-untyped-def]
    end = column + count
    top = planes.shape[0] - 1
    if depth:
        lane = (count + 63) // 64
        for j in range(8):
            _scatter_bits(rest, lane, depth, np.uint64(j), low_words[j * lane : (j + 1) * lane])
        if top < 0:
            _put_byte(low[:count], codes)
        else:
            _put_two(low[:count], planes[top, column:end], codes.dtype.type(depth), codes)
        top -= 1
    else:
        _put_byte(planes[top, column:end], codes)
        top -= 1
    while top >= 0:
        shift = codes.dtype.type(depth + 8 * (planes.shape[0] - 1 - top))
        if top > 0:
            _or_two(planes[top, column:end], planes[top - 1, column:end], shift, codes)
        else:
            _or_byte(planes[top, column:end], shift, codes)
        top -= 2


@kernel
def _scatter_bits(rest, lane, depth, position, low):  # type: ignore[no-untyped-def]
    ones = np.uint64(0x0101010101010101)
    for i in range(low.size):
        low[i] = (rest[i] >> position) & ones
    for bit in range(1, depth):
        source = rest[bit * lane : (bit + 1) * lane]
        for i in range(low.size):
            low[i] |= ((source[i] >> position) & ones) << np.uint64(bit)


@kernel
def _put_byte(plane, codes):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        codes[i] = plane[i]


@kernel
def _put_two(low, plane, shift, codes):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        codes[i] = codes.dtype.type(low[i]) | codes.dtype.type(codes.dtype.type(plane[i]) << shift)


@kernel
def _or_byte(plane, shift, codes):  # type: ignore[no-untyped-def]
    for i in range(plane.size):
        codes[i] |= codes.dtype.type(codes.dtype.type(plane[i]) << shift)


@kernel
def _or_two(lower, upper, shift, codes):  # type: ignore[no-untyped-def]
    eight = codes.dtype.type(8)
    for i in range(lower.size):
        pair = codes.dtype.type(lower[i]) | codes.dtype.type(codes.dtype.type(upper[i]) << eight)
        codes[i] |= codes.dtype.type(pair << shift)


@kernel
def _decode(planes, column, rest, depth, magic, base, sums, codes, low, low_words, out):  # type: ignore[no-untyped-def]
    for start in range(0, out.size, BLOCK):
        stop = min(start + BLOCK, out.size)
        _join(planes, column + start, stop - start, rest[start // 64 * depth :], depth, codes, low, low_words)
        _floats(codes, base, sums, magic, out[start:stop])


@kernel
def _floats(codes, base, sums, magic, out):  # type: ignore[no-untyped-def]
    one = codes.dtype.type(1)
    sign = codes.dtype.type(out.itemsize * 8 - 1)
    for i in range(out.size):
        code = codes[i]
        out[i] = (code & one) << sign
        codes[i] = (code >> one) | base
    for i in range(out.size):
        sums[i] = sums[i] - magic
    for i in range(out.size):
        out[i] |= codes[i]


@kernel
def _decode16(planes, column, rest, depth, magic, base, sums, patterns, codes, low, low_words, out):  # type: ignore[no-untyped-def]
    for start in range(0, out.size, BLOCK):
        stop = min(start + BLOCK, out.size)
        _join(planes, column + start, stop - start, rest[start // 64 * depth :], depth, codes, low, low_words)
        _floats16(codes, magic, base, sums, patterns, out[start:stop])


@kernel
def _floats16(codes, magic, base, sums, patterns, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        patterns[i] = np.uint32(codes[i] >> np.uint16(1)) | base
    for i in range(out.size):
        sums[i] = sums[i] - magic
    for i in range(out.size):
        # k·2^−t is 0 or a normal float16, so rebiasing the exponent converts it exactly.
        narrow = np.uint16(np.uint16(patterns[i] >> np.uint32(13)) - np.uint16(112 << 10))
        sign = np.uint16(codes[i] << np.uint16(15))
        out[i] = (narrow if codes[i] > np.uint16(1) else np.uint16(0)) | sign
