"""qstore_chain: a tensor, its INT8 and its NF4 version in one blob, each loadable without those above it.

After the model chain of QStore (PVLDB 19(3), 2026), which its authors estimate but do not store: 16 → 8 → 4,
the high tensor given INT8 (`conditional`), INT8 given NF4 (`kernels.code_in_bin`), NF4 alone. Any codes and
scales of these shapes come back exactly. `encode_pair` makes the NF4 version itself, and INT8's scales if
none are given: both are then part of the chain.

Format of a payload: low part (NF4: scales as planes, codes as code_plane.py has them · INT8: scales as
planes, number of escapes (varint), bytes of ranks of each block of 65,536 elements (u32), the ranks, escapes,
eight zero bytes) · high part (`conditional`). The low tensor's description is the size of NF4's bytes
(varint), their XXH3-64 and the number of INT8's scales (varint).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from .blob import Blob, BlobInfo, Bytes, parse_description, read_varint, varint
from .code_plane import decode_codes, encode_codes
from .codec import Array
from .conditional import Given, decode_given, encode_given, pack_floats, unpack_floats
from .errors import CorruptBlobError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions
from .formats import FloatFormat
from .kernels.code_in_bin import decode_codes_in_bins, encode_codes_in_bins
from .kernels.uniform_code import RECIPROCALS
from .pair import PairCodec, Pieces
from .quantise import BLOCK, code_intervals, quantise_int8, quantise_nf4, unpack_nibbles
from .quantised import Quantised, uneven_rows

__all__ = ["Chain", "QStoreChain"]

_SPAN = 1 << 16
_PADDING = 8

Scales = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Chain:
    """Three versions of a tensor: high, INT8 (codes of its shape), NF4 (packed codes)."""

    high: Array
    int8: Quantised
    nf4: Quantised


@dataclass(frozen=True)
class QStoreChain(PairCodec):
    """The chain 16 → 8 → 4; see the module's docstring."""

    name: ClassVar[str] = "qstore_chain"

    def _refusal(self, high: FloatFormat, low: FloatFormat) -> str | None:
        return None if low.name == "int8" else "the chain's middle is int8"

    def encode_chain(self, chain: Chain, *, threads: int = 1) -> Blob:
        """Code a chain.

        Raises:
            UnsupportedFormatError: the codec does not take these dtypes.
            ValueError: shapes or numbers of scales do not go together.
        """
        high, low = np.asarray(chain.high), np.asarray(chain.int8.codes)
        format = self._checked_format(high, low)
        flat = np.ascontiguousarray(high, dtype=format.dtype).reshape(-1)
        parts = self._parts(
            flat, format, high.shape, np.ascontiguousarray(low).reshape(-1), low.shape, chain.int8.scales,
            chain.nf4, threads,
        )  # fmt: skip
        return self._sealed(format, high.shape, *parts)

    def decode_chain(self, blob: Bytes, *, threads: int = 1) -> Chain:
        """Return all three versions; `CorruptBlobError` if anything in the blob is off."""
        pair = self.decode_pair(blob, threads=threads)
        return Chain(pair.high, Quantised(pair.low, pair.scales), self.decode_lowest(blob, threads=threads))

    def decode_lowest(self, blob: Bytes, *, threads: int = 1) -> Quantised:
        """Return the NF4 version, reading nothing else; `CorruptBlobError` if that is damaged."""
        info = parse_description(blob)
        fields, part, _ = self._described(info)
        size, digest, _ = _fields(fields)
        if size > len(part) or xxhash.xxh3_64(part[:size]).digest() != digest:
            raise CorruptBlobError("qstore_chain: the NF4 part's checksum does not match; it was altered")
        return _decode_nf4(part[:size], info.count, threads)

    def _encode_parts(
        self,
        high: Array,
        format: FloatFormat,
        shape: tuple[int, ...],
        low: Array,
        low_shape: tuple[int, ...],
        scales: Scales | None,
        threads: int,
    ) -> tuple[bytes, Pieces, Pieces]:
        return self._parts(high, format, shape, low, low_shape, scales, quantise_nf4(high), threads)

    def _parts(
        self,
        high: Array,
        format: FloatFormat,
        shape: tuple[int, ...],
        low: Array,
        low_shape: tuple[int, ...],
        scales: Scales | None,
        nf4: Quantised,
        threads: int,
    ) -> tuple[bytes, Pieces, Pieces]:
        blocks, count = -(-high.size // BLOCK), high.size
        if low_shape != shape or nf4.codes.shape != (-(-count // 2),):
            raise ValueError(
                f"low has shape {list(low_shape)} and NF4 {nf4.codes.size} bytes; high {list(shape)}"
            )
        if nf4.scales is None or nf4.scales.shape != (blocks,):
            raise ValueError(f"NF4 needs scales of shape [{blocks}]")
        fine = scales if scales is not None else quantise_int8(high.reshape(shape)).scales
        assert fine is not None
        if fine.ndim != 1:
            raise ValueError(f"scales have one dimension, not the shape {list(fine.shape)}")
        if problem := uneven_rows(count, fine.size):
            raise ValueError(problem)
        lowest = pack_floats(nf4.scales) + encode_codes(np.ascontiguousarray(nf4.codes), threads)
        fields = varint(len(lowest)) + xxhash.xxh3_64(lowest).digest() + varint(fine.size)
        nibbles = unpack_nibbles(nf4.codes, count)
        low_part: Pieces = [lowest, pack_floats(fine), *_encode_int8(low, nibbles, fine, nf4.scales)]
        if not count:
            return fields, low_part, []
        known = Given(low.view(np.uint8), fine, count // fine.size, 256)
        return fields, low_part, encode_given(high, format, known, threads)

    def _decode_low(self, info: BlobInfo, fields: bytes, part: memoryview, threads: int) -> Quantised:
        size, _, rows = _fields(fields)
        count = info.count
        if size > len(part) or uneven_rows(count, rows):
            raise CorruptBlobError("qstore_chain: the low part does not fit its description")
        nf4 = _decode_nf4(part[:size], count, threads)
        assert nf4.scales is not None
        fine, at = unpack_floats(part[size:], 0, rows)
        codes = _decode_int8(part[size + at :], unpack_nibbles(nf4.codes, count), fine, nf4.scales)
        return Quantised(codes.reshape(info.shape), fine)

    def _decode_high(
        self, info: BlobInfo, part: memoryview, low: Quantised, out: Array, threads: int
    ) -> None:
        assert low.scales is not None  # `_decode_low` always has them
        codes = low.codes.reshape(-1).view(np.uint8)
        given = Given(codes, low.scales, info.count // low.scales.size, 256)
        decode_given(part, info.format, given, out, threads)


def _fields(fields: bytes) -> tuple[int, bytes, int]:
    """Return the size and digest of NF4's bytes and the number of INT8's scales."""
    size, at = read_varint(fields, 0)
    rows, end = read_varint(fields, at + 8)
    if end != len(fields):
        raise CorruptBlobError("qstore_chain: the description of the low tensors cannot be read")
    return size, fields[at : at + 8], rows


def _decode_nf4(part: memoryview, count: int, threads: int) -> Quantised:
    scales, at = unpack_floats(part, 0, -(-count // BLOCK))
    return Quantised(decode_codes(part[at:], -(-count // 2), threads), scales)


def _encode_int8(codes: Array, nibbles: Array, fine: Scales, coarse: Scales) -> Pieces:
    count = codes.size
    if not count:
        return []
    lower, upper = code_intervals(16)
    parts, escaped = [], []
    sizes = np.zeros(2, np.int64)
    for start in range(0, count, _SPAN):
        stop = min(start + _SPAN, count)
        ranks, escapes = np.empty(4 * (stop - start) + 16, np.uint8), np.empty(stop - start, np.int64)
        encode_codes_in_bins(
            codes, nibbles, fine, count // fine.size, coarse, BLOCK, start, stop,
            lower, upper, ranks, escapes, sizes,
        )  # fmt: skip
        parts.append(ranks[: sizes[0]].copy())
        escaped.append(escapes[: sizes[1]].copy())
    positions = np.concatenate(escaped)
    listed = np.empty(exceptions_nbytes(count, positions.size, 1), np.uint8)
    if positions.size:
        pack_exceptions(codes, positions, listed)
    directory = np.array([part.size for part in parts], "<u4").view(np.uint8)
    return [varint(positions.size), directory, *parts, listed, bytes(_PADDING)]


def _decode_int8(data: memoryview, nibbles: Array, fine: Scales, coarse: Scales) -> Array:
    count, spans = nibbles.size, -(-nibbles.size // _SPAN)
    codes = np.empty(count, np.int8)
    if not count:
        if len(data):
            raise CorruptBlobError("qstore_chain: there are codes of an empty tensor")
        return codes
    escapes, at = read_varint(bytes(data[:10]), 0)
    listed = exceptions_nbytes(count, escapes, 1) if escapes <= count else -1
    end = len(data) - _PADDING - listed
    if listed < 0 or end < at + 4 * spans:
        raise CorruptBlobError("qstore_chain: the INT8 codes are cut short")
    sizes = np.frombuffer(data[at : at + 4 * spans], "<u4").astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]) + at + 4 * spans
    if int(offsets[-1]) != end:
        raise CorruptBlobError("qstore_chain: the blocks do not fill the INT8 codes")
    lower, upper = code_intervals(16)
    stream = np.frombuffer(data, np.uint8)
    for span in range(spans):
        if not decode_codes_in_bins(
            stream, offsets[span], offsets[span + 1], nibbles, fine, count // fine.size, coarse, BLOCK,
            span * _SPAN, min((span + 1) * _SPAN, count), lower, upper, RECIPROCALS, codes,
        ):  # fmt: skip
            raise CorruptBlobError("qstore_chain: a block of INT8 codes does not end where it should")
    restore_exceptions(codes, escapes, data[end : end + listed])
    return codes
