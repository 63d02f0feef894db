"""ZipNN as published: byte groups in chunks of 256 KiB, each group of each chunk coded by a rule.

Facts: arXiv 2411.05239 and the zipnn package. A chunk is 256 KiB of the array (128 KiB for 8-bit floats); its
groups are the byte planes of the turned words. A group is coded with Huffman and kept so only below 0.95 of
its size. With the automatic rule it is first looked at: all zeros are truncated (no bytes at all); more than
90 % zeros, or a run of zeros longer than 3 % of it, go to zstd (level 3, the package's); the rest to Huffman.
The Huffman coder is the one of this package, with the same limit of 11 bits a code as the authors'.
Without the rule every group goes to Huffman, or every one to zstd: the two sides of the paper's ablation.

The paper also skips chunks of a group after one that did not compress ("a few"; the package tries always):
`skip` is how many.

Payload: size of every chunk's group (3 bytes each, group by group, highest byte first) · the groups' bytes.
A group is empty (zeros), or starts with its method: those of kernels.plane_chunk, or 90 for a zstd frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from .blob import BlobBuffer, byte_view
from .errors import CorruptBlobError
from .formats import FloatFormat
from .kernels.jit import kernel
from .kernels.plane_chunk import ALLOW_HUFFMAN, RAW, decode_chunk, encode_chunk
from .kernels.planes import BLOCK, merge_piece, rotation, split_piece
from .plane_stream import SIZE_BYTES, chunk_offsets, store_sizes, words
from .threads import map_threads

__all__ = ["CHUNK_BYTES", "KEEP_BELOW", "decode_paper", "encode_paper", "paper_refusal"]

CHUNK_BYTES = 1 << 18
KEEP_BELOW = 0.95
_ZERO_SHARE, _ZERO_RUN = 0.90, 0.03
_ZSTD, _ZSTD_LEVEL = 90, 3
_FORMATS = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")

Array = NDArray[Any]


def paper_refusal(format: FloatFormat) -> str | None:
    """Return why the authors' method does not take a format, or None."""
    if format.name in _FORMATS:
        return None
    return f"the authors define it for {', '.join(_FORMATS)}; variant=fast takes every format"


def _chunk_elements(format: FloatFormat) -> int:
    return min(CHUNK_BYTES // format.nbytes, 1 << 17)


def encode_paper(
    values: Array, base: Array | None, format: FloatFormat, *, entropy: str, skip: int, threads: int
) -> BlobBuffer:
    """Code flat values, or their XOR with `base`, by the authors' rules; see the module's docstring.

    Args:
        values: flat.
        base: of the same length and dtype, or None.
        format: theirs.
        entropy: "auto" for the rule, or what codes every group: "huffman" or "zstd".
        skip: chunks of a group left raw after one that did not compress.
        threads: at most so many groups at once.
    """
    source = words(values)
    other = source[:0] if base is None else words(base)
    count, width, chunk = source.size, source.itemsize, _chunk_elements(format)
    chunks = -(-count // chunk)
    planes = np.empty(count * width, np.uint8)
    turn = np.array(rotation(format), source.dtype)
    split_piece(source, other, turn, np.empty(BLOCK, source.dtype), planes, count)
    sizes = np.empty((width, chunks), np.int64)

    def group(plane: int) -> NDArray[np.uint8]:
        out, at, wait = np.empty(count + chunks, np.uint8), 0, 0
        for index in range(chunks):
            start = plane * count + index * chunk
            size = min(chunk, count - index * chunk)
            coded = _encode_group(planes, start, size, out, at, entropy if wait == 0 else None)
            kept_raw = coded == size + 1 and out[at] == RAW
            wait = (wait - 1 if wait else skip) if kept_raw else 0
            sizes[plane, index] = coded
            at += coded
        return out[:at]

    groups = map_threads(group, range(width), threads)
    head = SIZE_BYTES * sizes.size
    buffer = BlobBuffer(head + int(sizes.sum()))
    store_sizes(sizes.reshape(-1), buffer.array)
    np.concatenate(groups, out=buffer.array[head:])
    return buffer.finish(buffer.array.size)


def _encode_group(
    planes: NDArray[np.uint8], start: int, size: int, out: NDArray[np.uint8], at: int, entropy: str | None
) -> int:
    """Code one group of one chunk to out[at:], which has room for size + 1 bytes; return its length."""
    if entropy == "auto":
        zeros, run = _zeros(planes[start : start + size])
        if zeros == size:
            return 0
        entropy = "zstd" if zeros > _ZERO_SHARE * size or run > _ZERO_RUN * size else "huffman"
    if entropy == "zstd":
        frame = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(byte_view(planes[start : start + size]))
        if len(frame) < KEEP_BELOW * size:
            out[at] = _ZSTD
            out[at + 1 : at + 1 + len(frame)] = np.frombuffer(frame, np.uint8)
            return 1 + len(frame)
    if entropy == "huffman":
        coded = int(encode_chunk(planes, start, size, out, at, ALLOW_HUFFMAN))
        if coded < KEEP_BELOW * size:
            return coded
    out[at] = RAW
    out[at + 1 : at + 1 + size] = planes[start : start + size]
    return size + 1


@kernel
def _zeros(plane):  # type: ignore[no-untyped-def]
    """Return how many bytes are 0, and the longest run of them."""
    zeros = 0
    run = 0
    longest = 0
    for byte in plane:
        run = run + 1 if byte == 0 else 0
        zeros += byte == 0
        longest = max(longest, run)
    return zeros, longest


def decode_paper(
    payload: memoryview, count: int, base: Array | None, format: FloatFormat, out: Array | None, threads: int
) -> Array:
    """Decode a payload of `encode_paper` into `out`, or into a new array; `CorruptBlobError` if it is not."""
    stream = np.frombuffer(payload, np.uint8)
    width, chunk = format.nbytes, _chunk_elements(format)
    chunks = -(-count // chunk)
    offsets = chunk_offsets(stream, chunks * width)
    planes = np.empty(count * width, np.uint8)

    def group(plane: int) -> None:
        for index in range(chunks):
            at, end = (int(offset) for offset in offsets[plane * chunks + index :][:2])
            start = plane * count + index * chunk
            size = min(chunk, count - index * chunk)
            if at == end:
                planes[start : start + size] = 0
            elif stream[at] == _ZSTD:
                _decode_frame(payload[at + 1 : end], planes[start : start + size])
            elif not decode_chunk(stream, at, end - at, planes, start, size):
                raise CorruptBlobError(f"zipnn: group {plane} of chunk {index} is corrupt")

    map_threads(group, range(width), threads)
    flat = np.empty(count, format.dtype) if out is None else out
    target = flat.view(format.bits_dtype) if flat.flags.aligned else np.empty(count, format.bits_dtype)
    other = words(target[:0]) if base is None else words(base)
    turn = np.array(rotation(format), target.dtype)
    planes.flags.writeable = False
    places = np.arange(width, dtype=np.int64) * count
    merge_piece(stream, planes, places, other, turn, target)
    if not flat.flags.aligned:
        flat.view(format.bits_dtype)[...] = target
    return flat


def _decode_frame(frame: memoryview, plane: NDArray[np.uint8]) -> None:
    try:
        if zstandard.frame_content_size(frame) != plane.size:
            raise CorruptBlobError("zipnn: a zstd frame has another length than its group")
        data = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=plane.size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptBlobError(f"zipnn: {error}") from None
    if len(data) != plane.size:
        raise CorruptBlobError("zipnn: a zstd frame is shorter than its group")
    plane[...] = np.frombuffer(data, np.uint8)
