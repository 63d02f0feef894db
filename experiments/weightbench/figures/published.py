"""The papers' own values, to stand beside ours: tidy tables in ``papers/``, one a paper.

Columns: ``figure`` (the sheet), ``series`` (a system or line), ``x`` (model, bandwidth, …), ``value``,
``unit``, ``where`` (figure or table of the paper), ``setting`` (what it was measured on, and how the value
was come by where that is not printed: read off a plot, digitised, from a third party's digest).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas

__all__ = ["published"]

COLUMNS = ("figure", "series", "x", "value", "unit", "where", "setting")


@cache
def _table(paper: str) -> pandas.DataFrame:
    source = files(__package__) / "papers" / f"{paper}.csv"
    with source.open(encoding="utf-8") as file:
        return pandas.read_csv(file, dtype={"series": str, "x": str}, keep_default_na=False)


def published(paper: str, figure: str) -> pandas.DataFrame:
    """Return what a paper reports for one of our sheets; ``value`` is a number, the rest text.

    Args:
        paper: elves, zipnn, zipllm, fm_delta or qstore.
        figure: the sheet's name; rows of others are left out.
    """
    table = _table(paper)
    return table[table["figure"] == figure].drop(columns="figure").reset_index(drop=True)
