"""Machine words at any byte offset of a uint8 array, for the bit-stream kernels.

Numba indexes arrays element by element; a bit stream wants eight bytes at once from wherever it stands.
These intrinsics compile to one load, store or bit-scan instruction. They check nothing: whoever calls them
has made sure that ``offset`` and the seven bytes after it lie inside the array. Little-endian, as all of
this package's formats. Source: ours.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # what it makes of a function takes one argument less
_BYTE_POINTER = ir.IntType(8).as_pointer()


def _address(context: Any, builder: Any, signature: Any, args: Any, bits: int) -> Any:
    if isinstance(signature.args[0], types.Integer):
        data = builder.inttoptr(args[0], _BYTE_POINTER)
    else:
        data = builder.bitcast(
            context.make_array(signature.args[0])(context, builder, args[0]).data, _BYTE_POINTER
        )
    return builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(bits).as_pointer())


def _loader(bits: int, result: Any) -> Any:
    def typed(_context: Any, array: Any, offset: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.load(_address(context, builder, signature, args, bits), align=1)
            return builder.zext(word, ir.IntType(64)) if bits < 64 else word

        return result(array, offset), codegen

    return intrinsic(typed)


def _storer(bits: int) -> Any:
    def typed(_context: Any, array: Any, offset: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.trunc(args[2], ir.IntType(bits)) if bits < 64 else args[2]
            builder.store(word, _address(context, builder, signature, args, bits), align=1)
            return context.get_dummy_value()

        return types.void(array, offset, types.uint64), codegen

    return intrinsic(typed)


@intrinsic
def address_of(_context: Any, array: Any) -> Any:
    """Where an array's data are, to be given to a load or store in the array's place.

    Numba counts references around inlined functions that take arrays, with atomic instructions; integers
    are free. The array must be an argument of the kernel: a local one may be freed once it is not named any
    more.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


load64 = _loader(64, types.uint64)
load32 = _loader(32, types.uint64)
load16 = _loader(16, types.uint64)
load8 = _loader(8, types.uint64)
store64 = _storer(64)
store32 = _storer(32)
store16 = _storer(16)


@intrinsic
def trailing_zeros(_context: Any, value: Any) -> Any:
    """Index of the lowest set bit of a uint64 that is not 0."""

    def codegen(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@intrinsic
def bit_length(_context: Any, value: Any) -> Any:
    """Number of bits of a uint64: 0 for 0, 64 for 2**63 and above."""

    def codegen(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 64), zeros)

    return types.uint64(types.uint64), codegen


@intrinsic
def copy_bytes(_context: Any, target: Any, at: Any, source: Any, start: Any, size: Any) -> Any:
    """Copy ``source[start : start + size]`` to ``target[at : at + size]``; the ranges do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, origin = (
            builder.gep(
                builder.bitcast(context.make_array(kind)(context, builder, array).data, _BYTE_POINTER),
                [offset],
            )
            for kind, array, offset in (
                (signature.args[0], args[0], args[1]),
                (signature.args[2], args[2], args[3]),
            )
        )
        cgutils.raw_memcpy(builder, to, origin, args[4], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(target, at, source, start, types.int64), codegen


@intrinsic
def fill_bytes(_context: Any, target: Any, at: Any, size: Any, value: Any) -> Any:
    """Set ``target[at : at + size]`` to the byte ``value``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _address(context, builder, signature, args, 8)
        cgutils.memset(builder, pointer, args[2], args[3])  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(target, at, types.int64, types.uint8), codegen


@intrinsic
def swap_bytes32(_context: Any, value: Any) -> Any:
    """The low four bytes of a uint64 in the opposite order, as uint64."""

    def codegen(_target: Any, builder: Any, _signature: Any, args: Any) -> Any:
        word = builder.bswap(builder.trunc(args[0], ir.IntType(32)))
        return builder.zext(word, ir.IntType(64))

    return types.uint64(types.uint64), codegen
