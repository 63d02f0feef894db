"""zstd: Zstandard (RFC 8878) through python-zstandard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import zstandard

from .blob import Bytes
from .codec import ByteCodec
from .errors import ConfigError, CorruptBlobError

__all__ = ["Zstd"]

# A frame's densest block stands for 128 KiB in 4 bytes; more than that cannot come out of honest input.
_MAX_EXPANSION = (128 << 10) // 4


@dataclass(frozen=True)
class Zstd(ByteCodec):
    """Zstandard, one frame for an array.

    Attributes:
        level: −100 (fastest) to 22 (smallest); the papers use 3.
    """

    name: ClassVar[str] = "zstd"
    level: int = 3

    def validate(self) -> None:
        """Check the level."""
        if not -100 <= self.level <= zstandard.MAX_COMPRESSION_LEVEL:
            raise ConfigError(f"zstd: level must be from -100 to {zstandard.MAX_COMPRESSION_LEVEL}")

    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return one zstd frame, which holds the size of its content."""
        workers = threads if threads > 1 else 0
        return zstandard.ZstdCompressor(level=self.level, threads=workers).compress(data)

    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Decode one frame of exactly `nbytes`; a frame has no parallel decoder, so `threads` is not used."""
        try:
            size = zstandard.frame_content_size(data)
            if size != nbytes or nbytes > len(data) * _MAX_EXPANSION:
                raise CorruptBlobError(f"zstd: the frame says {size} bytes, the blob {nbytes}")
            return zstandard.ZstdDecompressor().decompress(
                data, max_output_size=nbytes, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise CorruptBlobError(f"zstd: {error}") from None
