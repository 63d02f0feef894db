"""All sheets, by the paper they follow."""

from __future__ import annotations

from weightbench.figures import elves, fm_delta, pareto, qstore, zipllm, zipnn
from weightbench.figures.sheet import Sheet
from weightcodecs.errors import UnknownNameError

__all__ = ["SHEETS", "sheet_named"]

SHEETS: dict[str, tuple[Sheet, ...]] = {
    "elves": elves.SHEETS,
    "zipnn": zipnn.SHEETS,
    "zipllm": zipllm.SHEETS,
    "fm_delta": fm_delta.SHEETS,
    "qstore": qstore.SHEETS,
    "pareto": pareto.SHEETS,
}
"""A paper's figures in its order; "pareto" is what no paper has: all systems in one picture."""


def sheet_named(paper: str, name: str) -> Sheet:
    """Return one sheet; raises `UnknownNameError` with the nearest names."""
    if paper not in SHEETS:
        raise UnknownNameError("paper", paper, SHEETS)
    found = {sheet.name: sheet for sheet in SHEETS[paper]}
    if name not in found:
        raise UnknownNameError(f"figure of {paper}", name, found)
    return found[name]
