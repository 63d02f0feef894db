"""The lowest bits of bytes, kept as they are, apart from the bits above them. Source: ours.

Codes of a fine quantiser have a smooth distribution: their lowest bits are as good as random, and an entropy
coder that leaves them out has shorter codes to work on. With b low bits a byte of `rest` holds those of 8/b
bytes that stand ⌈n·b/8⌉ apart, so that both directions vectorise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel

__all__ = ["merge_low_bits", "split_low_bits"]


@kernel
def split_low_bits(codes: Any, bits: Any, top: Any, rest: Any) -> None:
    """Write codes >> bits (1, 2 or 4) to `top` (n,) and the low bits to `rest` (⌈n·bits / 8⌉,), all uint8."""
    stride = rest.size
    mask = np.uint8((1 << bits) - 1)
    rest[:] = 0
    for lane in range(8 // bits):
        start = lane * stride
        shift = np.uint8(lane * bits)
        for i in range(max(min(stride, codes.size - start), 0)):
            rest[i] |= np.uint8((codes[start + i] & mask) << shift)
    for i in range(codes.size):
        top[i] = codes[i] >> bits


@kernel
def merge_low_bits(codes: Any, bits: Any, rest: Any) -> None:
    """Turn what `split_low_bits` wrote to `top`, in `codes`, back into the codes."""
    stride = rest.size
    mask = np.uint8((1 << bits) - 1)
    for lane in range(8 // bits):
        start = lane * stride
        shift = np.uint8(lane * bits)
        part = codes[min(start, codes.size) : start + stride]
        for i in range(part.size):
            part[i] = np.uint8(part[i] << bits) | (np.uint8(rest[i] >> shift) & mask)
