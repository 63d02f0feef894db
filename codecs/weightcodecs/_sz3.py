"""sz3: the prediction-based error-bounded compressor SZ3 (the package pysz, extra `baselines`), absolute
bound.

float32 and float64, as one dimension. Its bound is checked after encoding; values beyond it, and values
that are not finite, are kept as exceptions. Its decoder was not made for hostile input: decode blobs of
this codec only from those you trust.

Payload: its stream · exception list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from .blob import BlobInfo
from .codec import Array, ArrayCodec, Encoded, ErrorBound
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .peer import decode_bounded, encode_bounded, require_package

__all__ = ["Sz3"]

_FORMATS = ("float32", "float64")
_FEWEST = 16  # values; what is shorter is stored as it is


@dataclass(frozen=True)
class Sz3(ArrayCodec):
    """SZ3; see the module's docstring.

    Attributes:
        error_bound_absolute: largest |decoded − original|.
        algorithm: its predictor: "interp_lorenzo" (its default), "interp", "lorenzo_reg" or "nopred".
    """

    name: ClassVar[str] = "sz3"
    error_bound_absolute: float = 1e-4
    algorithm: Literal["interp_lorenzo", "interp", "lorenzo_reg", "nopred"] = "interp_lorenzo"

    def validate(self) -> None:
        """Check the bound, and that the package is installed."""
        require_package("pysz")
        if not 0 < self.error_bound_absolute < float("inf"):
            raise ConfigError("sz3: error_bound_absolute must be a positive number")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Say which formats the package takes."""
        return None if format.name in _FORMATS else f"the package takes {' and '.join(_FORMATS)}"

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """The bound asked for."""
        return ErrorBound(self.error_bound_absolute)

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        if values.size < _FEWEST:
            return None
        numbers = np.array(values)  # aligned, and its own

        def compress(safe: Array) -> bytes:
            package = _package()
            config = package.szConfig(safe.size)
            config.errorBoundMode = package.szErrorBoundMode.ABS
            config.absErrorBound = self.error_bound_absolute
            config.cmprAlgo = getattr(package.szAlgorithm, self.algorithm.upper())
            return bytes(package.sz.compress(safe, config)[0])

        return encode_bounded(
            numbers,
            self.error_bound_absolute,
            compress,
            lambda coded: _decompress(memoryview(coded), numbers.dtype, numbers.size),
        )

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        if info.format.name not in _FORMATS or info.count < _FEWEST:
            raise CorruptBlobError("sz3: the package does not write such arrays")
        return decode_bounded(
            self.name, info, out, lambda stream: _decompress(stream, info.format.dtype, info.count)
        )


def _decompress(stream: memoryview, dtype: np.dtype[Any], count: int) -> Array:
    try:
        decoded: Array = _package().sz.decompress(np.frombuffer(stream, np.uint8), dtype, (count,))[0]
    except (ValueError, RuntimeError, MemoryError) as error:
        raise CorruptBlobError(f"sz3: {error}") from None
    return decoded


@cache
def _package() -> Any:
    import pysz

    return pysz
