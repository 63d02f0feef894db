"""The tables of a store: all rows as two Parquet files that pandas, Polars and DuckDB read as they are.

``cells.parquet`` has one line a cell: ``id``, ``status``, ``reason``, … and the nested parts as dotted
columns (``cell.codec.name``, ``result.ratio``, ``environment.cpu.model``, ``error.type``).
``tensors.parquet`` has one line a tensor record, with the ``id`` of its cell and its ``index`` there. Both
are only a cache of the rows: delete them at will.

Row files whose size and time have not changed since are taken from the tables, so a sweep of 10,000 cells
can rebuild them after every cell.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weightbench import canonical
from weightbench.columns import Flat, append, build, flatten, without
from weightbench.errors import DamagedRowError
from weightbench.rows import Row
from weightbench.store import Store, log_damaged, store_error, write_atomically

CELL_COLUMNS = {
    "id": "text", "status": "text", "reason": "text", "lasting": "bool", "started": "text",
    "finished": "text", "seconds": "float", "peak_memory_bytes": "int", "schema": "int",
    "artifacts": "text", "stamp": "text",
}  # fmt: skip
TENSOR_COLUMNS = {"id": "text", "index": "int"}
_VERSION = b"1"


class Tables(NamedTuple):
    """One line a cell, and one line a tensor."""

    cells: pa.Table
    tensors: pa.Table


def build_table(root: Path) -> Path:
    """Write ``cells.parquet`` and ``tensors.parquet`` of a store, atomically; return the path of the first.

    Raises:
        SchemaError: a newer version wrote a row.
        StoreError: the disk is full or refuses; the old tables stay.
    """
    tables = read_tables(root)
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        # The table that names the state last: a crash between the two leaves a pair that is not used.
        _write(_path(root, "tensors"), tables.tensors)
        _write(_path(root, "cells"), tables.cells)
    except OSError as error:
        raise store_error(error, f"the tables could not be written to {root}") from error
    return _path(root, "cells")


def read_cells(root: Path) -> pa.Table:
    """The table of a store's cells as it is now; as :func:`read_tables` otherwise."""
    return read_tables(root).cells


def read_tables(root: Path, damaged: Callable[[DamagedRowError], None] = log_damaged) -> Tables:
    """The tables of a store as it is now, written files used where they still hold; nothing is written.

    Args:
        root: the results folder.
        damaged: told of every damaged row file; its row is left out.

    Raises:
        SchemaError: a newer version wrote a row.
        StoreError: a file cannot be read.
    """
    store = Store(root)
    stamps = _stamps(store)
    known = _known(root)
    if known is not None:
        tables = _update(store, stamps, known, damaged)
        if tables is not None:
            return tables
    cells, tensors = _flat(store, stamps, stamps, damaged)
    return _sealed(build(cells, CELL_COLUMNS), build(tensors, TENSOR_COLUMNS))


def _update(
    store: Store, stamps: dict[str, str], known: Tables, damaged: Callable[[DamagedRowError], None]
) -> Tables | None:
    """The known tables without what has gone or changed, and with what is new; None if types change."""
    have = dict(zip(known.cells["id"].to_pylist(), known.cells["stamp"].to_pylist(), strict=True))
    same = pa.array([id_ for id_, stamp in have.items() if stamps.get(id_) == stamp], pa.string())
    fresh = sorted(stamps.keys() - set(same.to_pylist()))
    if not fresh and len(same) == len(have):
        return known
    flats = _flat(store, stamps, fresh, damaged)
    merged = []
    for table, rows, first in zip(known, flats, (CELL_COLUMNS, TENSOR_COLUMNS), strict=True):
        rest = without(table, pc.is_in(table["id"].combine_chunks(), value_set=same), first)
        table = None if rest is None else append(rest, rows, first)
        if table is None:
            return None
        merged.append(table)
    return _sealed(*merged)


def _flat(
    store: Store, stamps: dict[str, str], ids: Iterable[str], damaged: Callable[[DamagedRowError], None]
) -> tuple[list[Flat], list[Flat]]:
    cells: list[Flat] = []
    tensors: list[Flat] = []
    for id_ in ids:
        row = store.get(id_, damaged)
        if row is not None:
            cells.append(_flat_cell(row) | {"stamp": stamps[id_]})
            tensors += (flatten(tensor) | {"id": id_, "index": i} for i, tensor in enumerate(row.tensors))
    return cells, tensors


def _flat_cell(row: Row) -> Flat:
    # What a child printed is for reading, not for a table.
    error = {key: value for key, value in (row.error or {}).items() if key != "output"}
    if "details" in error:
        error["details"] = canonical.dumps(error["details"])
    head = {name: getattr(row, name) for name in CELL_COLUMNS if name not in ("artifacts", "status", "stamp")}
    head |= {"status": str(row.status), "artifacts": list(row.artifacts), "seconds": float(row.seconds)}
    parts = {"cell": row.cell, "result": row.result, "environment": row.environment, "error": error}
    return flatten(head | parts)


def _stamps(store: Store) -> dict[str, str]:
    """What shows that a row file has changed: inode, size and time, by the id in its name."""
    stamps = {}
    for entry in store.entries():
        try:
            status = entry.stat()
        except FileNotFoundError:
            continue  # removed since the folder was listed
        stamps[entry.name.removesuffix(".json")] = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    return stamps


def _path(root: Path, name: str) -> Path:
    return Path(root) / f"{name}.parquet"


def _sealed(cells: pa.Table, tensors: pa.Table) -> Tables:
    """Sort both, and mark them as belonging together."""
    cells = cells.sort_by("id")
    tensors = tensors.sort_by([("id", "ascending"), ("index", "ascending")])
    state = hashlib.sha256("\n".join(map(str, cells["stamp"].to_pylist())).encode()).hexdigest().encode()
    mark = {b"weightbench.table": _VERSION, b"weightbench.state": state}
    return Tables(cells.replace_schema_metadata(mark), tensors.replace_schema_metadata(mark))


def _write(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())


def _known(root: Path) -> Tables | None:
    """The tables as last written, or None if there are none, or they are damaged or no pair."""
    try:
        tables = Tables(pq.read_table(_path(root, "cells")), pq.read_table(_path(root, "tensors")))
    except (FileNotFoundError, pa.ArrowInvalid, OSError):
        return None
    marks = [table.schema.metadata or {} for table in tables]
    if marks[0].get(b"weightbench.table") != _VERSION or marks[0] != marks[1]:
        return None
    return tables
