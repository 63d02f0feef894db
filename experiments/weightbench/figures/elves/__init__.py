"""Figures of Elves (Su et al., PVLDB 17(8), 2024), a file a topic."""

from weightbench.figures.elves import (
    ablation,
    accuracy,
    bounds,
    errors,
    granularity,
    ratios,
    threads,
    weights,
)

__all__ = ["SHEETS"]

SHEETS = (
    *ratios.SHEETS,
    *granularity.SHEETS,
    *weights.SHEETS,
    *errors.SHEETS,
    *ablation.SHEETS,
    *threads.SHEETS,
    *accuracy.SHEETS,
    *bounds.SHEETS,
)
"""In the order of the paper's argument: what there is to gain, from what, by which steps, at what price."""
