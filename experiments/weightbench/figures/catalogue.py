"""All sheets, by the paper they follow."""

from __future__ import annotations

from weightbench.figures import pareto
from weightbench.figures.sheet import Sheet

__all__ = ["SHEETS"]

SHEETS: dict[str, tuple[Sheet, ...]] = {
    "pareto": pareto.SHEETS,
}
"""A paper's figures in its order; "pareto" is what no paper has: all systems in one picture."""
