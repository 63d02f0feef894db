"""Counts as numbers for a row: entropies, code lengths, trimmed histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts", "entropy_bits", "marginal", "rounded", "symbol_costs", "trimmed"]

Counts = NDArray[np.int64]


def entropy_bits(counts: Counts) -> float:
    """Return the order-0 (plug-in) entropy of counted symbols in bits a symbol; 0.0 if there are none.

    Source: Shannon (1948); as in every "entropy" of docs/results.md, no correction for small samples.
    """
    present = counts[counts > 0].astype(np.float64)
    total = present.sum()
    if present.size < 2:
        return 0.0
    return float(np.log2(total) - (present * np.log2(present)).sum() / total)


def symbol_costs(counts: Counts) -> dict[str, float]:
    """Return bits a symbol: ``entropy``, and ``huffman``, of an optimal prefix code without its table."""
    from .counting import huffman_total_bits

    total = int(counts.sum())
    huffman = huffman_total_bits(counts) / total if total else 0.0
    return {"entropy": rounded(entropy_bits(counts)), "huffman": rounded(huffman)}


def rounded(bits: float) -> float:
    """Return bits a value to the millionth: rows hold thousands of such numbers."""
    return round(bits, 6)


def trimmed(counts: Counts, offset: int = 0) -> dict[str, Any]:
    """Return counts without the zeros at both ends, and the index of the first (plus `offset`)."""
    present = np.flatnonzero(counts)
    if not present.size:
        return {"first": 0, "counts": []}
    low, high = int(present[0]), int(present[-1])
    return {"first": low + offset, "counts": counts[low : high + 1].tolist()}


def marginal(counts: Counts, symbols: NDArray[np.integer[Any]], size: int) -> Counts:
    """Add up counts (n,) by the symbols (n,), all below `size`, that they belong to."""
    out = np.zeros(size, np.int64)
    np.add.at(out, symbols, counts)
    return out
