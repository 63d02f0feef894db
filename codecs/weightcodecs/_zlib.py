"""zlib: DEFLATE (RFC 1950) from the standard library."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar

from .blob import Bytes
from .codec import ByteCodec
from .errors import ConfigError, CorruptBlobError

__all__ = ["Zlib"]

_MAX_EXPANSION = 1040  # DEFLATE's densest match: 258 bytes in 2 bits


@dataclass(frozen=True)
class Zlib(ByteCodec):
    """DEFLATE with zlib's header, one stream for an array.

    Attributes:
        level: 1 (fastest) to 9 (smallest).
    """

    name: ClassVar[str] = "zlib"
    level: int = 6

    def validate(self) -> None:
        """Check the level."""
        if not 1 <= self.level <= 9:
            raise ConfigError("zlib: level must be from 1 to 9")

    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return one zlib stream."""
        return zlib.compress(data, self.level)

    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Decode one stream of exactly `nbytes`."""
        if nbytes > len(data) * _MAX_EXPANSION:
            raise CorruptBlobError(f"zlib: {len(data)} bytes cannot hold {nbytes}")
        decoder = zlib.decompressobj()
        try:
            out = decoder.decompress(data, nbytes + 1)
        except zlib.error as error:
            raise CorruptBlobError(f"zlib: {error}") from None
        if len(out) != nbytes or not decoder.eof or decoder.unused_data:
            raise CorruptBlobError(f"zlib: the stream does not hold exactly {nbytes} bytes")
        return out
