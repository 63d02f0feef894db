"""The lowest bits of bytes, kept as they are, apart from the bits above them. Source: ours.

Codes of a fine quantiser have a smooth distribution: their lowest bits are as good as random, and an entropy
coder that leaves them out has shorter codes to work on. With b low bits a byte of `rest` holds those of 8/b
bytes that stand ⌈n·b/8⌉ apart, so that both directions vectorise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel
from .own_width import both, either, shift_left, shift_right

__all__ = ["merge_low_bits", "split_low_bits"]


@kernel
def split_low_bits(codes: Any, bits: Any, top: Any, rest: Any) -> None:
    """Write codes >> bits (1, 2 or 4) to `top` (n,) and the low bits to `rest` (⌈n·bits / 8⌉,), all uint8."""
    stride = rest.size
    down, mask = np.uint8(bits), np.uint8((1 << bits) - 1)
    rest[:] = 0
    for lane in range(8 // bits):
        part = codes[min(lane * stride, codes.size) : (lane + 1) * stride]
        up = np.uint8(lane * bits)
        for i in range(part.size):
            rest[i] = either(rest[i], shift_left(both(part[i], mask), up))
    for i in range(codes.size):
        top[i] = shift_right(codes[i], down)


@kernel
def merge_low_bits(codes: Any, bits: Any, rest: Any) -> None:
    """Turn what `split_low_bits` wrote to `top`, in `codes`, back into the codes."""
    stride = rest.size
    up, mask = np.uint8(bits), np.uint8((1 << bits) - 1)
    for lane in range(8 // bits):
        part = codes[min(lane * stride, codes.size) : (lane + 1) * stride]
        down = np.uint8(lane * bits)
        for i in range(part.size):
            part[i] = either(shift_left(part[i], up), both(shift_right(rest[i], down), mask))
