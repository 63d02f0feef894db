"""Absmax quantisation of groups of float32 values: INT8 and INT4 on a uniform grid, 4-bit codes on NF4's
levels.

INT8: LLM.int8() (Dettmers et al., 2022), as its row kernel computes it: q = rint(w·(127/a)) in float32, ties
to even, a the largest magnitude of the group; NaN counts for nothing and gets code 0, and under a = 0 or
infinity every code is 0 (finite w·0 = 0, and NaN converts to 0). Where 127/a overflows (a < 2^-121) we divide
in float64, while the original would make ±127 of everything. INT4 is the same with 7 for 127. NF4: QLoRA
(Dettmers et al., 2023): the code is the number of midpoints between neighbouring levels that are not above
w/a; a group of zeros has code 7.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import kernel

__all__ = ["quantise_nf4_groups", "quantise_uniform_groups"]


@kernel
def _largest(values: Any, start: Any, stop: Any) -> Any:
    largest = np.float32(0)
    for i in range(start, stop):
        largest = max(largest, abs(values[i])) if values[i] == values[i] else largest
    return largest


@kernel
def quantise_uniform_groups(values: Any, group: Any, limit: Any, codes: Any, scales: Any) -> None:
    """Quantise float32 `values` (n,) into int8 `codes` (n,) and float32 `scales` (⌈n / group⌉,).

    Codes run from −limit to limit; it is a float32: 127 for INT8, 7 for INT4.
    """
    for index in range(scales.size):
        start, stop = index * group, min((index + 1) * group, values.size)
        scale = _largest(values, start, stop)
        scales[index] = scale
        factor = limit / scale
        if scale == 0 or scale == np.inf:
            for i in range(start, stop):
                codes[i] = 0
        elif factor == np.inf:
            for i in range(start, stop):
                ratio = np.float64(values[i]) / np.float64(scale) * np.float64(limit)
                codes[i] = np.int8(np.rint(ratio)) if ratio == ratio else np.int8(0)
        else:
            for i in range(start, stop):
                ratio32 = min(max(values[i] * factor, -limit), limit)
                codes[i] = np.int8(np.rint(ratio32)) if values[i] == values[i] else np.int8(0)


@kernel
def quantise_nf4_groups(values: Any, group: Any, midpoints: Any, codes: Any, scales: Any) -> None:
    """Quantise float32 `values` (n,) into uint8 `codes` (n,) below 16 and float32 `scales` (⌈n / group⌉,)."""
    for index in range(scales.size):
        start, stop = index * group, min((index + 1) * group, values.size)
        scale = _largest(values, start, stop)
        scales[index] = scale
        plain = scale > 0 and scale < np.inf
        for i in range(start, stop):
            ratio = values[i] / scale if plain else np.float32(0)
            code = 0
            for k in range(midpoints.size):
                code += ratio >= midpoints[k]
            codes[i] = code if ratio == ratio else 7
