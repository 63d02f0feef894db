"""bitx: XOR with the base model, by fields (Wang et al., "ZipLLM", NSDI 2026, arXiv 2505.06252).

A fine-tuned weight mostly differs from its base in a few low bits, so that base XOR weight is mostly zeros at
the top. `variant="paper"` is the released code: the array as 16-bit words whatever its format, bits 14 … 7
(the bfloat16 exponent) of every word in one plane, sign and low seven bits in the other, zstd level 3 each.
Its payload is the authors' stored blob: length of the first frame (u64, little-endian) · frame · frame. Where
the array has an odd number of bytes, theirs loses the last one; ours puts it behind (8-bit floats and
integers). `variant="fast"` (ours, see plane_stream) cuts planes where each float format has its fields, and
codes them with runs, Huffman and ANS, chunk by chunk: zstd's matches find nothing in XOR noise, and its
entropy stage is what the published format loses most on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from .blob import BlobInfo, byte_view
from .codec import Array, DeltaCodec, Encoded
from .entropy import METHODS
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .kernels.planes import BLOCK, merge_piece, split_piece
from .plane_stream import decode_planes, encode_planes, piece_log2, words
from .threads import map_threads

__all__ = ["Bitx"]

_FAST, _PAPER = 0, 1
_MAX_EXPANSION = (128 << 10) // 4  # of a zstd frame: a block of 128 KiB in 4 bytes
_BFLOAT16 = np.array((0x7F80, 0x80, 0x7F, 8), np.uint16)  # see kernels.planes.rotation


@dataclass(frozen=True)
class Bitx(DeltaCodec):
    """BitX; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper" (the released code's split and zstd).
        entropy: what a chunk may be coded with, variant fast only: "auto" (runs, Huffman, or ANS where it
            saves 1/16 more), "huffman", "ans", or "smallest".
        level: zstd level, variant paper only.
    """

    name: ClassVar[str] = "bitx"
    variant: Literal["fast", "paper"] = "fast"
    entropy: Literal["auto", "huffman", "ans", "smallest"] = "auto"
    level: int = 3

    def validate(self) -> None:
        """Check that the options go together."""
        if not 1 <= self.level <= zstandard.MAX_COMPRESSION_LEVEL:
            raise ConfigError(f"bitx: level must be from 1 to {zstandard.MAX_COMPRESSION_LEVEL}")
        if self.variant == "paper" and self.entropy != "auto":
            raise ConfigError("bitx: variant=paper ends in zstd; leave entropy=auto with it")

    def _encode(self, values: Array, format: FloatFormat, reference: Array | None, threads: int) -> Encoded:
        if self.variant == "fast":
            payload = encode_planes(values, reference, format, METHODS[self.entropy], threads)
            return Encoded(payload, bytes((_FAST, piece_log2(format))))
        assert reference is not None
        mine, tail = _halves(values)
        theirs, base_tail = _halves(reference)
        planes = np.empty((2, mine.size), np.uint8)
        scratch = np.empty(BLOCK, np.uint16)
        split_piece(mine, theirs, _BFLOAT16, scratch, planes.reshape(-1), mine.size)

        def frame(plane: NDArray[np.uint8]) -> bytes:
            return zstandard.ZstdCompressor(level=self.level).compress(byte_view(plane))

        frames = map_threads(frame, planes, threads)
        length, odd = len(frames[0]).to_bytes(8, "little"), (tail ^ base_tail).tobytes()
        return Encoded.of(length + frames[0] + frames[1] + odd, bytes((_PAPER,)))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        parameters = info.parameters
        if len(parameters) == 2 and parameters[0] == _FAST:
            return decode_planes(
                info.payload, info.count, reference, info.format, parameters[1], out, threads
            )
        if parameters != bytes((_PAPER,)):
            raise CorruptBlobError("bitx: the parameters name no variant")
        assert reference is not None
        high, low, odd = _frames(info)
        flat = np.empty(info.count, info.format.dtype) if out is None else out
        base, base_tail = _halves(reference)
        target = np.empty(base.size, np.uint16)
        places = np.array((0, -1), np.int64)  # the first in `planes`, the second in `stream`
        merge_piece(low, high, places, base, _BFLOAT16, target)
        flat.view(np.uint8)[: target.nbytes] = target.view(np.uint8)
        flat.view(np.uint8)[target.nbytes :] = odd ^ base_tail
        return flat


def _halves(values: Array) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Return flat values as 16-bit words, and the byte left over if there is one."""
    flat: NDArray[Any] = values.view(np.uint8)
    even = flat.size // 2 * 2
    return words(flat[:even].view(np.uint16)), flat[even:]


def _frames(info: BlobInfo) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both planes, read-only, and the odd byte's difference, if there is one."""
    payload, size = info.payload, info.nbytes // 2
    end = len(payload) - info.nbytes % 2
    length = int.from_bytes(payload[:8], "little")
    if end < 8 or length > end - 8:
        raise CorruptBlobError("bitx: the first frame is longer than the payload")
    high = _plane(payload[8 : 8 + length], size)
    low = _plane(payload[8 + length : end], size)
    return high, low, np.frombuffer(payload[end:], np.uint8)


def _plane(frame: memoryview, size: int) -> NDArray[np.uint8]:
    try:
        if zstandard.frame_content_size(frame) != size or size > len(frame) * _MAX_EXPANSION:
            raise CorruptBlobError(f"bitx: a frame does not hold {size} bytes")
        data = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptBlobError(f"bitx: {error}") from None
    if len(data) != size:
        raise CorruptBlobError("bitx: a frame is shorter than it says")
    return np.frombuffer(data, np.uint8)
