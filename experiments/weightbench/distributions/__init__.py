"""Distributions of the weights themselves: what figures draw of models, whatever codec stores them.

Histograms and entropies, exact over all values, in plain numbers small enough for a row: of values, of
differences between a fine-tune and its base, of a checkpoint given its quantised version. Asked for by
`distributions=true`. The layout is docs/results.md's.
"""

from .deltas import delta_distributions
from .pairs import pair_distributions
from .values import value_distributions

__all__ = ["delta_distributions", "pair_distributions", "value_distributions"]
