"""The papers' values as lines of a sheet's data, beside ours."""

from __future__ import annotations

import pandas

from weightbench.figures.charts import OURS, PAPER
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError

__all__ = ["PAPER_MARK", "papers_values", "split_x", "together"]

PAPER_MARK = " (paper)"
"""What a group's name ends with that only the paper has."""


def papers_values(sheet: str) -> pandas.DataFrame:
    """Return what the papers report for a sheet: columns of ``published`` and ``source``."""
    return published("zipnn", sheet).assign(source=PAPER)


def split_x(frame: pandas.DataFrame, name: str) -> pandas.DataFrame:
    """Return a frame with ``x`` cut at its last "|": what is before stays, the rest is column ``name``."""
    parts = frame["x"].str.rpartition("|")
    return frame.assign(x=parts[0], **{name: parts[2]})


def together(ours: pandas.DataFrame, papers: pandas.DataFrame, wanted: str) -> pandas.DataFrame:
    """Return our lines, marked as such, above the papers'.

    Raises:
        NoRowsError: there is none of ours; ``wanted`` says what was looked for.
    """
    if ours.empty:
        raise NoRowsError(f"no row of {wanted}")
    return pandas.concat([ours.assign(source=OURS), papers], ignore_index=True)
