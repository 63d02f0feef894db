"""The tables of a store: all rows as two Parquet files that pandas, Polars and DuckDB read as they are.

``cells.parquet`` has one line a cell: ``id``, ``status``, ``reason``, … and the nested parts as dotted
columns (``cell.codec.name``, ``result.ratio``, ``environment.cpu.model``, ``error.type``).
``tensors.parquet`` has one line a tensor record, with the ``id`` of its cell and its ``index`` there. Both
are only a cache of the rows: delete them at will.

Rows that have not changed are taken from the tables. Which have is known from the store's journal
(:mod:`weightbench.journal`), or, where that does not tell, from the size and time of every row file. In a
large store a few new rows are written to small files beside the large ones (:mod:`weightbench.segments`).
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from weightbench import canonical, journal
from weightbench.columns import Flat, build, flatten, together, without
from weightbench.errors import DamagedRowError
from weightbench.frozen import read_frozen
from weightbench.journal import TICK_S
from weightbench.rows import Row
from weightbench.segments import NAMES, Segments, joined, opened, table_of, write_large, write_small, writing
from weightbench.store import Store, log_damaged, store_error

CELL_COLUMNS = {
    "id": "text", "status": "text", "reason": "text", "lasting": "bool", "started": "text",
    "finished": "text", "seconds": "float", "peak_memory_bytes": "int", "schema": "int",
    "artifacts": "text", "stamp": "text",
}  # fmt: skip
TENSOR_COLUMNS = {"id": "text", "index": "int"}
_FIRST = {"cells": CELL_COLUMNS, "tensors": TENSOR_COLUMNS}
_BATCH = 2000  # rows that are in memory as Python objects at a time
_LARGE = 2000  # cells from which on new ones get files of their own
_SHARE = 20  # and until they are one in so many

Damaged = Callable[[DamagedRowError], None]


class Tables(NamedTuple):
    """One line a cell, and one line a tensor."""

    cells: pa.Table
    tensors: pa.Table


def build_table(root: Path) -> Path:
    """Bring ``cells.parquet`` and ``tensors.parquet`` of a store up to date; return the path of the first.

    In a store of some thousand cells the latest are in ``cells.new.parquet`` and ``tensors.new.parquet``.

    Raises:
        FrozenError: the folder holds frozen tables.
        SchemaError: a newer version wrote a row.
        StoreError: the disk is full or refuses; the old tables stay.
    """
    store = Store(root)
    store.refuse_frozen()
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        with writing(root):
            _update(store)
    except OSError as error:
        raise store_error(error, f"the tables could not be written to {root}") from error
    return Path(root) / "cells.parquet"


def _update(store: Store) -> None:
    now, files = journal.mark(store.cells), opened(store.root)
    if files and now and files["cells"].mark and files["cells"].mark.state == now.state:
        return
    time.sleep(TICK_S)  # what changes from here on gives the folder another state
    changed = _changed(store, files.get("cells"))
    damaged: list[DamagedRowError] = []
    new = _read(store, changed, damaged.append)
    for error in damaged:
        log_damaged(error)
    mark = None if damaged else now  # damaged files are to be reported again, so looked for again
    for name, segments in files.items():
        new[name] = _merged(name, [table_of(segments.small)] if segments.small else [], changed, new[name])
    if files and _beside(table_of(files["cells"].large, ["id"]), changed, new["cells"].num_rows):
        write_small(store.root, new, mark)
        return
    for name, segments in files.items():
        new[name] = _merged(name, [table_of(segments.large)], changed, new[name])
    write_large(store.root, new, mark)


def _beside(large: pa.Table, changed: Sequence[str], number: int) -> bool:
    """Whether so many cells go to small files: none of those that changed is in the large ones."""
    few = large.num_rows >= max(_LARGE, _SHARE * number)
    return few and without(large, changed, ["id"]) is large


def read_tables(root: Path, damaged: Damaged = log_damaged) -> Tables:
    """The tables of a store as it is now, written files used where they still hold; nothing is written.

    Args:
        root: the results folder.
        damaged: told of every damaged row file; its row is left out.

    Raises:
        SchemaError: a newer version wrote a row.
        StoreError: a file cannot be read, or a frozen table is not that of its manifest.
    """
    store = Store(root)
    if store.frozen:
        return Tables(read_frozen(root, "cells"), read_frozen(root, "tensors"))
    return Tables(**_present(store, NAMES, damaged))


def read_cells(root: Path, columns: Sequence[str] | None = None, damaged: Damaged = log_damaged) -> pa.Table:
    """The table of a store's cells alone; otherwise as :func:`read_tables`.

    Args:
        columns: those of these that there are, in this order; all if None.
    """
    store = Store(root)
    if store.frozen:
        return read_frozen(root, "cells", columns)
    wanted = None if columns is None else {*columns, "id"}
    cells = _present(store, ["cells"], damaged, wanted)["cells"]
    if columns is None:
        return cells
    there = set(cells.column_names)
    return cells.select([name for name in dict.fromkeys(columns) if name in there])


def _present(
    store: Store, names: Sequence[str], damaged: Damaged, columns: set[str] | None = None
) -> dict[str, pa.Table]:
    files = opened(store.root, names)
    changed = _changed(store, files.get("cells"))
    new = _read(store, changed, damaged, columns)
    for name in files:
        new[name] = _merged(name, files[name].tables(columns), changed, new[name])
    return {name: new[name] for name in names}


def _changed(store: Store, cells: Segments | None) -> list[str]:
    """Ids of the rows that are not as the written table has them, gone ones too, sorted."""
    if cells is not None and cells.mark is not None:
        ids = journal.since(store.cells, cells.mark)
        if ids is not None:
            return sorted(ids)
    have: dict[str, str] = {}
    for table in cells.tables(["id", "stamp"]) if cells else ():
        have.update(zip(table["id"].to_pylist(), table["stamp"].to_pylist(), strict=True))
    present = {entry.name.removesuffix(".json"): _stamp(entry) for entry in store.entries()}
    return sorted({id_ for id_, _ in have.items() ^ present.items()})


def _merged(name: str, written: Iterable[pa.Table], changed: Sequence[str], new: pa.Table) -> pa.Table:
    """What was written, without what has changed, and what is new, in the order of ids."""
    first = _FIRST[name]
    return joined([*(without(table, changed, first) for table in written), new], first)


def _read(
    store: Store, ids: Sequence[str], damaged: Damaged, columns: set[str] | None = None
) -> dict[str, pa.Table]:
    """The rows of these ids that there are, as tables; of the cells some columns, or all."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in NAMES}
    cell_columns = {key: kind for key, kind in CELL_COLUMNS.items() if columns is None or key in columns}
    for start in range(0, max(len(ids), 1), _BATCH):
        cells: list[Flat] = []
        tensors: list[Flat] = []
        for id_ in ids[start : start + _BATCH]:
            stamp, row = _stamp(store.path(id_)), store.get(id_, damaged)
            if row is not None:
                flat = flat_cell(row) | {"stamp": stamp}
                cells.append({key: flat[key] for key in flat if columns is None or key in columns})
                tensors += flat_tensors(row)
        parts["cells"].append(build(cells, cell_columns))
        parts["tensors"].append(build(tensors, TENSOR_COLUMNS))
    return {name: together(tables, _FIRST[name]) for name, tables in parts.items()}


def _stamp(file: Path | os.DirEntry[str]) -> str | None:
    """What shows that a row file has changed: inode, size and time; None if it has gone."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def flat_tensors(row: Row) -> list[Flat]:
    """The lines of a row in the table of tensors."""
    return [flatten(tensor) | {"id": row.id, "index": i} for i, tensor in enumerate(row.tensors)]


def flat_cell(row: Row) -> Flat:
    """The line of a row in the table of cells."""
    # What a child printed is for reading, not for a table.
    error = {key: value for key, value in (row.error or {}).items() if key != "output"}
    if "details" in error:
        error["details"] = canonical.dumps(error["details"])
    head = {name: getattr(row, name) for name in CELL_COLUMNS if name not in ("artifacts", "status", "stamp")}
    head |= {"status": str(row.status), "artifacts": list(row.artifacts), "seconds": float(row.seconds)}
    parts = {"cell": row.cell, "result": row.result, "environment": row.environment, "error": error}
    return flatten(head | parts)
