"""zipnn_lossy: fixed point, then byte planes (Hershcovitch et al., "Lossless and Near-Lossless Compression
for Foundation Models", arXiv 2404.15198, tunable lossy compression).

A weight θ becomes the whole number q = θ·2^b, of the float's own width; everything below 2^−b is gone. The
bytes of the q are grouped and entropy-coded as in zipnn. Decoding divides, without rounding: a q is either
below 2^24 (2^11 for float16, 2^53 for float64) or came from a number with no more significant bits.

What does not fit is kept exactly. Three rules say what fits: "unit", |θ| ≤ 1 (the paper's text); "shipped",
|θ| < width − 1 − b (the package's test, which takes the exponent for the bound); "exact",
|θ| < 2^(width−1−b), all that the integers can hold. `variant="paper"` keeps a tensor exact as a whole if one
value does not fit, as the authors do; `variant="fast"` (ours) keeps an exception list and codes the rest.
NaN, infinities and, with sign_magnitude, the sign of zeros come back exactly; two's complement has one zero.

The authors cut off (truncate), which loses up to a unit; `rounding="nearest"` loses half of that. They store
two's complement, whose high bytes flip with the sign; sign_magnitude (their option) keeps the sign bits in an
array of their own.

Formats: float32 (int32), float16 (int16), float64 (int64). bfloat16 is refused: its numbers have 8
significant bits, and 16-bit fixed point stores more than that for large ones, and none for small ones.

Format of a payload: planes (see plane_stream) of the integers · sign bits, 8 a byte, lowest first · exception
list. With mode 1 instead: the planes of the floats themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .blob import BlobBuffer, BlobInfo, read_varint, varint
from .codec import EXACT, Array, ArrayCodec, Encoded, ErrorBound, new_array
from .entropy import METHODS
from .errors import ConfigError, CorruptBlobError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions
from .formats import FloatFormat, get_format
from .plane_stream import decode_planes, encode_planes, piece_log2
from .threads import map_threads

__all__ = ["ZipnnLossy"]

_FIXED, _EXACT = 0, 1
_TWOS_COMPLEMENT, _SIGN_MAGNITUDE = 0, 1
_BLOCK = 1 << 16
_FORMATS = ("float32", "float16", "float64")


@dataclass(frozen=True)
class ZipnnLossy(ArrayCodec):
    """ZipNN's tunable lossy compression; see the module's docstring.

    Attributes:
        factor: b: weights are multiples of 2^−b afterwards. 1 to width − 2; the authors' default is 27.
        rounding: "nearest" (within 2^−(b+1)) or "truncate" (toward zero, within 2^−b, the authors').
        sign: "sign_magnitude" or "twos_complement".
        range_rule: which values fit: "exact", "unit" or "shipped".
        variant: what happens to the others: "fast" lists them, "paper" keeps their whole tensor exact.
        entropy: as for zipnn.
    """

    name: ClassVar[str] = "zipnn_lossy"
    factor: int = 27
    rounding: Literal["nearest", "truncate"] = "nearest"
    sign: Literal["sign_magnitude", "twos_complement"] = "sign_magnitude"
    range_rule: Literal["exact", "unit", "shipped"] = "exact"
    variant: Literal["fast", "paper"] = "fast"
    entropy: Literal["auto", "huffman", "ans", "smallest"] = "auto"

    def validate(self) -> None:
        """Check the factor."""
        if not 1 <= self.factor <= 62:
            raise ConfigError("zipnn_lossy: factor must be from 1 to 62 (30 for float32, 14 for float16)")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Say why a format cannot be held in fixed point of its own width."""
        if format.name == "bfloat16":
            return (
                "16-bit fixed point would not make its 8 significant bits smaller; "
                "use zipnn, or widen the array to float32"
            )
        if format.name not in _FORMATS:
            return f"fixed point is defined for {', '.join(_FORMATS)}"
        if self.factor > format.bits - 2:
            most = format.bits - 2
            return f"factor {self.factor} leaves int{format.bits} no room for 1.0; use {most} or less"
        return None

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """2^−b if truncated, half of that if rounded; absolute."""
        if self.unsupported(format):
            return EXACT
        return ErrorBound(absolute=2.0 ** -(self.factor + (self.rounding == "nearest")))

    def _limit(self, format: FloatFormat) -> tuple[float, bool]:
        """Return the magnitude up to which values fit, and whether it fits itself."""
        if self.range_rule == "unit":
            return 1.0, True
        room = format.bits - 1 - self.factor
        return (2.0**room if self.range_rule == "exact" else float(room)), False

    def _encode(self, values: Array, format: FloatFormat, reference: Array | None, threads: int) -> Encoded:
        allowed = METHODS[self.entropy]
        outside = self._outside(values, format, threads)
        listed = exceptions_nbytes(values.size, outside.size, format.nbytes)
        # A list of a quarter of the array costs more than the low bits save.
        if outside.size and (self.variant == "paper" or listed > values.nbytes // 4):
            payload = encode_planes(values, None, format, allowed, threads)
            return Encoded(payload, bytes((_EXACT, piece_log2(format))))
        magnitude = self.sign == "sign_magnitude"
        codes, signs = self._codes(values, outside, format, threads)
        plain = get_format(f"uint{format.bits}")
        planes = encode_planes(codes, None, plain, allowed, threads)
        middle = planes.used + signs.size
        buffer = BlobBuffer(middle + listed)
        buffer.array[: planes.used] = planes.array[: planes.used]
        buffer.array[planes.used : middle] = signs
        if listed:
            pack_exceptions(values, outside, buffer.array[middle:])
        layout = _SIGN_MAGNITUDE if magnitude else _TWOS_COMPLEMENT
        header = bytes((_FIXED, piece_log2(plain), layout, self.factor)) + varint(outside.size)
        return Encoded(buffer.finish(middle + listed), header)

    def _outside(self, values: Array, format: FloatFormat, threads: int) -> NDArray[np.intp]:
        limit, inclusive = self._limit(format)
        fits = np.less_equal if inclusive else np.less

        def work(start: int) -> NDArray[np.intp]:
            block = values[start : start + _BLOCK]
            with np.errstate(invalid="ignore"):  # signalling NaN
                wide = np.abs(block).astype(np.float64)
                return np.flatnonzero(~fits(wide, limit)) + start

        found = map_threads(work, range(0, values.size, _BLOCK), threads)
        return np.concatenate(found)

    def _codes(
        self, values: Array, outside: NDArray[np.intp], format: FloatFormat, threads: int
    ) -> tuple[Array, NDArray[np.uint8]]:
        """Return the integers as unsigned words, 0 where a value is outside, and the packed sign bits."""
        magnitude = self.sign == "sign_magnitude"
        codes = np.empty(values.size, format.bits_dtype)
        signs = np.empty(-(-values.size // 8) if magnitude else 0, np.uint8)
        # float16 is scaled as float32: it has no arithmetic of its own, and 2^15 would overflow it.
        wide = np.float64 if format.bits == 64 else np.float32
        integer = np.dtype(f"i{format.nbytes}")

        def work(start: int) -> None:
            block = values[start : start + _BLOCK].astype(wide)
            low, high = np.searchsorted(outside, (start, start + block.size))
            block[outside[low:high] - start] = 0
            np.multiply(block, wide(2.0**self.factor), out=block)
            if self.rounding == "nearest":
                np.rint(block, out=block)
            if magnitude:
                bits = np.packbits(np.signbit(block), bitorder="little")
                signs[start // 8 : start // 8 + bits.size] = bits
                np.abs(block, out=block)
            codes[start : start + block.size] = block.astype(integer).view(format.bits_dtype)

        map_threads(work, range(0, values.size, _BLOCK), threads)
        return codes, signs

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        data, format = info.parameters, info.format
        if format.name not in _FORMATS or len(data) < 2:
            raise CorruptBlobError(f"zipnn_lossy: the parameters do not fit {format.name}")
        if data[0] == _EXACT and len(data) == 2:
            return decode_planes(info.payload, info.count, None, format, data[1], out, threads)
        if len(data) < 5 or data[0] != _FIXED or data[2] > 1 or not 1 <= data[3] <= format.bits - 2:
            raise CorruptBlobError("zipnn_lossy: the parameters do not add up")
        exceptions, at = read_varint(data, 4)
        if at != len(data) or exceptions > info.count:
            raise CorruptBlobError("zipnn_lossy: the parameters do not add up")
        magnitude = data[2] == _SIGN_MAGNITUDE
        listed = exceptions_nbytes(info.count, exceptions, format.nbytes)
        end = len(info.payload) - listed
        middle = end - (-(-info.count // 8) if magnitude else 0)
        if middle < 0:
            raise CorruptBlobError("zipnn_lossy: the payload is too short for its signs and exceptions")
        plain = get_format(f"uint{format.bits}")
        codes = decode_planes(info.payload[:middle], info.count, None, plain, data[1], None, threads)
        signs = np.frombuffer(info.payload[middle:end], np.uint8) if magnitude else None
        target = new_array(info) if out is None else out
        _floats(codes, signs, data[3], target, threads)
        restore_exceptions(target, exceptions, info.payload[end:])
        return target


def _floats(codes: Array, signs: NDArray[np.uint8] | None, factor: int, target: Array, threads: int) -> None:
    integer = np.dtype(f"i{target.itemsize}")
    wide: Any = np.float64 if target.itemsize == 8 else np.float32
    unit = wide(2.0**-factor)

    def work(start: int) -> None:
        block: Any = codes[start : start + _BLOCK].view(integer).astype(wide)
        block *= unit
        if signs is not None:
            bits = np.unpackbits(signs[start // 8 :], count=block.size, bitorder="little")
            np.copysign(block, np.float32(0.5) - bits, out=block)
        target[start : start + block.size] = block

    map_threads(work, range(0, codes.size, _BLOCK), threads)
