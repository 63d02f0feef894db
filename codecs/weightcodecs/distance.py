"""distance: Distance Encoding, the parameter-level deduplication of Elves (Su et al., "Everything You
Always Wanted to Know About Storage Compressibility of Pre-Trained ML Models but Were Afraid to Ask", PVLDB
17(8), 2024).

A value that stood in the array before becomes the distance to where it stood last; a new one is kept as it
is. It pays where values are few: quantised, rounded or sparse weights.

What differs from the authors' release: it has no decoder, ours has; it compares values, so that −0.0
becomes 0.0 and no NaN is ever found again, ours compares bit patterns and is lossless; its distances
silently break at 2^31, ours start anew there; and so that memory is bounded, the search forgets everything
after eight million different values.

`variant="paper"`: the release's stream. Payload: new values · bits in 64-bit words · the bits beyond the
last full word as characters 0 and 1. `variant="fast"` (ours): bit lengths entropy coded, the distance's
leading one left out, no repeat that costs more than the value. Payload: new values · coded lengths
(weightcodecs.entropy) · bits. With `entropy="zstd"` either is compressed once more, as Elves does with what
it has chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from .blob import BlobBuffer, BlobInfo, read_varint, varint
from .codec import Array, ArrayCodec, Encoded, new_array
from .entropy import decode_plane, encode_bound, encode_into
from .errors import ConfigError, CorruptBlobError
from .final_stage import compressed, opened
from .formats import FloatFormat, format_of
from .kernels.repeats import (
    MAX_LENGTH,
    PAPER_LENGTH,
    decode_bytes,
    decode_words,
    encode_bytes,
    encode_words,
    find_repeats,
)

__all__ = ["Distance", "paper_nbytes"]

_FAST, _PAPER, _FAST_ZSTD, _PAPER_ZSTD = 0, 1, 2, 3
_BLOCK = 1 << 18
_MAX_SLOTS_LOG2 = 24

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Distance(ArrayCodec):
    """Distance Encoding; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper" (the release's bit stream).
        entropy: "none", or "zstd" over the whole payload (kept where it is smaller).
        level: of entropy "zstd"; the release uses 3.
    """

    name: ClassVar[str] = "distance"
    variant: Literal["fast", "paper"] = "fast"
    entropy: Literal["none", "zstd"] = "none"
    level: int = 3

    def validate(self) -> None:
        """Check the level."""
        if not -100 <= self.level <= zstandard.MAX_COMPRESSION_LEVEL:
            raise ConfigError(f"distance: level must be from -100 to {zstandard.MAX_COMPRESSION_LEVEL}")

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        patterns = _patterns(values, format)
        paper = self.variant == "paper"
        encoded = _encode_paper(patterns) if paper else _encode_fast(patterns, threads)
        if self.entropy == "none":
            return encoded
        return compressed(encoded, self.level, _PAPER_ZSTD if paper else _FAST_ZSTD)

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        info = opened(opened(info, _FAST_ZSTD, _FAST), _PAPER_ZSTD, _PAPER)
        layout, new, size = _parameters(info)
        values = new * info.format.nbytes
        if values > len(info.payload):
            raise CorruptBlobError("distance: the payload cannot hold its new values")
        distinct = np.frombuffer(info.payload, info.format.bits_dtype, new)
        if not distinct.flags.aligned:
            distinct = distinct.copy()
            distinct.flags.writeable = False
        rest = np.frombuffer(info.payload, np.uint8, offset=values)
        if layout == _PAPER:
            words = _words(rest, size, info.count)
            target = _target(info, out)
            good = decode_words(words, size, distinct, target)
        else:
            if size > rest.size:
                raise CorruptBlobError("distance: the payload cannot hold its lengths")
            lengths = decode_plane(rest[:size], info.count, threads=threads)
            stream = np.zeros(rest.size - size + 8, np.uint8)
            stream[:-8] = rest[size:]
            target = _target(info, out)
            good = decode_bytes(lengths, stream, distinct, target)
        if not good:
            raise CorruptBlobError("distance: the stream does not give the array")
        if out is None:
            return target.view(info.format.dtype)
        if not np.shares_memory(target, out):
            out.view(target.dtype)[...] = target
        return out


def paper_nbytes(values: Array) -> int:
    """Return the size of the paper's stream of a non-empty array, even where it is larger than the array."""
    encoded = _encode_paper(_patterns(values.reshape(-1), format_of(values)))
    return encoded.nbytes - len(encoded.parameters)


def _patterns(values: Array, format: FloatFormat) -> Array:
    patterns = np.ascontiguousarray(values.view(format.bits_dtype))
    patterns = patterns if patterns.flags.aligned else patterns.copy()
    patterns.flags.writeable = False
    return patterns


def _table(count: int) -> NDArray[np.int64]:
    return np.zeros(1 << min(max((2 * count).bit_length(), 8), _MAX_SLOTS_LOG2), np.int64)


def _encode_paper(patterns: Array) -> Encoded:
    table, distances = _table(patterns.size), np.empty(min(_BLOCK, patterns.size), np.int64)
    distinct = np.empty(patterns.size, patterns.dtype)
    words = np.empty((patterns.size * (6 + PAPER_LENGTH)) // 64 + 2, np.uint64)
    used = new = at = 0
    held, free = np.uint64(0), np.uint64(64)
    for start in range(0, patterns.size, _BLOCK):
        stop = min(start + _BLOCK, patterns.size)
        used = find_repeats(patterns, start, stop, table, used, (1 << PAPER_LENGTH) - 1, distances)
        new, at, held, free = encode_words(
            patterns[start:stop], distances, distinct, new, words, at, np.uint64(held), np.uint64(free)
        )
    left = 64 - int(free)
    characters = np.frombuffer(f"{int(held):064b}"[:left].encode(), np.uint8)
    parts = [distinct[:new].view(np.uint8), words[:at].view(np.uint8), characters]
    buffer = BlobBuffer(sum(part.size for part in parts))
    np.concatenate(parts, out=buffer.array)
    parameters = bytes((_PAPER,)) + varint(new) + varint(64 * at + left)
    return Encoded(buffer.finish(buffer.array.size), parameters)


def _encode_fast(patterns: Array, threads: int) -> Encoded:
    count, width = patterns.size, 8 * patterns.itemsize
    table, distances = _table(count), np.empty(min(_BLOCK, count), np.int64)
    longest = (1 << min(width, MAX_LENGTH)) - 1
    buffer = BlobBuffer(patterns.nbytes + encode_bound(count) + (count * MAX_LENGTH) // 8 + 8)
    distinct = buffer.array[: patterns.nbytes].view(patterns.dtype)
    lengths = np.empty(count, np.uint8)
    stream = np.empty((count * (min(width, MAX_LENGTH) - 1)) // 8 + 16, np.uint8)
    used = new = at = 0
    held, bits = np.uint64(0), np.uint64(0)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        used = find_repeats(patterns, start, stop, table, used, longest, distances)
        new, at, held, bits = encode_bytes(
            patterns[start:stop],
            distances,
            distinct,
            new,
            lengths[start:stop],
            stream,
            at,
            np.uint64(held),
            np.uint64(bits),
        )
    at += int(bits) > 0
    end = new * patterns.itemsize
    size = encode_into(lengths, buffer.array[end:], threads=threads)
    buffer.array[end + size : end + size + at] = stream[:at]
    return Encoded(buffer.finish(end + size + at), bytes((_FAST,)) + varint(new) + varint(size))


def _parameters(info: BlobInfo) -> tuple[int, int, int]:
    """Return layout, number of new values, and bits (paper) or bytes of the coded lengths (fast)."""
    data = info.parameters
    if not data or data[0] > _PAPER:
        raise CorruptBlobError("distance: the parameters name no layout of ours")
    new, at = read_varint(data, 1)
    size, at = read_varint(data, at)
    if at != len(data) or new > info.count:
        raise CorruptBlobError("distance: the parameters do not add up")
    return data[0], new, size


def _words(rest: Bytes, bits: int, count: int) -> NDArray[np.uint64]:
    """Return the words of the paper's stream, the characters packed, with two zero words behind them."""
    full, left = divmod(bits, 64)
    if rest.size != 8 * full + left or count > bits:
        raise CorruptBlobError("distance: the bits do not fill the payload")
    characters = rest[8 * full :]
    if left and ((characters | 1) != ord("1")).any():
        raise CorruptBlobError("distance: the last bits are not 0 and 1")
    words = np.zeros(full + 3, np.uint64)
    words[:full] = np.frombuffer(rest[: 8 * full], "<u8")
    words[full] = int(bytes(characters).ljust(64, b"0"), 2)
    return words


def _target(info: BlobInfo, out: Array | None) -> Array:
    target = (new_array(info) if out is None else out).view(info.format.bits_dtype)
    return target if target.flags.aligned else np.empty(info.count, target.dtype)
