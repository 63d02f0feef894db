"""Codes to rows of bytes and of bits and back, a vector at a time: the layout of `fixed_point`.

Shuffles and shifts of whole vectors take half to a third of the instructions that LLVM needs for the plain
loops. They are LLVM's own, so that they exist for every processor. Nothing is checked: whoever calls them has
made sure that all of a tile lies inside its arrays. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic

__all__ = ["BITS", "WORDS", "gather_bits", "join_bytes", "scatter_bits", "split_bytes"]

WORDS = 64
"""Words in a tile of `split_bytes` and `join_bytes`."""
BITS = 64
"""Bytes of a lane, or of a row of bits, in a tile of `gather_bits` and `scatter_bits`."""

intrinsic: Any = _intrinsic
_LANES = 8
_BYTES = ir.VectorType(ir.IntType(8), 64)
_QUADS = ir.VectorType(ir.IntType(64), BITS // 8)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, to: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), to.as_pointer())


def _shuffle(builder: Any, first: Any, second: Any, order: Sequence[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order))
    return builder.shuffle_vector(first, second, mask)


def _zipped(builder: Any, even: Any, odd: Any) -> Any:
    """Return even[0], odd[0], even[1], odd[1], …"""
    return _shuffle(builder, even, odd, [i // 2 + 64 * (i % 2) for i in range(128)])


def _turned(builder: Any, vectors: list[Any]) -> list[Any]:
    """Transpose: of W vectors, each W equal parts, vector i gets part i of each."""
    width = len(vectors)
    quads = [builder.bitcast(vector, _QUADS) for vector in vectors]
    part = 8 // width  # in words of 64 bits
    distance = 1
    while distance < width:
        step = distance * part
        keeps = [not i & step for i in range(8)]
        low = [i if keep else 8 + i - step for i, keep in enumerate(keeps)]
        high = [i + step if keep else 8 + i for i, keep in enumerate(keeps)]
        for i in range(width):
            if not i & distance:
                a, b = quads[i], quads[i + distance]
                quads[i] = _shuffle(builder, a, b, low)
                quads[i + distance] = _shuffle(builder, a, b, high)
        distance *= 2
    return [builder.bitcast(quad, _BYTES) for quad in quads]


@intrinsic
def split_bytes(
    _context: Any, words: Any, first: Any, low: Any, at: Any, planes: Any, place: Any, stride: Any, width: Any
) -> Any:
    """Write the bytes of words[first : first + WORDS]: the lowest to low[at:], `width` more to `planes`.

    Byte b ≥ 1 goes to planes[place + (width − b)·stride :]; `low` and `planes` are flat uint8.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = signature.args[0].dtype.bitwidth // 8
        inner, span = args[3].type, 64 // word
        order = [j * word + byte for byte in range(word) for j in range(span)]
        parts = []
        for i in range(word):
            start = builder.add(args[1], ir.Constant(inner, i * span))
            source = _pointer(context, builder, signature.args[0], args[0], start, _BYTES)
            vector = builder.load(source, align=1)
            parts.append(_shuffle(builder, vector, vector, order))
        for byte, row in enumerate(_turned(builder, parts)):
            if byte == 0:
                target = _pointer(context, builder, signature.args[2], args[2], args[3], _BYTES)
                builder.store(row, target, align=1)
                continue
            above = builder.sub(args[7], ir.Constant(inner, byte))
            with builder.if_then(builder.icmp_signed(">=", above, ir.Constant(inner, 0))):
                where = builder.add(args[5], builder.mul(above, args[6]))
                target = _pointer(context, builder, signature.args[4], args[4], where, _BYTES)
                builder.store(row, target, align=1)
        return context.get_dummy_value()

    index = types.int64
    return types.void(words, index, low, index, planes, index, index, index), codegen


@intrinsic
def join_bytes(
    _context: Any, words: Any, first: Any, low: Any, at: Any, planes: Any, place: Any, stride: Any, width: Any
) -> Any:
    """Make words[first : first + WORDS] of what `split_bytes` wrote; bytes above those are 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, inner = signature.args[0].dtype.bitwidth // 8, args[3].type
        zeros = ir.Constant(_BYTES, [0] * 64)
        source = _pointer(context, builder, signature.args[2], args[2], args[3], _BYTES)
        rows = [builder.load(source, align=1)]
        for byte in range(1, word):
            above = builder.sub(args[7], ir.Constant(inner, byte))
            before = builder.block
            with builder.if_then(builder.icmp_signed(">=", above, ir.Constant(inner, 0))):
                where = builder.add(args[5], builder.mul(above, args[6]))
                source = _pointer(context, builder, signature.args[4], args[4], where, _BYTES)
                loaded, inside = builder.load(source, align=1), builder.block
            row = builder.phi(_BYTES)
            row.add_incoming(zeros, before)
            row.add_incoming(loaded, inside)
            rows.append(row)
        bits = 8
        while len(rows) > 1:
            units = [builder.bitcast(row, ir.VectorType(ir.IntType(bits), 64)) for row in rows]
            rows = [_zipped(builder, *pair) for pair in zip(units[::2], units[1::2], strict=True)]
            bits *= 2
        target = _pointer(context, builder, signature.args[0], args[0], args[1], rows[0].type)
        builder.store(rows[0], target, align=1)
        return context.get_dummy_value()

    index = types.int64
    return types.void(words, index, low, index, planes, index, index, index), codegen


def _moved_bits(builder: Any, sources: list[Any], taken: range, put: range) -> list[Any]:
    """Return a vector for each bit of `taken`: that bit of the bytes of sources[m] is their bit put[m]."""

    def every(byte: int) -> Any:
        return ir.Constant(_QUADS, [byte * 0x0101010101010101] * _QUADS.count)

    def shift(vector: Any, distance: int) -> Any:
        by = ir.Constant(_QUADS, [abs(distance)] * _QUADS.count)
        return (builder.shl if distance > 0 else builder.lshr)(vector, by) if distance else vector

    made = []
    for bit in taken:
        parts = [
            builder.and_(shift(source, to - bit), every(1 << to))
            for source, to in zip(sources, put, strict=True)
        ]
        made.append(reduce(builder.or_, parts))
    return made


def _bit_mover(gathers: bool) -> Any:
    def typed(
        _context: Any, low: Any, low_at: Any, lane: Any, rest: Any, rest_at: Any, stride: Any, depth: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def pointers(array: int, count: int) -> list[Any]:
                data, start, step = args[array : array + 3]
                places = [
                    builder.add(start, builder.mul(step, ir.Constant(step.type, i))) for i in range(count)
                ]
                return [
                    _pointer(context, builder, signature.args[array], data, place, _QUADS) for place in places
                ]

            after = builder.append_basic_block("moved")
            choice = builder.switch(args[6], after)
            for known in range(1, _LANES):
                block = builder.append_basic_block(f"depth{known}")
                choice.add_case(ir.Constant(args[6].type, known), block)
                builder.position_at_end(block)
                lanes, rows = pointers(0, _LANES), pointers(3, known)
                sources, targets = (lanes, rows) if gathers else (rows, lanes)
                bits = range(8 - known, 8), range(_LANES)
                vectors = [builder.load(source, align=1) for source in sources]
                moved = _moved_bits(builder, vectors, *(bits if gathers else reversed(bits)))
                for vector, target in zip(moved, targets, strict=True):
                    builder.store(vector, target, align=1)
                builder.branch(after)
            builder.position_at_end(after)
            return context.get_dummy_value()

        index = types.int64
        return types.void(low, index, index, rest, index, index, index), codegen

    return intrinsic(typed)


gather_bits = _bit_mover(gathers=True)
"""Take the `depth` highest bits of bytes: bit 8 − depth + b of low[low_at + j·lane + i] becomes bit j of
rest[rest_at + b·stride + i], for eight lanes j and BITS bytes i. All uint8; depth 1 to 7 (0: nothing)."""
scatter_bits = _bit_mover(gathers=False)
"""Undo `gather_bits`: the other bits become 0."""
