"""What the paper compares: the systems, and the rows in which each of them saw the same weights."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas

from weightbench.figures.rows import NoRowsError, Rows, numbers
from weightcodecs import get_format

__all__ = ["DEQUANTISED", "NAMES", "compared"]

ELF_BOUND = 2.0**-24
"""Elf's bound of float32, with which SZ3 stands beside it."""
NAMES = {
    "zlib": "zlib",
    "zstd": "zstd",
    "sz3": "sz3 (bound 2^-24)",
    "cast": "cast to bfloat16",
    "int8": "int8 (absmax)",
    "distance": "distance encoding",
    "elf": "elf",
    "elves": "elves",
    "elves (paper)": "elves (as published)",
}
"""Series by the label of a row, in the paper's order; each begins with the name of its system."""
DEQUANTISED = "dequantised"
"""In the note of a model: its weights sit on a grid, which no ordinary checkpoint's do."""


def compared(rows: Rows) -> pandas.DataFrame:
    """Return a line for each model, format and system: ``series``, and all columns of the row.

    One checkpoint by itself, tensor by tensor, every codec with its defaults; SZ3 with Elf's bound.

    Raises:
        NoRowsError: there is none.
    """
    cells = rows.where(workload="single", granularity="tensor").one_each().copy()  # in one block
    bound = numbers(cells, "cell.codec.error_bound_absolute")
    series = cells["label"].map(NAMES).mask(cells["system"] == "sz3")
    cells["series"] = series.mask((cells["system"] == "sz3") & (bound == ELF_BOUND), NAMES["sz3"])
    cells = cells.dropna(subset=["series", "ratio"])
    # A codec that does not take most of the weights, or keeps them as they are, says nothing about them.
    cells = cells[[_is_about(row) for row in cells.to_dict("records")]]
    if cells.empty:
        raise NoRowsError(f"no checkpoint by itself, tensor by tensor, coded by {', '.join(NAMES)}")
    place = {name: number for number, name in enumerate(NAMES.values())}
    cells = cells.assign(_place=cells["series"].map(place)).sort_values(
        ["model", "dtype", "_place", "cell.dedup"]
    )
    return cells.drop_duplicates(["model", "dtype", "series"]).drop(columns="_place").reset_index(drop=True)


def _is_about(row: dict[Hashable, Any]) -> bool:
    """Whether a codec changes the format that most bytes of a model have."""
    if isinstance(row.get(f"result.sizes.passed_through.{row['dtype']}"), str):
        return False
    return row["system"] != "cast" or get_format(row["cell.codec.to"]).bits < get_format(row["dtype"]).bits
