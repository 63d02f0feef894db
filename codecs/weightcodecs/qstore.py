"""qstore: a tensor and its quantised version in about the space of the tensor alone (Shah, Li, Park, "QStore:
Quantization-Aware Compressed Model Storage", PVLDB 19(3), 2026).

The quantised tensor is entropy-coded by itself, so that it loads without the rest; the high-precision one is
coded given codes and scales. The low tensor is INT8 with one scale a row (LLM.int8(): int8 of the same shape)
or NF4 in blocks of 64 (uint8, two codes to a byte): see `quantise`, which makes both. Pairs of any other
quantiser come back exactly too; how small depends on how far codes and scales tell where a value lies.

`variant="fast"` (ours) codes a value's rank in its quantisation bin; there are no tables, so the size does
not hang on the number of distinct scales, and blocks decode in parallel (`conditional`,
`kernels.rank_in_bin`). It takes float16, bfloat16 and float32, INT8 and NF4. `variant="paper"` groups by
scale and code and codes two byte streams a cell, as the authors do (`qstore_paper`): 16-bit floats with INT8
only. What differs from their release in both: scales are stored, tensors of any shape are taken, and a digest
guards every part.

Format of a payload: low part (scales as planes · codes, as code_plane.py or, paper, entropy.py has them) ·
high part (0 for fast or 1 for paper · the scales used, as planes, if none were given · the tensor's bytes).
The low tensor's description is 0 for INT8 or 1 for NF4, the number of the scales' dimensions (255: no
scales), these as varints, and 0 for fast or 1 for paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .blob import BlobInfo, read_varint, varint
from .code_plane import decode_codes, encode_codes
from .codec import Array
from .conditional import Given, decode_given, encode_given, pack_floats, unpack_floats
from .entropy import decode_plane, encode_plane
from .errors import CorruptBlobError
from .formats import FloatFormat
from .pair import PairCodec, Pieces
from .qstore_paper import decode_cells, encode_cells
from .quantise import BLOCK, quantise_int8, quantise_nf4, unpack_nibbles
from .quantised import Quantised, uneven_rows

__all__ = ["QStore"]

_INT8, _NF4 = 0, 1
_FAST, _PAPER = 0, 1
_NO_SCALES = 255
_MAX_DIMENSIONS = 64

Scales = NDArray[np.float32]


@dataclass(frozen=True)
class QStore(PairCodec):
    """QStore; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper" (the authors' method and layout).
    """

    name: ClassVar[str] = "qstore"
    variant: Literal["fast", "paper"] = "fast"

    def _refusal(self, high: FloatFormat, low: FloatFormat) -> str | None:
        if low.name not in ("int8", "uint8"):
            return "the low tensor must be int8 (INT8) or uint8 (NF4, two codes to a byte)"
        if self.variant == "paper" and (high.bits != 16 or low.name != "int8"):
            return "the authors' format holds 16-bit floats with INT8 codes; use variant=fast"
        return None

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
        fields, low_part = self._encode_low(low, low_shape, shape, scales, threads)
        return fields, low_part, self._encode_high(high, format, low, scales, shape, threads)

    def _encode_low(
        self,
        low: Array,
        low_shape: tuple[int, ...],
        high_shape: tuple[int, ...],
        scales: Scales | None,
        threads: int,
    ) -> tuple[bytes, Pieces]:
        count = prod(high_shape)
        kind = _INT8 if low.dtype == np.int8 else _NF4
        wanted = high_shape if kind == _INT8 else (-(-count // 2),)
        if low_shape != wanted:
            raise ValueError(
                f"low has shape {list(low_shape)}; with high {list(high_shape)} it is {list(wanted)}"
            )
        fields, pieces = bytes((kind,)), []
        if scales is None:
            fields += bytes((_NO_SCALES,))
        else:
            if problem := _misfit(kind, count, scales.size):
                raise ValueError(problem)
            fields += bytes((scales.ndim,)) + b"".join(map(varint, scales.shape))
            pieces.append(pack_floats(scales, threads))
        codes = low.view(np.uint8)
        if self.variant == "paper":
            return fields + b"\x01", [*pieces, encode_plane(codes, method="huffman", threads=threads)]
        return fields + b"\x00", [*pieces, encode_codes(codes, threads)]

    def _decode_low(self, info: BlobInfo, fields: bytes, part: memoryview, threads: int) -> Quantised:
        kind, shape = _described(fields)
        scales, at = None, 0
        if shape is not None:
            if problem := _misfit(kind, info.count, prod(shape)):
                raise CorruptBlobError(f"qstore: {problem}")
            flat, at = unpack_floats(part, 0, prod(shape))
            scales = flat.reshape(shape)
        count = info.count if kind == _INT8 else -(-info.count // 2)
        if fields[-1] == _PAPER:
            codes = decode_plane(part[at:], count, threads=threads)
        else:
            codes = decode_codes(part[at:], count, threads)
        return Quantised(codes.view(np.int8).reshape(info.shape) if kind == _INT8 else codes, scales)

    def _encode_high(
        self,
        high: Array,
        format: FloatFormat,
        low: Array,
        scales: Scales | None,
        shape: tuple[int, ...],
        threads: int,
    ) -> Pieces:
        if not high.size:
            return []
        pieces: Pieces = [bytes((_PAPER if self.variant == "paper" else _FAST,))]
        if scales is None:
            quantise = quantise_int8 if low.dtype == np.int8 else quantise_nf4
            scales = quantise(high.reshape(shape)).scales
            assert scales is not None
            pieces.append(pack_floats(scales, threads))
        given = _given(low, scales, high.size)
        if self.variant == "paper":
            return [*pieces, *encode_cells(high.view(np.uint16), given, shape)]
        return [*pieces, *encode_given(high, format, given, threads)]

    def _decode_high(
        self, info: BlobInfo, part: memoryview, low: Quantised, out: Array, threads: int
    ) -> None:
        scales, at = low.scales, 1
        if scales is None:
            rows = info.shape[0] if len(info.shape) > 1 else 1
            count = rows if low.codes.dtype == np.int8 else -(-info.count // BLOCK)
            scales, at = unpack_floats(part, at, count)
        given = _given(low.codes, scales, info.count)
        if part[0] == _PAPER:
            if info.format.bits != 16 or given.levels != 256:
                raise CorruptBlobError("qstore: the authors' cells hold 16-bit floats with INT8 codes")
            decode_cells(part[at:], given, info.shape, out.view(np.uint16))
        elif part[0] == _FAST:
            decode_given(part[at:], info.format, given, out, threads)
        else:
            raise CorruptBlobError("qstore: the high part is of a layout that does not exist")


def _given(low: Array, scales: Scales, count: int) -> Given:
    flat_scales = np.ascontiguousarray(scales).reshape(-1)
    if low.dtype == np.int8:
        return Given(low.reshape(-1).view(np.uint8), flat_scales, count // flat_scales.size, 256)
    return Given(unpack_nibbles(low, count), flat_scales, BLOCK, 16)


def _misfit(kind: int, count: int, scales: int) -> str | None:
    """Say why so many scales do not go with `count` values, or None."""
    if kind == _NF4:
        wanted = -(-count // BLOCK)
        return None if scales == wanted else f"NF4 has {wanted} scales for {count} values, not {scales}"
    return uneven_rows(count, scales)


def _described(fields: bytes) -> tuple[int, tuple[int, ...] | None]:
    """Return the kind of the low tensor and the shape of its scales, None if there are none."""
    if len(fields) < 3 or fields[0] > _NF4 or _MAX_DIMENSIONS < fields[1] != _NO_SCALES:
        raise CorruptBlobError("qstore: the low tensor's description cannot be read")
    shape, at = [], 2
    for _ in range(0 if fields[1] == _NO_SCALES else fields[1]):
        size, at = read_varint(fields, at)
        shape.append(size)
    if at + 1 != len(fields) or fields[at] > _PAPER or prod(max(size, 1) for size in shape) >= 1 << 60:
        raise CorruptBlobError("qstore: the low tensor's description does not add up")
    return fields[0], None if fields[1] == _NO_SCALES else tuple(shape)
