"""From stores to the HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

from weightbench import results
from weightbench.errors import EmptyStoreError, WeightbenchError
from weightbench.figures.rows import read_cells
from weightbench.report.charts import PICTURES, library, look, picture
from weightbench.report.columns import COLUMNS, encoded, plain
from weightbench.report.details import BLOCK, MAX_TENSORS, Environments, blocks, environments
from weightbench.report.measures import comparable, measures
from weightbench.report.page import page
from weightbench.store import store_error, write_atomically
from weightcodecs.errors import nearest_names

__all__ = ["SelectionError", "table_of", "write_report"]

_ORDER = ["_wrong", "model", "dtype", "workload", "system", "label", "granularity", "cell.measure.name", "id"]


class SelectionError(WeightbenchError):
    """What is to be selected is no column of the rows; the message names the nearest."""


def write_report(
    stores: Sequence[Path], out: Path, where: Sequence[str] = (), max_tensors: int = MAX_TENSORS
) -> int:
    """Write the report of some stores; return the number of its cells.

    Args:
        stores: results folders; of equal cells that of the first counts.
        out: the file, replaced atomically.
        where: ``COLUMN=VALUE``, each: only rows like that; columns of
            :func:`weightbench.figures.rows.read_cells`, or keys of the report's own table.
        max_tensors: how many tensor records it holds; cells beyond say so.

    Raises:
        EmptyStoreError: no rows there, or none like that.
        SelectionError: no such column.
        StoreError: a row cannot be read, or the file cannot be written.
    """
    cells = _selected(read_cells(stores), where)
    cells = cells.assign(_wrong=cells["status"] != "ok").sort_values(_ORDER, kind="stable")
    cells = cells.drop(columns="_wrong").reset_index(drop=True)
    ran, tensors = environments(cells), results.tensors(list(stores))
    text = page(
        "weightbench report",
        library(),
        table_of(cells, ran, stores, where),
        blocks(cells, tensors, ran, max_tensors),
    )
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise store_error(error, f"the report could not be written to {out}") from error
    return len(cells)


def _selected(cells: pandas.DataFrame, where: Sequence[str]) -> pandas.DataFrame:
    keys = {column.key: column.source for column in COLUMNS}
    for condition in where:
        name, equals, value = condition.partition("=")
        column = keys.get(name, name)
        if not equals or column not in cells:
            near = nearest_names(name, [*keys, *map(str, cells.columns)])
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SelectionError(f"{condition!r}: COLUMN=VALUE is meant, and no row has {name!r}{hint}")
        cells = cells[[_same(held, value) for held in plain(cells[column])]]
    if cells.empty:
        raise EmptyStoreError(f"no row with {' and '.join(where)}")
    return cells


def _same(held: Any, wanted: str) -> bool:
    """Whether a value is what was typed: numbers as numbers, ``true`` and ``null`` as in YAML."""
    if held is None or isinstance(held, bool):
        return {None: "null", True: "true", False: "false"}[held] == wanted.lower()
    if isinstance(held, int | float):
        try:
            return float(wanted) == held
        except ValueError:
            return False
    return str(held) == wanted


def table_of(
    cells: pandas.DataFrame, ran: Environments, stores: Sequence[Path], where: Sequence[str]
) -> dict[str, Any]:
    """Return what the page shows at once: columns, measures, looks of systems, environments, pictures."""
    groups = comparable(cells)
    found = measures(cells, groups)
    systems = sorted(set(cells["system"]))
    drawn = {measure.picture for measure in found}
    return {
        "stores": [str(store) for store in stores],
        "where": list(where),
        "rows": len(cells),
        "block": BLOCK,
        "columns": [_column(cells, place) for place in range(len(COLUMNS)) if COLUMNS[place].source in cells],
        "groups": encoded("choice", groups),
        "measures": [
            {
                "picture": measure.picture,
                "title": measure.title,
                "reference": measure.reference,
                "values": [None if value is None else value[0] for value in measure.values],
                "low": [None if value is None else value[1] for value in measure.values],
                "high": [None if value is None else value[2] for value in measure.values],
                "front": measure.front,
            }
            for measure in found
        ],
        "looks": {system: look(system) for system in systems},
        "environments": [
            {"fields": fields, "cells": ran.places.count(place)} for place, fields in enumerate(ran.distinct)
        ],
        "pictures": [
            {"name": name, "title": title, "item": picture(name)}
            for name, title in PICTURES.items()
            if name in drawn
        ],
    }


def _column(cells: pandas.DataFrame, place: int) -> dict[str, Any]:
    column = COLUMNS[place]
    made = {"key": column.key, "title": column.title, "kind": column.kind, "unit": column.unit}
    values = {
        **made,
        "shown": column.shown,
        "narrow": column.narrow,
        **encoded(column.kind, plain(cells[column.source])),
    }
    for end, source in (("low", column.low), ("high", column.high)):
        if source in cells:
            values[end] = plain(cells[source])
    return values
