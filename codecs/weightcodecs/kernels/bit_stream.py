"""A bit stream of equally wide unsigned integers, most significant bit first, as such formats pack them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import kernel

__all__ = ["pack_bits", "pack_bits_reference", "packed_bytes", "unpack_bits"]


def packed_bytes(count: int, width: int) -> int:
    """Return the bytes of `count` codes of `width` bits; the last byte is padded with zero bits."""
    return (count * width + 7) // 8


def pack_bits(codes: NDArray[np.uint64], width: int, out: NDArray[np.uint8]) -> None:
    """Write uint64 `codes` below 2^width (1 to 56) into `out`, which has packed_bytes(n, width) bytes."""
    _pack(codes, np.uint64(width), out)


def unpack_bits(data: NDArray[np.uint8], width: int, codes: NDArray[np.uint64]) -> None:
    """Fill uint64 `codes` from `data`, which has packed_bytes(n, width) bytes; width is 1 to 56."""
    _unpack(data, np.uint64(width), codes)


def pack_bits_reference(codes: NDArray[np.uint64], width: int) -> bytes:
    """The same stream, written plainly."""
    text = "".join(f"{int(code):0{width}b}" for code in codes)
    return bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))


@kernel
def _pack(codes: Any, width: Any, out: Any) -> None:
    held, bits, at = np.uint64(0), np.uint64(0), 0
    eight = np.uint64(8)
    for code in codes:
        held = (held << width) | code
        bits += width
        while bits >= eight:
            bits -= eight
            out[at] = np.uint8(held >> bits)
            at += 1
    if bits:
        out[at] = np.uint8(held << (eight - bits))


@kernel
def _unpack(data: Any, width: Any, codes: Any) -> None:
    held, bits, at = np.uint64(0), np.uint64(0), 0
    eight = np.uint64(8)
    mask = (np.uint64(1) << width) - np.uint64(1)
    for i in range(codes.size):
        while bits < width:
            held = (held << eight) | np.uint64(data[at])
            bits += eight
            at += 1
        bits -= width
        codes[i] = (held >> bits) & mask
