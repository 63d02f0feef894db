"""int8, int4 and nf4: what everybody runs to make weights small, as lossy codecs with a bound that holds.

int8 keeps a tensor as LLM.int8() does, one scale a row, int4 likewise on a grid of 15 levels; nf4 as QLoRA
does, one scale for 64 values (see `quantise`). Decoding gives the dequantised values in the original format.
The error hangs on the data: half a step of the grid, which is the largest magnitude over 254 (int8) or over
14 (int4), or half the widest gap between levels, 0.152 of the largest magnitude (nf4), and the rounding to
the original format. That is what `ErrorBound.of_max` says. It is the bound of the tensor's largest row or
block: a row of smaller values is nearer. Non-finite values, and any value that would miss the bound, stand in
an exception list.

Format of a payload: codes (int8, or two INT4 or NF4 codes to a byte) · scales (float32) · exception list.
Source: ours.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .blob import BlobBuffer, BlobInfo, read_varint, varint
from .codec import EXACT, Array, ArrayCodec, Encoded, ErrorBound, new_array
from .errors import CorruptBlobError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions
from .formats import FloatFormat
from .quantise import (
    BLOCK,
    NF4_LEVELS,
    Quantised,
    dequantise_int4,
    dequantise_int8,
    dequantise_nf4,
    quantisable,
    quantise_int4,
    quantise_int8,
    quantise_nf4,
)

__all__ = ["Int4", "Int8", "Nf4"]

_PIECE = 1 << 20  # values judged at a time
_ROUNDING = 1 + 2.0**-18  # of float32 arithmetic in the quantiser and its inverse


class _Absmax(ArrayCodec):
    """What they share: the exception list, and the sizes of codes and scales."""

    needs_shape: ClassVar[bool] = True
    half_step: ClassVar[float]

    @abstractmethod
    def _quantised(self, values: Array) -> Quantised:
        """Quantise an array of finite values."""

    @abstractmethod
    def _restored(self, codes: NDArray[np.uint8], scales: NDArray[np.float32], info: BlobInfo) -> Array:
        """Return the flat dequantised values of `info.count` elements."""

    @abstractmethod
    def _sizes(self, shape: tuple[int, ...], count: int) -> tuple[int, int]:
        """Return bytes of codes and number of scales."""

    def unsupported(self, format: FloatFormat) -> str | None:
        """Take the formats that the quantisers take."""
        return quantisable(format)

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Half a step, as a share of the largest magnitude, and half a unit of the format's last place."""
        if self.unsupported(format):
            return EXACT
        info: Any = ml_dtypes.finfo(format.dtype)  # type: ignore[no-untyped-call]
        of_max = self.half_step * _ROUNDING + 2.0 ** -(format.mantissa_bits + 1)
        return ErrorBound(absolute=float(info.smallest_subnormal), of_max=of_max)

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        shape, values = values.shape, values.reshape(-1)
        with np.errstate(invalid="ignore"):  # signalling NaNs
            finite = np.isfinite(values)
        whole = bool(finite.all())
        plain = values if whole else np.where(finite, values, values.dtype.type(0))
        made = self._quantised(plain.reshape(shape))
        assert made.scales is not None
        codes = made.codes.reshape(-1).view(np.uint8)
        info = BlobInfo(self.name, self.version, format, shape, False, b"", None, memoryview(b""))
        back = self._restored(codes, made.scales, info)
        odd = self._missed(plain, back, format) if whole else np.union1d(
            np.flatnonzero(~finite), self._missed(plain, back, format)
        )  # fmt: skip
        listed = exceptions_nbytes(values.size, odd.size, format.nbytes)
        end = codes.size + made.scales.nbytes
        buffer = BlobBuffer(end + listed)
        buffer.array[: codes.size] = codes
        buffer.array[codes.size : end] = made.scales.view(np.uint8)
        if listed:
            pack_exceptions(values, odd, buffer.array[end:])
        return Encoded(buffer.finish(end + listed), varint(odd.size))

    def _missed(self, values: Array, back: Array, format: FloatFormat) -> NDArray[np.intp]:
        """Return where finite values came back beyond the bound."""
        largest = float(np.abs(values).max(initial=0).astype(np.float64))
        bound = self.error_bound(format).of(largest)
        missed = []
        for start in range(0, values.size, _PIECE):
            part = slice(start, start + _PIECE)
            error = np.abs(back[part].astype(np.float64) - values[part].astype(np.float64))
            missed.append(np.flatnonzero(~(error <= bound.absolute)) + start)
        return np.concatenate(missed)

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        if quantisable(info.format):
            raise CorruptBlobError(f"{self.name}: {info.format.name} is not among its formats")
        codes_size, scales = self._sizes(info.shape, info.count)
        exceptions, at = read_varint(info.parameters, 0)
        listed = exceptions_nbytes(info.count, exceptions, info.format.nbytes)
        end = codes_size + 4 * scales
        if at != len(info.parameters) or exceptions > info.count or end + listed != len(info.payload):
            raise CorruptBlobError(f"{self.name}: the payload has the wrong size")
        codes = np.frombuffer(info.payload, np.uint8, codes_size)
        factors = np.frombuffer(info.payload[codes_size:end], np.uint8).view("<f4")
        target = new_array(info) if out is None else out
        target[...] = self._restored(codes, factors, info)
        restore_exceptions(target, exceptions, info.payload[end:])
        return target


@dataclass(frozen=True)
class Int8(_Absmax):
    """INT8, one absmax scale a row: everything under one index of the first axis."""

    name: ClassVar[str] = "int8"
    half_step: ClassVar[float] = 1 / 254

    def _quantised(self, values: Array) -> Quantised:
        return quantise_int8(values)

    def _restored(self, codes: NDArray[np.uint8], scales: NDArray[np.float32], info: BlobInfo) -> Array:
        return dequantise_int8(codes.view(np.int8), scales, info.format.dtype)

    def _sizes(self, shape: tuple[int, ...], count: int) -> tuple[int, int]:
        return count, _rows(shape)


@dataclass(frozen=True)
class Int4(_Absmax):
    """INT4 (codes −7 to 7), one absmax scale a row: everything under one index of the first axis.

    With one scale for a whole row this is the crudest of the three: on Gaussian rows of a thousand values a
    step is about half a standard deviation. It stands here as the baseline that papers compare with.
    """

    name: ClassVar[str] = "int4"
    half_step: ClassVar[float] = 1 / 14

    def _quantised(self, values: Array) -> Quantised:
        return quantise_int4(values)

    def _restored(self, codes: NDArray[np.uint8], scales: NDArray[np.float32], info: BlobInfo) -> Array:
        return dequantise_int4(codes, scales, (info.count,), info.format.dtype)

    def _sizes(self, shape: tuple[int, ...], count: int) -> tuple[int, int]:
        return -(-count // 2), _rows(shape)


@dataclass(frozen=True)
class Nf4(_Absmax):
    """NF4 in blocks of 64 consecutive values: 4.5 bits a value."""

    name: ClassVar[str] = "nf4"
    half_step: ClassVar[float] = float(np.diff(NF4_LEVELS.astype(np.float64)).max() / 2)

    def _quantised(self, values: Array) -> Quantised:
        return quantise_nf4(values)

    def _restored(self, codes: NDArray[np.uint8], scales: NDArray[np.float32], info: BlobInfo) -> Array:
        return dequantise_nf4(codes, scales, (info.count,), info.format.dtype)

    def _sizes(self, shape: tuple[int, ...], count: int) -> tuple[int, int]:
        return -(-count // 2), -(-count // BLOCK)


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) > 1 else 1
