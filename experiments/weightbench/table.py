"""The tables of a store: all rows as two Parquet files that pandas, Polars and DuckDB read as they are.

``cells.parquet`` has one line a cell: ``id``, ``status``, ``reason``, … and the nested parts as dotted
columns (``cell.codec.name``, ``result.ratio``, ``environment.cpu.model``, ``error.type``).
``tensors.parquet`` has one line a tensor record, with the ``id`` of its cell and its ``index`` there. Both
are only a cache of the rows: delete them at will.

Row files whose size and time have not changed since are taken from the tables, so a sweep of 10,000 cells
can rebuild them after every cell. Nor are files looked at one by one while their folder has not changed since
the tables were built: rows come by renaming, which file systems note in the folder's time.
"""

import bisect
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weightbench import canonical
from weightbench.columns import Flat, append, build, flatten, without
from weightbench.errors import DamagedRowError
from weightbench.frozen import read_frozen
from weightbench.rows import Row
from weightbench.store import Store, log_damaged, store_error, write_atomically

CELL_COLUMNS = {
    "id": "text", "status": "text", "reason": "text", "lasting": "bool", "started": "text",
    "finished": "text", "seconds": "float", "peak_memory_bytes": "int", "schema": "int",
    "artifacts": "text", "stamp": "text",
}  # fmt: skip
TENSOR_COLUMNS = {"id": "text", "index": "int"}
_FIRST = {"cells": CELL_COLUMNS, "tensors": TENSOR_COLUMNS}
_VERSION = b"1"
_TABLE, _STATE, _FOLDER = b"weightbench.table", b"weightbench.state", b"weightbench.folder"
_FEW = 100
_BATCH = 2000  # rows that are in memory as Python objects at a time
_TICK_S = 0.02  # file systems count time in ticks of at most 10 ms, or in whole seconds


class Tables(NamedTuple):
    """One line a cell, and one line a tensor."""

    cells: pa.Table
    tensors: pa.Table


def build_table(root: Path) -> Path:
    """Write ``cells.parquet`` and ``tensors.parquet`` of a store, atomically; return the path of the first.

    Raises:
        FrozenError: the folder holds frozen tables.
        SchemaError: a newer version wrote a row.
        StoreError: the disk is full or refuses; the old tables stay.
    """
    store = Store(root)
    store.refuse_frozen()
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        folder = _folder_state(store)
        if folder is not None and folder == (_marks(root) or {}).get(_FOLDER):
            return _path(root, "cells")
        time.sleep(_TICK_S)  # any later change of the folder gets another time than the one just read
        tables = _read(store, log_damaged)
        # Damaged files are to be reported again, so they have to be looked for again.
        if folder is not None and tables.cells.num_rows == len(store.entries()):
            marks = {**tables.cells.schema.metadata, _FOLDER: folder}
            tables = Tables(*(table.replace_schema_metadata(marks) for table in tables))
        # The table that names the state last: a crash between the two leaves a pair that is not used.
        _write(_path(root, "tensors"), tables.tensors)
        _write(_path(root, "cells"), tables.cells)
    except OSError as error:
        raise store_error(error, f"the tables could not be written to {root}") from error
    return _path(root, "cells")


def read_tables(root: Path, damaged: Callable[[DamagedRowError], None] = log_damaged) -> Tables:
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
    return _read(store, damaged)


def read_cells(
    root: Path,
    columns: Sequence[str] | None = None,
    damaged: Callable[[DamagedRowError], None] = log_damaged,
) -> pa.Table:
    """The table of a store's cells alone; otherwise as :func:`read_tables`.

    Args:
        columns: those of these that there are, in this order; all if None.
    """
    store = Store(root)
    if store.frozen:
        return read_frozen(root, "cells", columns)
    marks = _marks(root)
    if marks is None:
        return _chosen(_read(store, damaged).cells, columns)
    wanted = None if columns is None else {*columns, "id", "stamp"}
    path = _path(root, "cells")
    names = [name for name in pq.read_schema(path).names if wanted is None or name in wanted]
    cells = pq.read_table(path, columns=names).replace_schema_metadata(None)
    if marks.get(_FOLDER) is None or marks[_FOLDER] != _folder_state(store):
        updated = _updated(store, {"cells": cells}, damaged, wanted)
        cells = _read(store, damaged).cells if updated is None else _in_order(updated["cells"])
    return _chosen(cells, columns)


def _in_order(table: pa.Table) -> pa.Table:
    """Lines by id, where those of a written table come first and those of some other cells after them."""
    ids = table["id"].to_pylist()
    known = next((i for i in range(1, len(ids)) if ids[i] < ids[i - 1]), len(ids))
    blocks = [i for i in range(known, len(ids)) if i == known or ids[i] != ids[i - 1]]
    if len(blocks) > _FEW:
        by_index = [("index", "ascending")] if "index" in table.column_names else []
        return table.sort_by([("id", "ascending"), *by_index])
    # Slices of the columns instead of new columns: of 100,000 rows sorting copies half a gigabyte.
    pieces, start = [], 0
    for begin, end in zip(blocks, [*blocks[1:], len(ids)], strict=False):
        place = bisect.bisect(ids, ids[begin], start, known)
        pieces += [table.slice(start, place - start), table.slice(begin, end - begin)]
        start = place
    return pa.concat_tables([*pieces, table.slice(start, known - start)])


def _chosen(cells: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    if columns is None:
        return cells
    return cells.select([name for name in dict.fromkeys(columns) if name in cells.column_names])


def _read(store: Store, damaged: Callable[[DamagedRowError], None]) -> Tables:
    known = _known(store.root)
    if known is not None:
        updated = _updated(store, known._asdict(), damaged)
        if updated is not None:
            same = all(updated[name] is table for name, table in known._asdict().items())
            return known if same else _sealed(**updated)
    stamps = _stamps(store)
    empty = {name: build([], first) for name, first in _FIRST.items()}
    tables = _appended(store, empty, stamps, list(stamps), damaged)
    if tables is None:  # a column of numbers turned out to be one of text: all of it at once
        flats = _flat(store, stamps, list(stamps), damaged)
        tables = {name: build(flats[name], first) for name, first in _FIRST.items()}
    return _sealed(**tables)


def _updated(
    store: Store,
    known: Mapping[str, pa.Table],
    damaged: Callable[[DamagedRowError], None],
    columns: set[str] | None = None,
) -> dict[str, pa.Table] | None:
    """The known tables without what has gone or changed, and with what is new; None if types change."""
    stamps, cells = _stamps(store), known["cells"]
    have = dict(zip(cells["id"].to_pylist(), cells["stamp"].to_pylist(), strict=True))
    same = {id_ for id_, stamp in have.items() if stamps.get(id_) == stamp}
    fresh = sorted(stamps.keys() - same)
    rest: dict[str, pa.Table] = dict(known)
    if len(same) < len(have):
        values = pa.array(sorted(same), pa.string())
        for name, table in known.items():
            left = without(table, pc.is_in(table["id"].combine_chunks(), value_set=values), _FIRST[name])
            if left is None:
                return None
            rest[name] = left
    return _appended(store, rest, stamps, fresh, damaged, columns) if fresh else rest


def _appended(
    store: Store,
    tables: Mapping[str, pa.Table],
    stamps: Mapping[str, str],
    ids: Sequence[str],
    damaged: Callable[[DamagedRowError], None],
    columns: set[str] | None = None,
) -> dict[str, pa.Table] | None:
    """The tables and the rows of ``ids``; None if a column's type changes with them."""
    made = dict(tables)
    for start in range(0, len(ids), _BATCH):
        flats = _flat(store, stamps, ids[start : start + _BATCH], damaged)
        for name, table in made.items():
            rows, first = flats[name], _FIRST[name]
            if columns is not None:
                rows = [{key: value for key, value in row.items() if key in columns} for row in rows]
                first = {key: kind for key, kind in first.items() if key in columns}
            more = append(table, rows, first)
            if more is None:
                return None
            made[name] = more
    return made


def _flat(
    store: Store,
    stamps: Mapping[str, str],
    ids: Sequence[str],
    damaged: Callable[[DamagedRowError], None],
) -> dict[str, list[Flat]]:
    cells: list[Flat] = []
    tensors: list[Flat] = []
    for id_ in ids:
        row = store.get(id_, damaged)
        if row is not None:
            cells.append(flat_cell(row) | {"stamp": stamps[id_]})
            tensors += flat_tensors(row)
    return {"cells": cells, "tensors": tensors}


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


def _folder_state(store: Store) -> bytes | None:
    """What shows that no row has come or gone; None if there is no folder, or its time is too coarse."""
    try:
        status = store.cells.stat()
    except FileNotFoundError:
        return None
    return f"{status.st_ino}-{status.st_mtime_ns}".encode() if status.st_mtime_ns % 1_000_000_000 else None


def _path(root: Path, name: str) -> Path:
    return Path(root) / f"{name}.parquet"


def _sealed(cells: pa.Table, tensors: pa.Table) -> Tables:
    """Sort both, and mark them as belonging together."""
    cells, tensors = _in_order(cells), _in_order(tensors)
    state = hashlib.sha256("\n".join(map(str, cells["stamp"].to_pylist())).encode()).hexdigest().encode()
    mark = {_TABLE: _VERSION, _STATE: state}
    return Tables(cells.replace_schema_metadata(mark), tensors.replace_schema_metadata(mark))


def _write(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())


def _marks(root: Path) -> dict[bytes, bytes] | None:
    """What the tables as last written say of themselves; None without a pair that belongs together."""
    try:
        marks = [pq.read_schema(_path(root, name)).metadata or {} for name in _FIRST]
    except (FileNotFoundError, pa.ArrowInvalid, OSError):
        return None
    return marks[0] if marks[0] == marks[1] and marks[0].get(_TABLE) == _VERSION else None


def _known(root: Path) -> Tables | None:
    """The tables as last written, or None if there are none, or they are damaged or no pair."""
    marks = _marks(root)
    if marks is None:
        return None
    try:
        tables = [pq.read_table(_path(root, name)) for name in _FIRST]
    except (FileNotFoundError, pa.ArrowInvalid, OSError):
        return None
    kept = {_TABLE: marks[_TABLE], _STATE: marks[_STATE]}
    return Tables(*(table.replace_schema_metadata(kept) for table in tables))
