"""The float-format table: the one place that knows how numbers are laid out in bits.

A format is named as NumPy or ml_dtypes names its dtype. Floats carry the widths of their fields; integers
and bools are *plain*: codecs treat them as bytes. Source: IEEE 754-2019, OCP 8-bit floating point 1.0, and
the definition of bfloat16; `float8_e4m3fn` has no infinities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import UnknownNameError, UnsupportedFormatError

__all__ = ["FORMATS", "FloatFormat", "format_of", "format_with_code", "get_format"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """One number type.

    Attributes:
        name: the dtype's name, for example ``"bfloat16"``.
        code: the number that stands for it in blobs; never reused.
        bits: storage width of one element.
        exponent_bits: width of the exponent field; 0 for plain integers and bools.
        mantissa_bits: width of the stored fraction; 0 for plain integers and bools.
        dtype: the NumPy dtype.
    """

    name: str
    code: int
    bits: int
    exponent_bits: int
    mantissa_bits: int
    dtype: np.dtype[Any] = field(repr=False)

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self.exponent_bits > 0

    @property
    def nbytes(self) -> int:
        """Bytes of one element."""
        return self.bits // 8

    @property
    def bias(self) -> int:
        """The exponent bias."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def bits_dtype(self) -> np.dtype[Any]:
        """The unsigned integer dtype of the same width, for looking at bit patterns."""
        return np.dtype(f"u{self.nbytes}")


def _table() -> dict[str, FloatFormat]:
    floats: list[tuple[str, int, int, int, DTypeLike]] = [
        ("float64", 1, 11, 52, np.float64),
        ("float32", 2, 8, 23, np.float32),
        ("float16", 3, 5, 10, np.float16),
        ("bfloat16", 4, 8, 7, ml_dtypes.bfloat16),
        ("float8_e4m3fn", 5, 4, 3, ml_dtypes.float8_e4m3fn),
        ("float8_e5m2", 6, 5, 2, ml_dtypes.float8_e5m2),
    ]
    plain = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    formats = [FloatFormat(n, c, 1 + e + m, e, m, np.dtype(d)) for n, c, e, m, d in floats]
    for code, name in enumerate(plain, start=16):
        dtype = np.dtype(name)
        formats.append(FloatFormat(name, code, dtype.itemsize * 8, 0, 0, dtype))
    return {f.name: f for f in formats}


FORMATS: dict[str, FloatFormat] = _table()
_BY_CODE = {f.code: f for f in FORMATS.values()}
_BY_DTYPE = {f.dtype: f for f in FORMATS.values()}


def get_format(name: str) -> FloatFormat:
    """Return the format called `name`; raises `UnknownNameError` with the nearest names."""
    try:
        return FORMATS[name]
    except KeyError:
        raise UnknownNameError("number format", name, FORMATS) from None


def format_of(values: Array | np.dtype[Any]) -> FloatFormat:
    """Return the format of an array or dtype, whatever its byte order.

    Raises `UnsupportedFormatError` for dtypes outside the table (complex, strings, objects, records).
    """
    dtype = values if isinstance(values, np.dtype) else values.dtype
    found = _BY_DTYPE.get(dtype) or _BY_DTYPE.get(dtype.newbyteorder("="))
    if found is None:
        raise UnsupportedFormatError(
            f"arrays of dtype {dtype} cannot be coded; view them as one of: {', '.join(FORMATS)}"
        )
    return found


def format_with_code(code: int) -> FloatFormat | None:
    """Return the format with this code in blobs, or None."""
    return _BY_CODE.get(code)
