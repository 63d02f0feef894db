"""FM-Delta's question: in which representation is a fine-tune, or its difference from the base, cheapest?

The paper (NeurIPS 2024, table 5) gives general compressors the weights as floats, as float differences, and
as integer differences, signed and mapped; XOR is BitX's. Here each gets the bits a value that entropy coders
could reach: of its byte planes, of whole values where they have 16 bits or fewer, and of FM-Delta's classes
with their raw bits where it is an integer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weightbench.models.model import Array
from weightbench.models.rounding import round_to
from weightcodecs.formats import FloatFormat

from .delta_counting import count_classes, ordered_difference
from .entropies import Counts, entropy_bits, rounded
from .values import ValueCounts, patterns

__all__ = ["BLOCK", "LOOKED_AT", "REPRESENTED", "Representations"]

REPRESENTED = ("float", "float_delta", "int_delta", "uint_delta", "xor")
BLOCK = 1 << 16
LOOKED_AT = 1 << 22


class Representations:
    """Counts of the five representations over every s-th block of `BLOCK` values, s = ⌈total / LOOKED_AT⌉.

    Each piece of 2^20 values of a tensor begins a block of its own. Up to 2^22 values every one is looked at.
    """

    def __init__(self, format: FloatFormat, total: int) -> None:
        self.format = format
        self.step = max(1, -(-total // LOOKED_AT))
        self._block = 0
        self._counts = {name: ValueCounts(format, distinct=False) for name in REPRESENTED}
        integers = [name for name in REPRESENTED if not name.startswith("float")]
        self._classes: dict[str, Counts] = {
            name: np.zeros((2, 1 << format.exponent_bits, 2 * format.bits + 1), np.int64) for name in integers
        }

    def add(self, base: Array, fine: Array, xor: Array) -> None:
        """Count what is due of patterns (n,)."""
        for start in range(0, base.size, BLOCK):
            if self._block % self.step == 0:
                stop = start + BLOCK
                self._take(base[start:stop], fine[start:stop], xor[start:stop])
            self._block += 1

    def _take(self, base: Array, fine: Array, xor: Array) -> None:
        words = {
            "float": fine,
            "float_delta": _float_difference(base, fine, self.format),
            "int_delta": patterns(fine - base),
            "uint_delta": patterns(ordered_difference(base, fine)),
            "xor": xor,
        }
        for name, found in words.items():
            self._counts[name].add(found)
        nothing = patterns(np.zeros_like(xor))
        count_classes(base, fine, self.format, self._classes["uint_delta"])
        count_classes(base, fine, self.format, self._classes["int_delta"], mapped=False)
        count_classes(nothing, xor, self.format, self._classes["xor"], mapped=False)

    def plain(self) -> dict[str, Any]:
        """Return ``values`` that were looked at, and bits a value for each of `REPRESENTED`."""
        said: dict[str, Any] = {"values": self._counts["xor"].values}
        for name, counts in self._counts.items():
            cost = counts.plain()
            said[name] = {"planes": [plane["entropy"] for plane in cost["planes"]]}
            if "whole" in cost:
                said[name]["whole"] = cost["whole"]["entropy"]
            if name in self._classes:
                said[name]["classes"] = _class_bits(self._classes[name].sum(axis=(0, 1)))
        return said


def _class_bits(classes: Counts) -> float:
    """Return entropy of the classes and mean raw bits together."""
    width, total = classes.size // 2, int(classes.sum())
    raw = np.maximum(np.abs(np.arange(-width, width + 1)) - 1, 0)
    return rounded(entropy_bits(classes) + int((raw * classes).sum()) / total) if total else 0.0


def _float_difference(base: Array, fine: Array, format: FloatFormat) -> Array:
    """Return fine − base, rounded to the format (once: float32 has more than twice its bits), as patterns."""
    a, b = base.view(format.dtype), fine.view(format.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        if format.bits >= 32:
            return patterns(b - a)
        return patterns(round_to(b.astype(np.float32) - a.astype(np.float32), format.name))
