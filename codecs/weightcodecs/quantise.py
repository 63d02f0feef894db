"""Quantisers of our own: row-wise absmax INT8 and INT4, block-wise NF4; of float16, bfloat16 and float32.

INT8 follows LLM.int8() (Dettmers et al., NeurIPS 2022): one scale for each output row, the row's largest
magnitude a; q = rint(w·127/a), w ≈ q·a/127; −128 does not occur. A row is everything under one index of the
first axis (a convolution's output channel too); arrays of fewer than two dimensions are one row. INT4 is
the same on the grid −7 to 7, two codes to a byte in two's complement (−8 does not occur). NF4 follows QLoRA
(Dettmers et al., NeurIPS 2023), its scales not quantised again: 64 consecutive values share one scale, codes
are indices into 16 fixed levels, two to a byte. Of two codes in a byte the first is in the high half.

What differs from the CUDA originals: we divide correctly rounded instead of approximately, and do not pass
through float16 first. Both can turn a tie; nothing here expects a code to be reproducible elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import UnsupportedFormatError
from .formats import format_of
from .kernels.absmax import quantise_nf4_groups, quantise_uniform_groups
from .quantised import BLOCK, Quantised, quantisable

__all__ = [
    "BLOCK",
    "NF4_LEVELS",
    "Quantised",
    "code_intervals",
    "dequantise_int4",
    "dequantise_int8",
    "dequantise_nf4",
    "pack_nibbles",
    "quantisable",
    "quantise_int4",
    "quantise_int8",
    "quantise_nf4",
    "row_size",
    "unpack_nibbles",
]

Array = NDArray[Any]
Scales = NDArray[np.float32]


NF4_LEVELS: Scales = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    np.float32,
)  # fmt: skip
"""The levels of NF4, ascending (QLoRA, appendix E)."""

_MIDPOINTS: Scales = ((NF4_LEVELS[1:].astype(np.float64) + NF4_LEVELS[:-1]) / 2).astype(np.float32)
_PIECE = 1 << 20  # values widened to float32 at a time
_TOLERANCE = 2.0**-20
_LIMIT8, _LIMIT4 = 127, 7  # the largest codes


def row_size(shape: tuple[int, ...]) -> int:
    """Return how many consecutive values share a scale in INT8 and INT4."""
    return int(np.prod(shape[1:], dtype=np.int64)) if len(shape) > 1 else int(np.prod(shape, dtype=np.int64))


def quantise_int8(values: Array) -> Quantised:
    """Quantise to INT8, one scale a row.

    Args:
        values: float16, bfloat16 or float32, any shape. NaN gets code 0; a row with an infinity has an
            infinite scale and codes 0, a row of zeros scale 0 and codes 0.

    Raises:
        UnsupportedFormatError: another dtype.
    """
    return _quantised(values, _LIMIT8)


def dequantise_int8(codes: Array, scales: Scales, dtype: DTypeLike) -> Array:
    """Return q·a/127 of int8 `codes`, rounded to `dtype`; `scales` holds one a for each run of equal length.

    Raises:
        ValueError: the number of codes is no multiple of the number of scales.
    """
    return _dequantised(codes, scales, dtype, _LIMIT8)


def quantise_int4(values: Array) -> Quantised:
    """Quantise to INT4, one scale a row, codes packed two to a byte; see `quantise_int8`."""
    made = _quantised(values, _LIMIT4)
    return Quantised(pack_nibbles(made.codes.reshape(-1).view(np.uint8) & np.uint8(15)), made.scales)


def dequantise_int4(codes: Array, scales: Scales, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return q·a/7 of packed INT4 `codes`, rounded to `dtype`, as an array of `shape`; see `dequantise_int8`.

    Raises:
        ValueError: codes or scales are not as many as the shape needs.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if codes.size != -(-size // 2):
        raise ValueError(f"{codes.size} bytes of codes do not make {size} values")
    nibbles = unpack_nibbles(codes, size)
    signed = ((nibbles ^ np.uint8(8)) - np.uint8(8)).view(np.int8)
    return _dequantised(signed, scales, dtype, _LIMIT4).reshape(shape)


def quantise_nf4(values: Array) -> Quantised:
    """Quantise to NF4, one scale for each 64 consecutive values (in C order).

    NaN gets code 7 (0.0); a block with an infinity has an infinite scale and codes 7, a block of zeros too.

    Raises:
        UnsupportedFormatError: another dtype than float16, bfloat16 and float32.
    """
    flat = _flat(values)
    codes, scales = np.empty(flat.size, np.uint8), np.empty(-(-flat.size // BLOCK), np.float32)
    for start in range(0, flat.size, _PIECE):
        part = slice(start, start + _PIECE)
        blocks = scales[start // BLOCK : (start + _PIECE) // BLOCK]
        quantise_nf4_groups(_wide(flat[part]), BLOCK, _MIDPOINTS, codes[part], blocks)
    return Quantised(pack_nibbles(codes), scales)


def dequantise_nf4(codes: Array, scales: Scales, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return level·a of packed NF4 `codes`, rounded to `dtype`, as an array of `shape`.

    Raises:
        ValueError: codes or scales are not as many as the shape needs.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if codes.size != -(-size // 2) or scales.size != -(-size // BLOCK):
        raise ValueError(f"{codes.size} bytes of codes and {scales.size} scales do not make {size} values")
    out = np.empty(size, dtype)
    levels = NF4_LEVELS[unpack_nibbles(codes, size)]
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, size, _PIECE):
            part = levels[start : start + _PIECE]
            repeated = np.repeat(scales[start // BLOCK : (start + _PIECE) // BLOCK], BLOCK)[: part.size]
            out[start : start + _PIECE] = part * repeated
    return out.reshape(shape)


def pack_nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes below 16 two to a byte, the first in the high half; an odd one has a zero beside it."""
    even = codes if codes.size % 2 == 0 else np.append(codes, np.uint8(0))
    return (even[0::2] << np.uint8(4)) | even[1::2]


def unpack_nibbles(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return the first `count` codes of `pack_nibbles`."""
    out = np.empty(2 * packed.size, np.uint8)
    out[0::2] = packed >> np.uint8(4)
    out[1::2] = packed & np.uint8(15)
    return out[:count]


def code_intervals(levels: int, slack: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the interval of w/a that each code stands for, as (lower, upper), indexed by the code as uint8.

    Args:
        levels: 256 for INT8, 16 for NF4.
        slack: widen every interval by this share of a step (INT8) or of itself (NF4) on both sides.
    """
    if levels == 256:
        centre = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
        margin = 0.5 + slack + (np.abs(centre) + 1) * _TOLERANCE
        return (centre - margin) / 127, (centre + margin) / 127
    edges = np.concatenate([[-1.0], _MIDPOINTS.astype(np.float64), [1.0]])
    margin = np.diff(edges) * slack + _TOLERANCE
    return edges[:-1] - margin, edges[1:] + margin


def _quantised(values: Array, limit: int) -> Quantised:
    flat = _flat(values)
    rows = values.shape[0] if values.ndim > 1 else 1
    group = row_size(values.shape)
    codes, scales = np.zeros(flat.size, np.int8), np.zeros(rows, np.float32)
    step = max(_PIECE // max(group, 1), 1)
    for row in range(0, rows if flat.size else 0, step):
        part = slice(row * group, (row + step) * group)
        quantise_uniform_groups(
            _wide(flat[part]), group, np.float32(limit), codes[part], scales[row : row + step]
        )
    return Quantised(codes.reshape(values.shape), scales)


def _dequantised(codes: Array, scales: Scales, dtype: DTypeLike, limit: int) -> Array:
    out = np.empty(codes.shape, dtype)
    if codes.size == 0:
        return out
    if scales.size == 0 or codes.size % scales.size:
        raise ValueError(f"{scales.size} scales do not divide {codes.size} codes into equal rows")
    group = codes.size // scales.size
    flat, target = codes.reshape(-1, group), out.reshape(-1, group)
    step = max(_PIECE // group, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = scales.reshape(-1, 1).astype(np.float64) / limit
        for row in range(0, scales.size, step):
            part = slice(row, row + step)
            target[part] = (flat[part] * steps[part]).astype(np.float32)
    return out


def _wide(part: Array) -> Array:
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return part.astype(np.float32)


def _flat(values: Array) -> Array:
    format = format_of(values)
    if reason := quantisable(format):
        raise UnsupportedFormatError(f"{format.name} cannot be quantised: {reason}")
    return np.ascontiguousarray(values, dtype=format.dtype).reshape(-1)
