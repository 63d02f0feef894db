"""The values of models: fields of their bit patterns counted, one pass a tensor, whatever the float format.

What figures of the papers draw: histograms of the exponent field and the share of |w| < 1 (Elf, ZipNN), what
Huffman codes of bytes or of fields reach (ZipNN's "exponent extraction"), distinct values (Elves' distance
encoding). All counts are exact, over all values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

import numpy as np

from weightbench.models import Model
from weightbench.models.model import Array
from weightcodecs.formats import FloatFormat, get_format

from .counting import HIGH, count_bytes, count_highest, count_zeros
from .distinct import DistinctPatterns
from .entropies import Counts, marginal, symbol_costs, trimmed

__all__ = ["ValueCounts", "patterns", "pieces", "value_distributions"]

PIECE = 1 << 20  # values looked at at once
_SETTLE = 1 << 31
TOP = 12  # exponents whose share is told: ZipNN says of its models how much their 12 most frequent cover

Progress = Callable[[int], None]


def value_distributions(models: Iterable[Model], progress: Progress | None = None) -> dict[str, Any]:
    """Return, for each float format, what the values of all tensors of all models look like.

    Args:
        models: read tensor by tensor; a tensor that occurs twice counts twice.
        progress: called with the bytes of each piece that was looked at.

    Returns:
        see docs/results.md, `result.distributions.values`.
    """
    counted: dict[str, ValueCounts] = {}
    for model in models:
        for name, info in model.tensors.items():
            format = get_format(info.format)
            if not format.is_float:
                continue
            counts = counted.setdefault(format.name, ValueCounts(format))
            for piece in pieces(model, name, 0, prod(info.shape)):
                counts.add(piece)
                if progress is not None:
                    progress(piece.nbytes)
            model.drop(name)
    return {name: counts.plain() for name, counts in counted.items()}


def pieces(model: Model, name: str, start: int, stop: int) -> Iterator[Array]:
    """Yield the bit patterns of elements [start, stop) of a tensor, at most `PIECE` at once."""
    for first in range(start, stop, PIECE):
        yield patterns(model.elements(name, first, min(first + PIECE, stop)))


def patterns(values: Array) -> Array:
    """Return the bit patterns of floats as a flat array of the one kind that kernels are compiled for."""
    words = np.require(values, requirements=["C", "A"]).reshape(-1).view(f"u{values.itemsize}")
    words.flags.writeable = False
    return words


class ValueCounts:
    """Counts of the values of one float format."""

    def __init__(self, format: FloatFormat, *, distinct: bool = True) -> None:
        """Count distinct patterns of wide formats only if asked to: those of narrow ones cost nothing."""
        self.format = format
        self.values = self.zeros = 0
        self.high: Counts = np.zeros(1 << min(format.bits, HIGH), np.int64)
        self.low: Counts = np.zeros((max(format.bits - HIGH, 0) // 8, 256), np.int64)
        # What came since the last `_settle`, in counters that the caches hold more of.
        self._recent = np.zeros((2, self.high.size), np.uint32), np.zeros((2, *self.low.shape), np.uint32)
        self._unsettled = 0
        self._distinct = DistinctPatterns(format.nbytes) if distinct and format.bits > HIGH else None

    def add(self, words: Array) -> None:
        """Count bit patterns (n,), unsigned, see `patterns`."""
        self.values += words.size
        self.zeros += count_zeros(words)
        high, low = self._recent
        count_highest(words, high)
        if low.size:
            count_bytes(words, low)
        self._unsettled += words.size
        if self._unsettled > _SETTLE:
            self._settle()
        if self._distinct is not None:
            self._distinct.add(words)

    def _settle(self) -> None:
        for total, recent in zip((self.high, self.low), self._recent, strict=True):
            total += recent.sum(axis=0, dtype=np.int64)
            recent[:] = 0
        self._unsettled = 0

    def bits_set(self) -> list[int]:
        """Return in how many values each bit is set, the sign first."""
        self._settle()
        top = min(self.format.bits, HIGH)
        places = np.arange(self.high.size)
        set_high = [int(self.high[places >> bit & 1 == 1].sum()) for bit in reversed(range(top))]
        ones = np.arange(256)
        low = [[int(p[ones >> bit & 1 == 1].sum()) for bit in reversed(range(8))] for p in self.low[::-1]]
        return [*set_high, *(count for plane in low for count in plane)]

    def plain(self) -> dict[str, Any]:
        """Return what a row says, see docs/results.md."""
        self._settle()
        format, high = self.format, self.high
        fields = np.arange(high.size)
        below = min(format.bits, HIGH) - 1 - format.exponent_bits  # mantissa bits among the highest
        exponents = marginal(
            high, fields >> below & (1 << format.exponent_bits) - 1, 1 << format.exponent_bits
        )
        signs = marginal(high, fields >> min(format.bits, HIGH) - 1, 2)
        rest = below // 8 * 8 if below % 8 else max(below - 8, 0)  # of those, what whole bytes hold
        top_bits = below - rest
        top = fields >> rest & (1 << top_bits) - 1
        signed_top = top | fields >> min(format.bits, HIGH) - 1 << top_bits
        mantissa = [(top_bits, marginal(high, top, 1 << top_bits))]
        if rest:
            mantissa.append((8, marginal(high, fields & 0xFF, 256)))
        mantissa += [(8, plane) for plane in self.low[::-1]]
        raw = [marginal(high, fields >> 8, 256)] if format.bits > 8 else []
        planes = [*raw, marginal(high, fields & 0xFF, 256), *self.low[::-1]]
        largest = np.sort(exponents)[::-1]
        said: dict[str, Any] = {
            "values": self.values,
            "zeros": self.zeros,
            "subnormals": int(exponents[0]) - self.zeros,
            "nonfinite": self._nonfinite(exponents),
            "below_one": int(exponents[: format.bias].sum()),
            "negative": int(signs[1]),
            "exponent": {
                "bits": format.exponent_bits,
                **trimmed(exponents),
                "distinct": int(np.count_nonzero(exponents)),
                "share_of_12": float(largest[:TOP].sum() / self.values) if self.values else 0.0,
                **symbol_costs(exponents),
            },
            "sign": {"bits": 1, **symbol_costs(signs)},
            "mantissa": [{"bits": bits, **symbol_costs(counts)} for bits, counts in mantissa],
            "sign_mantissa": {
                "bits": 1 + top_bits,
                **symbol_costs(marginal(high, signed_top, 2 << top_bits)),
            },
            "planes": [{"bits": 8, **symbol_costs(counts)} for counts in planes],
            "bytes": {"bits": 8, **symbol_costs(np.sum(planes, axis=0))},
        }
        if format.bits <= HIGH:
            distinct = int(np.count_nonzero(high))
            said["whole"] = {"bits": format.bits, **symbol_costs(high), "distinct": distinct, "sampled": 1.0}
        elif self._distinct is not None:
            distinct, sampled = self._distinct.count, self._distinct.sampled
            said["whole"] = {"bits": format.bits, "distinct": distinct, "sampled": sampled}
        return said

    def _nonfinite(self, exponents: Counts) -> int:
        if self.format.bits <= HIGH:
            every = np.arange(self.high.size, dtype=self.format.bits_dtype).view(self.format.dtype)
            return int(self.high[~np.isfinite(every.astype(np.float32))].sum())
        return int(exponents[-1])
