"""Four byte planes to 32-bit words by byte shuffles, 32 words at a time.

Widening every byte to a word first, which is what LLVM makes of the plain loop, takes four times the
instructions. The shuffles are LLVM's own, so they exist for every processor. Source: ours.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic

__all__ = ["STEP", "store_float32", "store_words32"]

STEP = 32
"""Words that one call stores."""

intrinsic: Any = _intrinsic
_BYTES = ir.VectorType(ir.IntType(8), STEP)


def _all(value: int) -> Any:
    return ir.Constant(_BYTES, [value] * STEP)


def _zip(builder: Any, even: Any, odd: Any) -> Any:
    """Return even[0], odd[0], even[1], odd[1], …"""
    count = even.type.count
    order = [index // 2 + count * (index % 2) for index in range(2 * count)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 2 * count), order)
    return builder.shuffle_vector(even, odd, mask)


def _storer(turned: bool) -> Any:
    def typed(_context: Any, first: Any, second: Any, third: Any, fourth: Any, words: Any, at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def pointer(index: int, to: Any) -> Any:
                data = context.make_array(signature.args[index])(context, builder, args[index]).data
                return builder.bitcast(builder.gep(data, [args[5]]), to.as_pointer())

            a, b, c, d = (builder.load(pointer(index, _BYTES), align=1) for index in range(4))
            if turned:  # exponent · sign · mantissa → sign · exponent · mantissa
                exponent, rest = a, b
                sign = builder.and_(rest, _all(0x80))
                a = builder.or_(sign, builder.lshr(exponent, _all(1)))
                b = builder.or_(builder.shl(exponent, _all(7)), builder.and_(rest, _all(0x7F)))
            pairs = ir.VectorType(ir.IntType(16), STEP)
            low = builder.bitcast(_zip(builder, d, c), pairs)
            high = builder.bitcast(_zip(builder, b, a), pairs)
            both = _zip(builder, low, high)
            builder.store(both, pointer(4, both.type), align=1)
            return context.get_dummy_value()

        return types.void(first, second, third, fourth, words, types.int64), codegen

    return intrinsic(typed)


store_float32 = _storer(turned=True)
"""Store words[at : at + STEP] from uint8 planes, highest first, of turned float32; nothing is checked."""
store_words32 = _storer(turned=False)
"""The same of words that were not turned."""
