"""Two sets of rows beside each other: cells paired, changes with intervals, regressions marked."""

from weightbench.compare.changes import Change, Thresholds, changes
from weightbench.compare.overall import Overall, overall
from weightbench.compare.pairs import CompareError, Pair, pairs
from weightbench.compare.sides import Side, read_side

__all__ = [
    "Change",
    "CompareError",
    "Overall",
    "Pair",
    "Side",
    "Thresholds",
    "changes",
    "overall",
    "pairs",
    "read_side",
]
