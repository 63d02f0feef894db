"""pcodec: Pcodec, quantile bins and binary search of numbers (the package pcodec, extra `baselines`).

bfloat16 and 8-bit floats go in as unsigned integers, which it knows; float16, float32 and float64 as they
are.

Payload: its standalone format for every 2^18 values (its own page size), each behind its length (u24).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from .blob import BlobInfo
from .codec import Array, ArrayCodec, Encoded
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .peer import accept, check_expansion, encode_exact, require_package
from .threads import map_threads

__all__ = ["Pcodec"]

_PART = 1 << 18
_LENGTH = 3
_NATIVE = ("float16", "float32", "float64", "int8", "int16", "int32", "int64")


@dataclass(frozen=True)
class Pcodec(ArrayCodec):
    """Pcodec; see the module's docstring.

    Attributes:
        level: 0 (fastest) to 12 (smallest).
    """

    name: ClassVar[str] = "pcodec"
    level: int = 8

    def validate(self) -> None:
        """Check the level, and that the package is installed."""
        require_package("pcodec")
        if not 0 <= self.level <= 12:
            raise ConfigError("pcodec: level must be from 0 to 12")

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        package = _package()
        config = package.ChunkConfig(compression_level=self.level, enable_8_bit=format.nbytes == 1)
        numbers = np.ascontiguousarray(values.view(_number_type(format)))
        numbers = numbers if numbers.flags.aligned else numbers.copy()

        def work(start: int) -> bytes:
            part = bytes(package.standalone.simple_compress(numbers[start : start + _PART], config))
            return len(part).to_bytes(_LENGTH, "little") + part

        return encode_exact(values, b"".join(map_threads(work, range(0, numbers.size, _PART), threads)))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        check_expansion(self.name, info)
        parts = []
        at = 0
        for start in range(0, info.count, _PART):
            length = int.from_bytes(info.payload[at : at + _LENGTH], "little")
            at += _LENGTH + length
            if length == 0 or at > len(info.payload):
                raise CorruptBlobError("pcodec: a stream is cut short")
            parts.append((start, info.payload[at - length : at]))
        if at != len(info.payload):
            raise CorruptBlobError("pcodec: bytes are left over behind the last stream")
        numbers = np.empty(info.count, _number_type(info.format))
        map_threads(lambda part: _decode_part(part[1], numbers[part[0] : part[0] + _PART]), parts, threads)
        return accept(self.name, numbers, info, out)


def _decode_part(stream: memoryview, numbers: Array) -> None:
    try:
        progress = _package().standalone.simple_decompress_into(bytes(stream), numbers)
    except (RuntimeError, TypeError, ValueError) as error:
        raise CorruptBlobError(f"pcodec: {error}") from None
    except BaseException as error:
        # A Rust panic derives from BaseException, so that nobody catches it by accident.
        if type(error).__name__ != "PanicException":
            raise
        raise CorruptBlobError(f"pcodec: the library gave up: {error}") from None
    if not progress.finished or progress.n_processed != numbers.size:
        raise CorruptBlobError("pcodec: a stream does not hold as many numbers as it should")


def _number_type(format: FloatFormat) -> np.dtype[Any]:
    return format.dtype if format.name in _NATIVE else format.bits_dtype


@cache
def _package() -> Any:
    import pcodec

    return pcodec
