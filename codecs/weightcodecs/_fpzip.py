"""fpzip: Lindstrom's predictive coder of floats, whose coder FM-Delta took over (package fpzip, extra
`baselines`).

Lossless, float32 and float64, as one dimension. The package allocates what its stream says and checks
nothing: damaged streams can crash the process. Decode blobs of this codec only from those you trust.

Its encoder writes beyond its buffer where an array expands: what gains less than a 32nd is found out
beforehand, with a coder that gives the same size, and stored as it is. That, and decoding again where
values are not finite, is part of the time it takes here.

Payload: its stream, or one for every 2^28 values, each behind its length (u32).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from .blob import BlobInfo
from .codec import Array, ArrayCodec, Encoded
from .errors import CorruptBlobError
from .formats import FloatFormat
from .kernels.range_coder import encode_fm_delta
from .peer import accept, check_expansion, encode_exact, require_package

__all__ = ["Fpzip"]

_PART = 1 << 28
_LEAST_GAIN = 64
_FORMATS = ("float32", "float64")


@dataclass(frozen=True)
class Fpzip(ArrayCodec):
    """fpzip, lossless; see the module's docstring."""

    name: ClassVar[str] = "fpzip"

    def validate(self) -> None:
        """Check that the package is installed."""
        require_package("fpzip")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Say which formats the package takes."""
        return None if format.name in _FORMATS else f"the package takes {' and '.join(_FORMATS)}"

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        parts = []
        for start in range(0, values.size, _PART):
            # The package wants aligned memory that it may write to.
            numbers = np.array(values[start : start + _PART])
            if _may_expand(numbers):
                return None
            part = _package().compress(numbers)
            if not np.isfinite(numbers).all() and not _same(_package().decompress(part), numbers):
                return None
            parts += [len(part).to_bytes(4, "little"), part]
        return encode_exact(values, b"".join(parts))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        check_expansion(self.name, info)
        if info.format.name not in _FORMATS:
            raise CorruptBlobError("fpzip: the package does not write arrays of this format")
        parts = []
        at = 0
        for _ in range(0, info.count, _PART):
            length = int.from_bytes(info.payload[at : at + 4], "little")
            parts.append(bytes(info.payload[at + 4 : at + 4 + length]))
            at += 4 + length
        if at != len(info.payload) or not all(parts):
            raise CorruptBlobError("fpzip: the streams do not fill the payload")
        try:
            decoded = [_package().decompress(part).reshape(-1) for part in parts]
        except (ValueError, MemoryError, _package().FpzipReadError) as error:
            raise CorruptBlobError(f"fpzip: {error}") from None
        return accept(self.name, np.concatenate(decoded) if len(decoded) > 1 else decoded[0], info, out)


def _may_expand(numbers: Array) -> bool:
    """Whether the package's output might not fit the buffer it makes, which ends the process.

    With one dimension its predictor is the value before and its coder is FM-Delta's, whose size this is.
    """
    before = np.zeros_like(numbers)
    before[1:] = numbers[:-1]
    coded = encode_fm_delta(before, numbers, 0, (numbers.size, 1, 1, 1))
    return coded is None or len(coded) + _LEAST_GAIN > numbers.nbytes - numbers.nbytes // 32


def _same(decoded: Array, numbers: Array) -> bool:
    return decoded.tobytes() == numbers.tobytes()


@cache
def _package() -> Any:
    import fpzip

    return fpzip
