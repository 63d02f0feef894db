"""What kernels say to LLVM that Python has no words for: a float's bits as an integer, and narrow shifts.

NumPy's way to a float's bits, a second array over the same memory, sends every value through memory and keeps
the loops before and after from being one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["float_bits", "float_of", "shift_within"]

_FLOATS = {types.uint32: types.float32, types.uint64: types.float64}
_LLVM = {
    types.uint32: ir.IntType(32),
    types.uint64: ir.IntType(64),
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
}


@intrinsic
def float_of(typing_context: Any, bits: Any) -> Any:
    """Return the float32 or float64 that has the bit pattern `bits`, a uint32 or uint64."""
    return _bitcast(bits, _FLOATS[bits])


@intrinsic
def float_bits(typing_context: Any, value: Any) -> Any:
    """Return the bit pattern of a float32 or float64 as uint32 or uint64."""
    return _bitcast(value, {float_: bits for bits, float_ in _FLOATS.items()}[value])


@intrinsic
def shift_within(typing_context: Any, shift: Any) -> Any:
    """Return an unsigned `shift`, less than the bits of its own type, in a way that shows that it is less.

    Numba shifts in 64 bits. LLVM narrows that to the type of the arrays, which makes loops over bytes and
    16-bit words two to five times as fast, only if it knows that no shift is wider than that type.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.and_(arguments[0], ir.Constant(ir.IntType(shift.bitwidth), shift.bitwidth - 1))

    return shift(shift), generate


def _bitcast(source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _LLVM[target])

    return target(source), generate
