"""bfloat_parts: the high and the low bytes of bfloat16 values, each as a zlib stream.

Format of a payload: zlib stream of the high bytes · zlib stream of the low bytes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from weightcodecs import ArrayCodec, BlobInfo, ConfigError, CorruptBlobError, Encoded, FloatFormat

__all__ = ["BfloatParts"]

Array = NDArray[Any]


@dataclass(frozen=True)
class BfloatParts(ArrayCodec):
    """Splits bfloat16 into its two bytes, because the high one (sign, exponent) repeats itself.

    Attributes:
        level: zlib's, 1 to 9.
    """

    name: ClassVar[str] = "bfloat_parts"
    level: int = 6

    def validate(self) -> None:
        """Check the level."""
        if not 1 <= self.level <= 9:
            raise ConfigError("bfloat_parts: level must be from 1 to 9")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Take bfloat16 alone."""
        return None if format.name == "bfloat16" else "it splits the two bytes of bfloat16"

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        pairs = values.view(np.uint8).reshape(-1, 2)
        high, low = (zlib.compress(pairs[:, byte].tobytes(), self.level) for byte in (1, 0))
        # What the decoder must know beside the payload: where the second stream begins.
        return Encoded.of(high + low, len(high).to_bytes(8, "little"))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        middle = int.from_bytes(info.parameters, "little")
        if len(info.parameters) != 8 or middle > len(info.payload) or info.format.name != "bfloat16":
            raise CorruptBlobError("bfloat_parts: the parameters do not fit the payload")
        high, low = (_inflate(part, info.count) for part in (info.payload[:middle], info.payload[middle:]))
        flat = np.stack([low, high], axis=1).reshape(-1).view(info.format.dtype)
        if out is None:
            return flat
        out[...] = flat
        return out


def _inflate(data: memoryview, size: int) -> NDArray[np.uint8]:
    """Return exactly `size` bytes; nothing in a blob is trusted, so no more than that ever comes out."""
    decoder = zlib.decompressobj()
    try:
        inflated = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise CorruptBlobError(f"bfloat_parts: {error}") from None
    if len(inflated) != size or not decoder.eof or decoder.unused_data:
        raise CorruptBlobError(f"bfloat_parts: a part does not hold exactly {size} bytes")
    return np.frombuffer(inflated, np.uint8)
