"""Differences between a fine-tune and its base, counted: what FM-Delta's and ZipLLM's figures draw.

Bits that flip by position and the bit distance (ZipLLM); classes of integer deltas, whose raw bits are the
code-length histogram, and the rate an ideal coder of them reaches (FM-Delta); changes of the weights by
powers of two; and FM-Delta's question which representation of the difference is best. Over the elements of
float tensors that have a counterpart in the base (`weightbench.lineage.match_tensors`). All counts are exact
but those of representations, see `Representations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from weightbench.lineage import Match, match_tensors
from weightbench.models import Model
from weightbench.models.model import Array
from weightcodecs.formats import FloatFormat, get_format

from .delta_counting import count_changes, count_classes, gather
from .entropies import Counts, entropy_bits, rounded, trimmed
from .representations import Representations
from .values import PIECE, ValueCounts, patterns

__all__ = ["DETAILED", "DeltaCounts", "delta_distributions", "values_of"]

DETAILED = 9
"""Models whose histograms are told; of those behind them only the numbers, to keep rows small."""
_BIAS = 1023  # of float64, in which changes are taken

Progress = Callable[[int], None]


def delta_distributions(
    pairs: Sequence[tuple[Model, Model]], progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Return, for each (fine-tune, base), what their differences look like in each float format.

    Args:
        pairs: read tensor by tensor, a piece of each side at once.
        progress: called with the bytes of each piece of a fine-tune that was looked at.

    Returns:
        see docs/results.md, `result.distributions.deltas`.
    """
    said = []
    for place, (model, base) in enumerate(pairs):
        counted = _count(model, base, progress or (lambda nbytes: None))
        formats = {name: counts.plain(detailed=place < DETAILED) for name, counts in counted.items()}
        said.append({"model": model.name, "base": base.name, "formats": formats})
    return said


def _count(model: Model, base: Model, progress: Progress) -> dict[str, DeltaCounts]:
    matches = match_tensors(model, base)
    formats = {key: get_format(model.tensors[key].format) for key in matches}
    totals: dict[str, int] = {}
    for key, match in matches.items():
        if formats[key].is_float:
            totals[formats[key].name] = totals.get(formats[key].name, 0) + match.common
    counted = {name: DeltaCounts(get_format(name), total) for name, total in totals.items()}
    for key, match in matches.items():
        if formats[key].is_float:
            counts = counted[formats[key].name]
            counts.tensors += 1
            for ours, theirs in _pieces(model, base, key, match):
                counts.add(theirs, ours)
                progress(ours.nbytes)
            model.drop(key)
            base.drop(match.tensor)
    return counted


def _pieces(model: Model, base: Model, key: str, match: Match) -> Iterator[tuple[Array, Array]]:
    for first in range(0, match.common, PIECE):
        last = min(first + PIECE, match.common)
        yield (
            patterns(model.elements(key, first, last)),
            patterns(base.elements(match.tensor, first, last)),
        )


def values_of(words: Array, format: FloatFormat) -> Array:
    """Return patterns as the float32 or float64 values that they are, read-only."""
    values: Array = words.view(format.dtype) if format.bits >= 32 else gather(_value_table(format), words)
    values.flags.writeable = False
    return values


@cache
def _value_table(format: FloatFormat) -> Array:
    """Return the float32 values of all patterns of a format of 16 bits or fewer."""
    every = np.arange(1 << format.bits, dtype=format.bits_dtype).view(format.dtype)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return every.astype(np.float32)


class DeltaCounts:
    """Differences of the values of one float format between a fine-tune and its base."""

    def __init__(self, format: FloatFormat, total: int) -> None:
        """Expect `total` values; it decides how much of them is looked at in other representations."""
        self.format, self.tensors, self.same_change = format, 0, 0
        self._xor = ValueCounts(format, distinct=False)
        self._classes: Counts = np.zeros((2, 1 << format.exponent_bits, 2 * format.bits + 1), np.int64)
        self._changes: Counts = np.zeros((2, 2, 2 * (_BIAS + 1)), np.int64)
        self._squares = np.zeros(2)
        self._others = Representations(format, total)

    def add(self, base: Array, fine: Array) -> None:
        """Count the differences of patterns (n,), n ≤ `PIECE`, unsigned, see `patterns`."""
        xor = base ^ fine
        xor.flags.writeable = False
        self._xor.add(xor)
        count_classes(base, fine, self.format, self._classes)
        wide = values_of(base, self.format), values_of(fine, self.format)
        self.same_change += count_changes(*wide, self._changes, self._squares)
        self._others.add(base, fine, xor)

    def plain(self, *, detailed: bool = True) -> dict[str, Any]:
        """Return what a row says, see docs/results.md; without histograms if it shall be short."""
        joint = self._classes.sum(axis=0)
        classes, exponents = joint.sum(axis=0), joint.sum(axis=1)
        values, width = self._xor.values, self.format.bits
        flips = self._xor.bits_set()
        given = [entropy_bits(row) * int(count) for row, count in zip(joint, exponents, strict=True) if count]
        raw_bits = int((np.maximum(np.abs(np.arange(-width, width + 1)) - 1, 0) * classes).sum())
        changes = self._changes.sum(axis=0)
        compared = int(changes[:, :-1].sum())
        histograms: dict[str, Any] = {
            "flips": flips,
            "classes": {
                "up": trimmed(classes[width + 1 :]),
                "down": trimmed(classes[:width][::-1]),
            },
            "changes": {
                "zero": self.same_change,
                "nonfinite": int(changes[:, -1].sum()),
                **_change_histograms(changes, self.same_change),
            },
        }
        xor = self._xor.plain()
        return {
            "tensors": self.tensors,
            "values": values,
            "equal": int(classes[width]),
            "bit_distance": rounded(sum(flips) / values) if values else 0.0,
            **(histograms if detailed else {}),
            "class_entropy": rounded(entropy_bits(classes)),
            "class_entropy_given_exponent": rounded(sum(given) / values) if values else 0.0,
            "raw_bits": rounded(raw_bits / values) if values else 0.0,
            "rms_change": _rms(self._squares[0], compared),
            "rms_base": _rms(self._squares[1], compared),
            "xor": {name: xor[name] for name in ("sign", "sign_mantissa", "mantissa", "planes")}
            | {"exponent": {name: xor["exponent"][name] for name in ("bits", "entropy", "huffman")}}
            | ({"whole": xor["whole"]} if "whole" in xor else {}),
            "representations": self._others.plain(),
        }


def _change_histograms(changes: Counts, zeros: int) -> Mapping[str, Any]:
    """Return finite, nonzero changes by ⌊log2⌋; those below 2^-1022 count as 2^-1023."""
    up, down = changes[0, :-1].copy(), changes[1, :-1].copy()
    up[0] -= zeros  # x − x is +0
    return {"up": trimmed(up, -_BIAS), "down": trimmed(down, -_BIAS)}


def _rms(squares: float, count: int) -> float | None:
    """Return the root of the mean square; None if there is nothing, or it is beyond float64."""
    mean = float(squares) / count if count else float("nan")
    return float(np.sqrt(mean)) if np.isfinite(mean) else None
