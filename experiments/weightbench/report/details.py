"""What a reader sees of one cell: everything in its row, its tensors, its environment; kept in small blocks.

A block holds the cells that stand together in the table, and is decompressed in the browser when one of them
is looked at: of 10,000 cells nobody opens more than a few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from weightbench.report.columns import encoded, plain
from weightbench.report.commands import reproduce

__all__ = ["BLOCK", "MAX_TENSORS", "Environments", "blocks", "environments"]

BLOCK = 64
MAX_TENSORS = 400_000
"""Tensor records that a report holds if nothing else is said: some 8 MB."""

_LEFT = ("environment.", "result.evaluation.settings.", "result.speed.plan.")  # told elsewhere in the row
_OWN = ("system", "label", "model", "dtype", "workload", "granularity", "ratio", "bits", "rounds")
_MOVING = (
    "environment.load.", "environment.memory.available_bytes", "environment.cpu.mhz",
    "environment.variables.", "environment.git.",
)  # fmt: skip
_TENSORS = {
    "key": "text", "codec": "text", "format": "text",
    "raw_bytes": "number", "stored_bytes": "number", "side_bytes": "number",
    "encode_seconds": "number", "decode_seconds": "number", "memcpy_seconds": "number",
}  # fmt: skip
_DIGITS = 6

Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Environments:
    """The machines and versions that cells ran with.

    Attributes:
        distinct: the different ones, as dotted names and values.
        places: cell by cell, which of them.
        moving: cell by cell, what differs from run to run on one machine: load, git revision, variables.
    """

    distinct: list[dict[str, Any]]
    places: list[int]
    moving: list[dict[str, Any]]


def environments(cells: pandas.DataFrame) -> Environments:
    """Return the environments of the cells, equal ones once."""
    names = [str(name) for name in cells if str(name).startswith("environment.")]
    columns = {name: plain(cells[name]) for name in names}
    stable = [name for name in names if not name.startswith(_MOVING)]
    moving = [name for name in names if name.startswith(_MOVING)]
    distinct: dict[tuple[Any, ...], int] = {}
    rows = zip(*(columns[name] for name in stable), strict=True) if stable else iter([()] * len(cells))
    places = [distinct.setdefault(row, len(distinct)) for row in rows]
    told = [_there(stable, row) for row in distinct]
    changing = zip(*(columns[name] for name in moving), strict=True) if moving else iter([()] * len(cells))
    return Environments(told, places, [_there(moving, row) for row in changing])


def _there(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {
        name.removeprefix("environment."): value
        for name, value in zip(names, values, strict=True)
        if value is not None
    }


def blocks(
    cells: pandas.DataFrame, tensors: pandas.DataFrame, ran: Environments, max_tensors: int = MAX_TENSORS
) -> list[Block]:
    """Return the details of all cells, `BLOCK` of them a block.

    A block has ``same`` (fields that all its cells share), ``each`` (fields cell by cell), ``commands``,
    ``environments``, ``moving`` and ``tensors``: columns over the records of all its cells, and where each
    cell's start (``starts``, one more than cells); ``left``: cell by cell the number of records left out.
    Numbers that are not whole are rounded to 6 digits: all of them are the bulk of a file, and the page's
    table, pictures and intervals have theirs in full.

    Args:
        cells: as :func:`weightbench.figures.rows.read_cells` gives them, in the order of the table.
        tensors: as :func:`weightbench.results.tensors` gives them.
        ran: the environments of the cells.
        max_tensors: cells whose tensor records would go beyond that many in all are without them.
    """
    names = [str(name) for name in cells if not str(name).startswith(_LEFT) and name not in _OWN]
    columns = {name: plain(_rounded(cells[name])) for name in names}
    cell_names = [name for name in names if name.startswith("cell.")]
    settings = zip(*(plain(cells[name]) for name in cell_names), strict=True)
    commands = [
        reproduce({name: value for name, value in zip(cell_names, row, strict=True) if value is not None})
        for row in settings
    ]
    records, counts = _in_order(plain(cells["id"]), tensors)
    kept = np.where(np.cumsum(counts) <= max_tensors, counts, 0)
    ends = np.cumsum(counts)
    made: list[Block] = []
    for start in range(0, len(cells), BLOCK):
        span = slice(start, min(start + BLOCK, len(cells)))
        same, each = _split(columns, span)
        places = _places(ends, kept, span)
        made.append({
            "same": same, "each": each, "commands": commands[span], "environments": ran.places[span],
            "moving": ran.moving[span], "left": (counts - kept)[span].tolist(),
            "tensors": _columns(records.iloc[places]) | {"starts": [0, *np.cumsum(kept[span]).tolist()]},
        })  # fmt: skip
    return made


def _rounded(values: pandas.Series[Any]) -> pandas.Series[Any]:
    if values.dtype != np.float64:
        return values
    number = values.to_numpy()
    with np.errstate(all="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(number))))
        short = np.round(number * scale) / scale
    usable = np.isfinite(short) & (number != np.floor(number))
    return pandas.Series(np.where(usable, short, number), index=values.index)


def _split(columns: Mapping[str, list[Any]], span: slice) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    same: dict[str, Any] = {}
    each: dict[str, list[Any]] = {}
    for name, values in columns.items():
        own = values[span]
        if own.count(own[0]) < len(own):
            each[name] = own
        elif own[0] is not None:
            same[name] = own[0]
    return same, each


def _in_order(ids: Sequence[str], tensors: pandas.DataFrame) -> tuple[pandas.DataFrame, NDArray[np.int64]]:
    """Return the tensor records in the order of the cells, and how many each cell has."""
    if tensors.empty:
        return tensors, np.zeros(len(ids), np.int64)
    owner = tensors["id"].map({id_: place for place, id_ in enumerate(ids)})
    numbers = [name for name, kind in _TENSORS.items() if kind == "number" and name in tensors]
    own = tensors.assign(_owner=owner, **{name: _rounded(tensors[name]) for name in numbers})
    own = own.dropna(subset=["_owner"])
    ordered = own.sort_values(["_owner", "index"], kind="stable")
    return ordered, np.bincount(ordered["_owner"].astype(int), minlength=len(ids)).astype(np.int64)


def _places(ends: NDArray[np.int64], kept: NDArray[np.int64], span: slice) -> NDArray[np.int64]:
    """Return where the records of a block's cells stand that are kept: first cells, then none."""
    runs = [np.arange(end - count, end) for end, count in zip(ends[span], kept[span], strict=True) if count]
    return np.concatenate(runs) if runs else np.zeros(0, np.int64)


def _columns(records: pandas.DataFrame) -> dict[str, Any]:
    return {
        name: encoded("number" if kind == "number" else "text", plain(records[name]))
        for name, kind in _TENSORS.items()
        if name in records
    }
