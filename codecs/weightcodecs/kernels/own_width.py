"""Unsigned arithmetic that stays in its operands' own width.

Numba widens every integer below 64 bits before it computes, and LLVM does not always see that the upper half
is never used: a vector loop then has a quarter of the lanes it could have. Both operands must have the same
unsigned type; results wrap. Source: ours.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "add",
    "both",
    "either",
    "except_or",
    "larger",
    "leading_zeros",
    "shift_left",
    "shift_right",
    "smaller",
    "subtract",
]


def _operation(build: Any) -> Any:
    def typed(_context: Any, left: Any, right: Any) -> Any:
        if left != right or left not in types.unsigned_domain:
            return None
        return left(left, right), lambda _target, builder, _signature, args: build(builder, *args)

    return intrinsic(typed)


add = _operation(lambda builder, left, right: builder.add(left, right))
subtract = _operation(lambda builder, left, right: builder.sub(left, right))
shift_left = _operation(lambda builder, left, right: builder.shl(left, right))
shift_right = _operation(lambda builder, left, right: builder.lshr(left, right))
both = _operation(lambda builder, left, right: builder.and_(left, right))
either = _operation(lambda builder, left, right: builder.or_(left, right))
except_or = _operation(lambda builder, left, right: builder.xor(left, right))
larger = _operation(
    lambda builder, left, right: builder.select(builder.icmp_unsigned(">", left, right), left, right)
)
smaller = _operation(
    lambda builder, left, right: builder.select(builder.icmp_unsigned("<", left, right), left, right)
)


@intrinsic
def leading_zeros(_context: Any, value: Any) -> Any:
    """Zero bits above the highest one, in the value's own type; its width for 0."""

    def codegen(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return (value(value), codegen) if isinstance(value, types.Integer) else None
