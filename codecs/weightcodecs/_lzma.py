"""xz: LZMA2 in the .xz container, from the standard library."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from typing import ClassVar

from .blob import Bytes
from .codec import ByteCodec
from .errors import ConfigError, CorruptBlobError

__all__ = ["Xz"]

_MAX_EXPANSION = 1 << 14
_PRESET_DICTIONARY = [18, 20, 21, 22, 22, 23, 23, 24, 25, 26]  # log2, as `man xz` lists them
_MIN_DICTIONARY = 4 << 10
_DECODER_MEMORY = 1 << 20  # beside the dictionary


@dataclass(frozen=True)
class Xz(ByteCodec):
    """LZMA2, one .xz stream for an array. Small and slow.

    Attributes:
        preset: 0 (fastest) to 9 (smallest).
    """

    name: ClassVar[str] = "xz"
    preset: int = 6

    def validate(self) -> None:
        """Check the preset."""
        if not 0 <= self.preset <= 9:
            raise ConfigError("xz: preset must be from 0 to 9")

    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return one .xz stream; the blob has a checksum, so the stream needs none."""
        # A dictionary larger than the data finds nothing more, and a decoder must allocate it.
        size = min(1 << _PRESET_DICTIONARY[self.preset], max(len(data), _MIN_DICTIONARY))
        filters = [{"id": lzma.FILTER_LZMA2, "preset": self.preset, "dict_size": size}]
        return lzma.compress(data, check=lzma.CHECK_NONE, filters=filters)

    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Decode one stream of exactly `nbytes`."""
        if nbytes > len(data) * _MAX_EXPANSION:
            raise CorruptBlobError(f"xz: {len(data)} bytes cannot hold {nbytes}")
        try:
            # The container rounds a dictionary's size up by less than a half.
            limit = 2 * max(nbytes, _MIN_DICTIONARY) + _DECODER_MEMORY
            decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=limit)
            out = decoder.decompress(data, nbytes + 1)
        except lzma.LZMAError as error:
            raise CorruptBlobError(f"xz: {error}") from None
        if len(out) != nbytes or not decoder.eof or decoder.unused_data:
            raise CorruptBlobError(f"xz: the stream does not hold exactly {nbytes} bytes")
        return out
