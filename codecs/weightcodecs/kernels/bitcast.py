"""The bits of one float as an integer and back, inside a kernel.

NumPy's way, a second array over the same memory, sends every value through memory and keeps the loops before
and after from being one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["float_bits", "float_of"]

_FLOATS = {types.uint32: types.float32, types.uint64: types.float64}
_LLVM = {
    types.uint32: ir.IntType(32),
    types.uint64: ir.IntType(64),
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
}


@intrinsic  # type: ignore[misc]
def float_of(typing_context: Any, bits: Any) -> Any:
    """Return the float32 or float64 that has the bit pattern `bits`, a uint32 or uint64."""
    return _bitcast(bits, _FLOATS[bits])


@intrinsic  # type: ignore[misc]
def float_bits(typing_context: Any, value: Any) -> Any:
    """Return the bit pattern of a float32 or float64 as uint32 or uint64."""
    return _bitcast(value, {float_: bits for bits, float_ in _FLOATS.items()}[value])


def _bitcast(source: Any, target: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _LLVM[target])

    return target(source), generate
