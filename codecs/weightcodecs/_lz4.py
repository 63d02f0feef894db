"""lz4: LZ4 block format, or its high-compression mode, through python-lz4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import lz4.block

from .blob import Bytes
from .codec import ByteCodec
from .errors import ConfigError, CorruptBlobError

__all__ = ["Lz4"]

_MAX_EXPANSION = 255
_MAX_BLOCK = 0x7E000000  # LZ4_MAX_INPUT_SIZE


@dataclass(frozen=True)
class Lz4(ByteCodec):
    """LZ4 blocks of at most 2,113,929,216 bytes, one for almost every array.

    Attributes:
        level: 0 for the fast mode, 1 to 12 for high compression.
        acceleration: of the fast mode: 1 and up, faster and larger.
    """

    name: ClassVar[str] = "lz4"
    level: int = 0
    acceleration: int = 1

    def validate(self) -> None:
        """Check the level and the acceleration."""
        if not 0 <= self.level <= 12 or not 1 <= self.acceleration <= 65537:
            raise ConfigError("lz4: level must be from 0 to 12 and acceleration from 1 to 65537")

    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return the blocks, each behind its length (u32); a single block stands alone."""
        if len(data) <= _MAX_BLOCK:
            return self._block(data)
        parts: list[bytes] = []
        for start in range(0, len(data), _MAX_BLOCK):
            block = self._block(data[start : start + _MAX_BLOCK])
            parts += [len(block).to_bytes(4, "little"), block]
        return b"".join(parts)

    def _block(self, data: memoryview) -> bytes:
        if self.level:
            return lz4.block.compress(  # type: ignore[no-any-return]
                data, mode="high_compression", compression=self.level, store_size=False
            )
        return lz4.block.compress(  # type: ignore[no-any-return]
            data, mode="fast", acceleration=self.acceleration, store_size=False
        )

    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Decode the blocks into exactly `nbytes`."""
        if nbytes > len(data) * _MAX_EXPANSION + 64:
            raise CorruptBlobError(f"lz4: {len(data)} bytes cannot hold {nbytes}")
        if nbytes <= _MAX_BLOCK:
            return _decode_block(data, nbytes)
        out = bytearray()
        at = 0
        for start in range(0, nbytes, _MAX_BLOCK):
            length = int.from_bytes(data[at : at + 4], "little")
            block = data[at + 4 : at + 4 + length]
            out += _decode_block(block, min(_MAX_BLOCK, nbytes - start))
            at += 4 + length
        if at != len(data):
            raise CorruptBlobError("lz4: bytes are left over behind the last block")
        return out


def _decode_block(block: memoryview, nbytes: int) -> bytes:
    try:
        out: bytes = lz4.block.decompress(block, uncompressed_size=nbytes)
    except (lz4.block.LZ4BlockError, ValueError, OverflowError, MemoryError) as error:
        raise CorruptBlobError(f"lz4: {error}") from None
    if len(out) != nbytes:
        raise CorruptBlobError(f"lz4: {len(out)} bytes came out where {nbytes} should")
    return out
