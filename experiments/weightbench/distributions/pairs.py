"""A checkpoint given its quantised version: the entropies behind QStore, plug-in and corrected.

H(W | Q, scale) is what the floats still cost once codes and scales are known. As QStore stores them, values
are told apart by tensor, scale and code. Plug-in estimates of it are too low where such cells hold few
values, so each stands beside the one with Miller and Madow's correction, (different values − cells) /
(2 N ln 2), and beside log2 of the number of values that a bin can hold, which needs no estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log, prod
from typing import Any

import numpy as np

from weightbench.models import Model
from weightbench.models.model import Array
from weightbench.pairing import PairOf, pair_arrays
from weightcodecs.formats import FloatFormat, get_format
from weightcodecs.quantise import BLOCK, code_intervals, unpack_nibbles

from .counting import HIGH, count_highest
from .entropies import Counts, entropy_bits, rounded
from .pair_counting import CellTotals, Edges, count_cells
from .values import patterns

__all__ = ["PairCounts", "pair_distributions"]

Progress = Callable[[int], None]


def pair_distributions(
    high: Model, low: Model, pairs: Sequence[PairOf], progress: Progress | None = None
) -> dict[str, Any]:
    """Return what checkpoint and quantised version say of each other, by format and kind of code.

    Args:
        high, low: read tensor by tensor, the paired ones only.
        pairs: of `weightbench.pairing.pair_tensors`. Those whose high tensor has 32 bits are left out: there
            are more different values than any tensor has elements.
        progress: called with the bytes of each high tensor that was looked at.

    Returns:
        see docs/results.md, `result.distributions.pair`.
    """
    counted: dict[str, PairCounts] = {}
    for pair in pairs:
        format = get_format(high.tensors[pair.high].format)
        if format.bits != HIGH:
            continue
        kind = "int8" if low.tensors[pair.low].format == "int8" else "nf4"
        counts = counted.setdefault(f"{format.name}_{kind}", PairCounts(format, kind))
        values, codes, scales = pair_arrays(high, low, pair)
        counts.add(values, codes, scales)
        if progress is not None:
            progress(values.nbytes)
        high.drop(pair.high)
        low.drop(pair.low)
    return {name: counts.plain() for name, counts in counted.items()}


@dataclass
class PairCounts:
    """Totals over pairs of one float format and one kind of code, "int8" or "nf4"."""

    format: FloatFormat
    kind: str
    tensors: int = 0
    values: int = 0
    without_scales: int = 0
    in_tensor_bits: float = 0.0
    high: Counts = field(default_factory=lambda: np.zeros(1 << HIGH, np.int64))
    low: Counts = field(default_factory=lambda: np.zeros(256, np.int64))
    cells: list[CellTotals] = field(default_factory=list)

    def add(self, values: Array, codes: Array, scales: Array | None) -> None:
        """Count a pair as `weightbench.pairing.pair_arrays` gives it."""
        words = patterns(values)
        if self.kind == "nf4":
            low, row = unpack_nibbles(codes, words.size), BLOCK
        else:
            low = patterns(codes)
            row = prod(values.shape[1:]) if values.ndim > 1 else words.size
        low.flags.writeable = False
        found = _of(words, HIGH)
        self.tensors += 1
        self.values += words.size
        self.without_scales += scales is None
        self.in_tensor_bits += entropy_bits(found) * words.size
        self.high += found
        self.low += _of(low, 8)
        self.cells.append(count_cells(words, low, row, scales, self._edges(found)))

    def _edges(self, found: Counts) -> Edges:
        every = np.arange(1 << HIGH, dtype=np.uint16).view(self.format.dtype)
        with np.errstate(invalid="ignore"):  # signalling NaNs
            values = every.astype(np.float32).astype(np.float64)
        finite = np.isfinite(values)
        lower, upper = code_intervals(256 if self.kind == "int8" else 16)
        unused = np.zeros(256 - lower.size)
        lower, upper = (np.concatenate([np.clip(edge, -1.0, 1.0), unused]) for edge in (lower, upper))
        return Edges(lower, upper, values, np.sort(values[finite & (found > 0)]), np.sort(values[finite]))

    def plain(self) -> dict[str, Any]:
        """Return what a row says, see docs/results.md."""
        total = {name: sum(getattr(one, name) for one in self.cells) for name in CellTotals._fields}
        n = max(self.values, 1)

        def given(inner: str, different: str) -> dict[str, float]:
            plug_in = (total["cell_nlogn"] - total[inner]) / n
            correction = (total[different] - total["cells"]) / (2 * n * log(2))
            return {"plug_in": rounded(plug_in), "miller_madow": rounded(plug_in + correction)}

        known = total["known"]
        return {
            "format": self.format.name,
            "low": self.kind,
            "tensors": self.tensors,
            "tensors_without_scales": self.without_scales,
            "values": self.values,
            "high_entropy": rounded(entropy_bits(self.high)),
            "high_entropy_in_tensor": rounded(self.in_tensor_bits / n),
            "low_entropy": rounded(entropy_bits(self.low)),
            "low_given_scale": rounded((total["scale_nlogn"] - total["cell_nlogn"]) / n),
            "high_given_low": given("value_nlogn", "values"),
            "high_byte_given_low": given("high_nlogn", "highs"),
            "low_byte_given_low": given("low_nlogn", "lows"),
            "scale_groups": total["scales"],
            "cells": total["cells"],
            "values_per_cell": rounded(self.values / max(total["cells"], 1)),
            "values_in_bins": known,
            "outside_bin": total["outside"],
            "log2_codes_in_bin": rounded(total["log2_codes"] / known) if known else None,
            "log2_patterns_in_bin": rounded(total["log2_patterns"] / known) if known else None,
        }


def _of(words: Array, bits: int) -> Counts:
    """Count words (n,) of 8 or 16 bits: int64 (2^bits,)."""
    counts = np.zeros((2, 1 << bits), np.uint32)
    count_highest(words, counts)
    total: Counts = counts.sum(axis=0, dtype=np.int64)
    return total
