"""zipnn_official: the zipnn package itself, as a baseline beside ours (extra `baselines`).

The package rewrites what it is given, even immutable bytes: it gets a private copy. It reads and writes
out of bounds at lengths that are no multiple of four bytes, and ends the process at fp32 lengths of 1 to 3
bytes over a whole number of chunks: the copy is padded with zeros to a multiple of four, and cut again. It
keeps its tables on the stack, so that arrays over 8 GiB are stored raw instead.

Its decoder trusts its input: damaged Huffman data corrupts the heap. The container's header and directory are
compared with what they must be before it runs, and the decoded bytes with a checksum of the original
afterwards; what lies between cannot be checked from here. Decode blobs of this codec only from those you
trust; `zipnn` is ours and takes anything.

Payload: the package's container, with its own 32-byte header.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import xxhash

from .blob import BlobInfo, byte_view
from .codec import Array, ArrayCodec, Encoded
from .errors import ConfigError, CorruptBlobError, MissingExtraError
from .formats import FloatFormat

__all__ = ["ZipnnOfficial"]

_FORMATS = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
_MOST_BYTES = 8 << 30
_HEADER, _CHUNK = 32, 1 << 18


@dataclass(frozen=True)
class ZipnnOfficial(ArrayCodec):
    """The zipnn package; see the module's docstring.

    Attributes:
        threshold: its `compression_threshold`: a chunk's byte group is kept coded below this share.
    """

    name: ClassVar[str] = "zipnn_official"
    threshold: float = 0.95

    def validate(self) -> None:
        """Check that the package is installed."""
        if find_spec("zipnn") is None:
            raise MissingExtraError("zipnn", "baselines")
        if not 0 < self.threshold <= 1:
            raise ConfigError("zipnn_official: threshold must be over 0 and at most 1")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Say which formats the package takes."""
        return None if format.name in _FORMATS else f"the package takes {', '.join(_FORMATS)}"

    def _coder(self, format: FloatFormat, threads: int) -> Any:
        return _package().ZipNN(
            method="HUFFMAN",
            input_format="byte",
            bytearray_dtype=format.name,
            threads=max(threads, 1),
            compression_threshold=self.threshold,
        )

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        if values.nbytes > _MOST_BYTES:
            return None
        checksum = xxhash.xxh3_64(byte_view(values)).digest()
        private = bytearray(byte_view(values)) + bytes(-values.nbytes % 4)
        return Encoded.of(bytes(self._coder(format, threads).compress(private)), checksum)

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        if self.unsupported(info.format) is not None or info.nbytes > _MOST_BYTES:
            raise CorruptBlobError("zipnn_official: the package does not write such arrays")
        padded = info.nbytes + -info.nbytes % 4
        _check_container(info, padded)
        data = self._coder(info.format, threads).decompress(bytes(info.payload))
        if len(data) != padded or xxhash.xxh3_64(memoryview(data)[: info.nbytes]).digest() != info.parameters:
            raise CorruptBlobError("zipnn_official: the package decoded something else than was coded")
        flat = np.frombuffer(data, np.uint8, info.nbytes).view(info.format.dtype)
        if out is None:
            return flat
        out[...] = flat
        return out


@cache
def _package() -> Any:
    with warnings.catch_warnings():  # it brings torch.jit, which says that it is old
        warnings.simplefilter("ignore", DeprecationWarning)
        import zipnn

    return zipnn


def _check_container(info: BlobInfo, padded: int) -> None:
    """Compare header and directory with what an array of this length must have."""
    payload, width = info.payload, info.format.nbytes
    chunk = min(_CHUNK, 1 << 17) if width == 1 else _CHUNK
    chunks = -(-padded // chunk)
    groups = chunks * width
    body = _HEADER + 9 * groups
    head = bytes(payload[:_HEADER])
    # [7:14]: Huffman, bytes, no delta, not lossy, not streamed; [16:32]: lengths.
    wanted = (padded.to_bytes(8, "little"), len(payload).to_bytes(8, "little"))
    if (
        len(payload) < body
        or head[:2] != b"ZN"
        or head[7:14] != bytes((1, 1, 0, 0, 0, 0, 0))
        or head[14] != _CHUNK.bit_length() - 1
        or (head[16:24], head[24:32]) != wanted
    ):
        raise CorruptBlobError("zipnn_official: the container's header is not this array's")
    kinds = np.frombuffer(payload, np.uint8, groups, _HEADER).reshape(width, chunks)
    ends = np.frombuffer(payload, "<u8", groups, _HEADER + groups).reshape(width, chunks)
    sizes = np.diff(ends.astype(np.int64), axis=1, prepend=0)
    original = np.full(chunks, chunk // width)
    original[-1] = (padded - (chunks - 1) * chunk) // width
    raw = kinds == 0
    if (
        (kinds > 1).any()
        or (ends > len(payload)).any()
        or (sizes < 1).any()
        or int(sizes.sum()) != len(payload) - body
        or (sizes != original)[raw].any()
        or (sizes >= original)[~raw & (sizes > 1)].any()
    ):
        raise CorruptBlobError("zipnn_official: the container's directory does not add up")
