"""brotli: Brotli (RFC 7932) through the Brotli package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import brotli

from .blob import Bytes
from .codec import ByteCodec
from .errors import ConfigError, CorruptBlobError

__all__ = ["Brotli"]

_STEP = 16 << 20


@dataclass(frozen=True)
class Brotli(ByteCodec):
    """Brotli, one stream for an array.

    Attributes:
        quality: 0 (fastest) to 11 (smallest, very slow).
        window: log2 of the window, 10 to 24.
    """

    name: ClassVar[str] = "brotli"
    quality: int = 5
    window: int = 22

    def validate(self) -> None:
        """Check the quality and the window."""
        if not 0 <= self.quality <= 11 or not 10 <= self.window <= 24:
            raise ConfigError("brotli: quality must be from 0 to 11 and window from 10 to 24")

    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return one Brotli stream."""
        return brotli.compress(data, quality=self.quality, lgwin=self.window)  # type: ignore[no-any-return]

    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Decode one stream of exactly `nbytes`.

        A few bytes can stand for any number of zeros, so the output grows only as it really comes out.
        """
        decoder = brotli.Decompressor()
        out: list[bytes] = []
        size = 0
        try:
            piece = decoder.process(data, output_buffer_limit=min(nbytes + 1, _STEP))
            while True:
                size += len(piece)
                out.append(piece)
                if decoder.is_finished() or size > nbytes or not (piece or decoder.can_accept_more_data()):
                    break
                if decoder.can_accept_more_data():
                    raise CorruptBlobError("brotli: the stream was cut short")
                piece = decoder.process(b"", output_buffer_limit=min(nbytes + 1 - size, _STEP))
        except brotli.error as error:
            raise CorruptBlobError(f"brotli: {error}") from None
        if size != nbytes or not decoder.is_finished():
            raise CorruptBlobError(f"brotli: {size} bytes came out where {nbytes} should")
        return out[0] if len(out) == 1 else b"".join(out)
