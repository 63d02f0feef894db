"""One side of a comparison: the rows of a results folder or a table's file, or some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from weightbench.errors import WeightbenchError
from weightbench.table import read_cells
from weightcodecs.errors import nearest_names

__all__ = ["CompareError", "Flat", "Side", "read_side"]

Flat = Mapping[str, Any]

_PREFIXES = ("cell.", "result.speed.encode.", "result.speed.decode.")
_COLUMNS = (
    "id", "status", "reason", "finished", "environment.cpu.model", "result.sizes.stored_bytes",
    "result.speed.single_round", "result.evaluation.changes", "result.error.bit_exact",
)  # fmt: skip


class CompareError(WeightbenchError):
    """The sides cannot be read, or do not go together; one line for the user."""


@dataclass(frozen=True, slots=True)
class Side:
    """Rows to compare.

    Attributes:
        name: what was typed.
        rows: dotted columns and their values, those that are null left out.
        selected: the columns that the selection names, and their values.
    """

    name: str
    rows: tuple[Flat, ...]
    selected: tuple[tuple[str, str], ...]


def read_side(text: str) -> Side:
    """Read ``PATH`` or ``PATH@column=value,column=value``.

    Args:
        text: PATH is a results folder or a cells.parquet; only rows whose columns have those values count.

    Raises:
        CompareError: there is no such thing, or nothing in it.
        StoreError: a row cannot be read, or a newer version wrote it.
    """
    path, wanted = _parts(text)
    table = _read(path)
    unknown = [name for name in wanted if name not in table.column_names]
    if unknown:
        near = nearest_names(unknown[0], table.column_names)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise CompareError(f"no row of {path} has the column {unknown[0]!r}{hint}")
    columns = [name for name in table.column_names if name in _COLUMNS or name.startswith(_PREFIXES)]
    columns += [name for name in wanted if name not in columns]
    rows = [
        {name: value for name, value in row.items() if value is not None}
        for row in table.select(columns).to_pylist()
    ]
    found = [row for row in rows if all(_same(row.get(name), value) for name, value in wanted.items())]
    if not found:
        raise CompareError(f"{text}: none of {len(rows)} rows is like that" if wanted else f"{path} is empty")
    return Side(text, tuple(found), tuple(wanted.items()))


def _parts(text: str) -> tuple[Path, dict[str, str]]:
    if Path(text).exists() or "@" not in text:
        return Path(text), {}
    path, _, selection = text.rpartition("@")
    wanted = dict(part.partition("=")[::2] for part in selection.split(","))
    if "" in wanted or not all("=" in part for part in selection.split(",")):
        raise CompareError(f"{text}: after @ stands column=value,column=value")
    return Path(path), wanted


def _read(path: Path) -> pa.Table:
    if path.is_dir():
        return read_cells(path)
    if not path.exists():
        raise CompareError(f"there is no {path}: name a results folder or a cells.parquet")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise CompareError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from error
    if not {"id", "status"} <= set(table.column_names):
        raise CompareError(f"{path} is no table of cells (it has no id and status)")
    return table


def _same(value: object, wanted: str) -> bool:
    """Whether a value is what was typed: numbers as numbers, ``true`` and ``null`` as in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value] == wanted.lower()
    if isinstance(value, int | float):
        try:
            return float(wanted) == value
        except ValueError:
            return False
    return str(value) == wanted
