"""cast: keep weights in a narrower float format, the baseline that everybody runs already.

Rounds to nearest, ties to even, and widens again when decoding. Values that the narrower format cannot hold
within the bound (finite values that would overflow, NaN payloads that would change) stand in an exception
list, so that the bound holds for every value. An integer or bool array, or one that is not wider than the
target, is stored as it is.

Format of a payload: the narrow values · exception list. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from .blob import BlobBuffer, BlobInfo, read_varint, varint
from .codec import EXACT, Array, ArrayCodec, Encoded, ErrorBound, new_array
from .errors import ConfigError, CorruptBlobError, UnknownNameError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions
from .formats import FORMATS, FloatFormat, format_with_code, get_format

__all__ = ["Cast"]


@dataclass(frozen=True)
class Cast(ArrayCodec):
    """Rounds floats to a narrower format.

    Attributes:
        to: name of the narrower float format, for example "bfloat16".
    """

    name: ClassVar[str] = "cast"
    to: str = "bfloat16"

    def validate(self) -> None:
        """Check that `to` is a float format."""
        floats = [name for name, format in FORMATS.items() if format.is_float]
        if self.to not in floats:
            raise ConfigError(f"cast: {UnknownNameError('float format', self.to, floats)}")

    def _narrows(self, format: FloatFormat) -> bool:
        return format.is_float and get_format(self.to).bits < format.bits

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Half a unit in the last place of the narrower format: relative, and absolute near zero."""
        if not self._narrows(format):
            return EXACT
        info: Any = ml_dtypes.finfo(get_format(self.to).dtype)  # type: ignore[no-untyped-call]
        return ErrorBound(
            absolute=float(info.smallest_subnormal) / 2,
            relative=2.0 ** -(get_format(self.to).mantissa_bits + 1),
        )

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        if not self._narrows(format):
            return None
        narrow_format = get_format(self.to)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            narrow = _rounded_once(values, narrow_format).astype(narrow_format.dtype)
            back = narrow.astype(format.dtype)
            unlike = values.view(format.bits_dtype) != back.view(format.bits_dtype)
            odd = np.flatnonzero(unlike & ~(np.isfinite(values) & np.isfinite(back)))
        size = exceptions_nbytes(values.size, odd.size, format.nbytes)
        buffer = BlobBuffer(narrow.nbytes + size)
        buffer.array[: narrow.nbytes] = narrow.view(np.uint8)
        if size:
            pack_exceptions(values, odd, buffer.array[narrow.nbytes :])
        return Encoded(buffer.finish(narrow.nbytes + size), bytes((narrow_format.code,)) + varint(odd.size))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        narrow_format = format_with_code(info.parameters[0]) if info.parameters else None
        if narrow_format is None or not narrow_format.is_float or not info.format.is_float:
            raise CorruptBlobError("cast: the parameters name no float format")
        if narrow_format.bits >= info.format.bits:
            raise CorruptBlobError(f"cast: {narrow_format.name} is not narrower than {info.format.name}")
        exceptions, at = read_varint(info.parameters, 1)
        size = info.count * narrow_format.nbytes
        listed = exceptions_nbytes(info.count, exceptions, info.format.nbytes)
        if at != len(info.parameters) or exceptions > info.count or size + listed != len(info.payload):
            raise CorruptBlobError("cast: the payload has the wrong size")
        narrow = np.frombuffer(info.payload[:size], narrow_format.bits_dtype).view(narrow_format.dtype)
        target = new_array(info) if out is None else out
        with np.errstate(invalid="ignore"):
            target[...] = narrow
        restore_exceptions(target, exceptions, info.payload[size:])
        return target


def _rounded_once(values: Array, narrow: FloatFormat) -> Array:
    """Return `values` such that casting them to `narrow` rounds once.

    ml_dtypes casts float64 by way of float32, which rounds twice: a value just above a tie of the narrow
    format becomes the tie first. Rounding to odd on the way (Boldo and Melquiond, "When double rounding is
    odd", 2005) keeps the last bit as a witness, and float32 has more than the two bits beyond any of them
    that this needs.
    """
    if values.dtype != np.float64 or narrow.nbytes * 8 >= 32 or narrow.name == "float16":
        return values
    near = values.astype(np.float32)
    bits = near.view(np.uint32)
    inexact = np.isfinite(near) & (near != values)
    # Towards zero first: a magnitude that was rounded up is one pattern less. Then the last bit is set.
    bits -= (inexact & (np.abs(near) > np.abs(values))).astype(np.uint32)
    bits |= inexact
    return near
