"""zfp: Lindstrom's block transform of arrays (the package zfpy, extra `baselines`), lossless or fixed
accuracy.

Weights have no smooth dimension, so an array goes in as one dimension. Fixed accuracy misses its bound on
values of wide range, and knows no NaN and no infinity: what it does not hold to is kept as exceptions.
Lossless ("reversible") takes float32, float64, int32 and int64.

Its decoder reads beyond the end of a stream that was cut; it gets a copy with zeros behind it, more than it
can read for the number of values that was checked.

Payload: its stream without header (and the exception list, if it is bounded; its parameters end with the
bound).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np

from .blob import BlobInfo
from .codec import EXACT, Array, ArrayCodec, Encoded, ErrorBound
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .peer import accept, check_expansion, decode_bounded, encode_bounded, encode_exact, require_package

__all__ = ["Zfp"]

_TYPES = {"float32": "type_float", "float64": "type_double", "int32": "type_int32", "int64": "type_int64"}
_BLOCK = 4
_VALUES_OF_A_BYTE = 32  # a block of zeros is one bit
_LOSSLESS_PARAMETERS = 8
_BOUND = struct.Struct("<d")
_MOST_OF_A_BLOCK = 64  # bytes: four doubles of 64 bits, a bit or two for each bit plane, the exponent


@dataclass(frozen=True)
class Zfp(ArrayCodec):
    """zfp; see the module's docstring.

    Attributes:
        error_bound_absolute: largest |decoded − original|, floats only; null for lossless.
    """

    name: ClassVar[str] = "zfp"
    error_bound_absolute: float | None = None

    def validate(self) -> None:
        """Check the bound, and that the package is installed."""
        require_package("zfpy")
        bound = self.error_bound_absolute
        if bound is not None and not 0 < bound < float("inf"):
            raise ConfigError("zfp: error_bound_absolute must be a positive number, or null for lossless")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Say which formats the package takes."""
        if format.name not in _TYPES:
            return f"the package takes {', '.join(_TYPES)}"
        if self.error_bound_absolute is not None and not format.is_float:
            return "an error bound is for floats"
        return None

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """The bound asked for."""
        return EXACT if self.error_bound_absolute is None else ErrorBound(self.error_bound_absolute)

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        bound = self.error_bound_absolute
        numbers = values if values.flags.aligned else values.copy()
        if bound is None:
            return encode_exact(values, _package().compress_numpy(numbers, write_header=False))
        encoded = encode_bounded(
            numbers,
            bound,
            lambda safe: _package().compress_numpy(safe, tolerance=bound, write_header=False),
            lambda coded: _decompress(memoryview(coded), format, values.size, bound),
        )
        encoded.parameters += _BOUND.pack(bound)
        return encoded

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        check_expansion(self.name, info, _VALUES_OF_A_BYTE * info.format.nbytes)
        if info.format.name not in _TYPES:
            raise CorruptBlobError("zfp: the package does not write arrays of this format")
        if len(info.parameters) > _LOSSLESS_PARAMETERS:
            return _decode_bounded(info, out)
        return accept(self.name, _decompress(info.payload, info.format, info.count, None), info, out)


def _decode_bounded(info: BlobInfo, out: Array | None) -> Array:
    """Decode a stream of fixed accuracy: the bound stands behind the other parameters."""
    if not info.format.is_float or len(info.parameters) < _BOUND.size:
        raise CorruptBlobError("zfp: the parameters name no bound")
    (bound,) = _BOUND.unpack(info.parameters[-_BOUND.size :])
    if not 0 < bound < float("inf"):
        raise CorruptBlobError("zfp: the bound is not a positive number")
    inner = replace(info, parameters=info.parameters[: -_BOUND.size])
    return decode_bounded(
        "zfp", inner, out, lambda stream: _decompress(stream, info.format, info.count, bound)
    )


def _decompress(stream: memoryview, format: FloatFormat, count: int, bound: float | None) -> Array:
    padded = np.zeros(len(stream) + -(-count // _BLOCK) * _MOST_OF_A_BLOCK, np.uint8)
    padded[: len(stream)] = np.frombuffer(stream, np.uint8)
    kind = getattr(_package(), _TYPES[format.name])
    mode = {} if bound is None else {"tolerance": bound}
    decoded: Array = _package()._decompress(padded, kind, (count,), **mode)
    return decoded


@cache
def _package() -> Any:
    import zfpy

    return zfpy
