"""bg4_lz4: what the hub's own storage does to a chunk: bytes grouped by their place in four, then LZ4.

Every chunk of 64 KiB (the average of the hub's content-defined ones) is stored as it is, as LZ4, or grouped
and as LZ4, whichever is smallest; the hub's client guesses between the last two from a sample. Source: the
ByteGrouping4LZ4 scheme of xet-core, with LZ4 blocks where it has frames; ours, with the package lz4.

Payload: for every chunk its scheme (0 stored, 1 LZ4, 2 grouped) · length (u24) · bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import lz4.block
import numpy as np
from numpy.typing import NDArray

from .blob import Bytes, byte_view
from .codec import ByteCodec
from .errors import CorruptBlobError
from .threads import map_threads

__all__ = ["Bg4Lz4"]

_CHUNK = 1 << 16
_GROUPS = 4
_STORED, _PLAIN, _GROUPED = 0, 1, 2
_MAX_EXPANSION = 255


@dataclass(frozen=True)
class Bg4Lz4(ByteCodec):
    """Byte grouping and LZ4; see the module's docstring."""

    name: ClassVar[str] = "bg4_lz4"

    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return the chunks."""
        starts = range(0, len(data), _CHUNK)
        return b"".join(
            map_threads(lambda start: _encode_chunk(data[start : start + _CHUNK]), starts, threads)
        )

    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Decode the chunks into exactly `nbytes`."""
        if nbytes > len(data) * _MAX_EXPANSION:
            raise CorruptBlobError(f"bg4_lz4: {len(data)} bytes cannot hold {nbytes}")
        parts = []
        at = 0
        for start in range(0, nbytes, _CHUNK):
            head = int.from_bytes(data[at : at + 4], "little")
            scheme, length = head & 255, head >> 8
            at += 4 + length
            if at > len(data) or scheme > _GROUPED:
                raise CorruptBlobError("bg4_lz4: a chunk is cut short or of no known scheme")
            parts.append((start, scheme, data[at - length : at]))
        if at != len(data):
            raise CorruptBlobError("bg4_lz4: bytes are left over behind the last chunk")
        out = np.empty(nbytes, np.uint8)

        def work(part: tuple[int, int, memoryview]) -> None:
            start, scheme, chunk = part
            _decode_chunk(chunk, scheme, out[start : start + _CHUNK])

        map_threads(work, parts, threads)
        return out


def _encode_chunk(chunk: memoryview) -> bytes:
    flat = np.frombuffer(chunk, np.uint8)
    grouped = np.concatenate([flat[group::_GROUPS] for group in range(_GROUPS)])
    ways: list[tuple[int, bytes]] = [
        (_STORED, bytes(chunk)),
        (_PLAIN, lz4.block.compress(chunk, store_size=False)),
        (_GROUPED, lz4.block.compress(byte_view(grouped), store_size=False)),
    ]
    scheme, best = min(ways, key=lambda way: len(way[1]))
    return bytes((scheme,)) + len(best).to_bytes(3, "little") + best


def _decode_chunk(chunk: memoryview, scheme: int, out: NDArray[np.uint8]) -> None:
    if scheme == _STORED:
        plain = bytes(chunk)
    else:
        try:
            plain = lz4.block.decompress(chunk, uncompressed_size=out.size)
        except (lz4.block.LZ4BlockError, ValueError) as error:
            raise CorruptBlobError(f"bg4_lz4: {error}") from None
    if len(plain) != out.size:
        raise CorruptBlobError(f"bg4_lz4: a chunk has {len(plain)} bytes where {out.size} should be")
    flat = np.frombuffer(plain, np.uint8)
    if scheme != _GROUPED:
        out[...] = flat
        return
    at = 0
    for group in range(_GROUPS):
        size = len(range(group, out.size, _GROUPS))
        out[group::_GROUPS] = flat[at : at + size]
        at += size
