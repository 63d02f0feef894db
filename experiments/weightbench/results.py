"""Results in one line::

    import weightbench.results

    df = weightbench.results.cells()  # one line a cell, pandas
    df = weightbench.results.cells("results/reference", engine="polars")
    df = weightbench.results.cells(["results", "results/reference"])  # own rows first; column store
    df = weightbench.results.tensors()  # one line a tensor

DuckDB reads the files that :func:`weightbench.table.build_table` writes, in a store of more than 2,000 cells
one or two a table: ``select * from read_parquet('results/cells*.parquet', union_by_name=true)``.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc

from weightbench.columns import build, together
from weightbench.errors import EmptyStoreError, MissingExtraError
from weightbench.store import Store
from weightbench.table import CELL_COLUMNS, TENSOR_COLUMNS, read_cells, read_tables

if TYPE_CHECKING:
    import pandas
    import polars

ROOT_VARIABLE = "WEIGHTBENCH_RESULTS"
Folder = str | os.PathLike[str]
Root = Folder | Sequence[Folder] | None
Columns = Sequence[str] | None
Name = Literal["cells", "tensors"]


def default_root() -> Path:
    """The folder named by WEIGHTBENCH_RESULTS, or ``results`` in the current directory."""
    return Path(os.environ.get(ROOT_VARIABLE) or "results")


@overload
def cells(
    root: Root = None, engine: Literal["pandas"] = "pandas", *, columns: Columns = None
) -> "pandas.DataFrame": ...
@overload
def cells(root: Root = None, *, engine: Literal["polars"], columns: Columns = None) -> "polars.DataFrame": ...
@overload
def cells(root: Root, engine: Literal["polars"], *, columns: Columns = None) -> "polars.DataFrame": ...
def cells(root: Root = None, engine: str = "pandas", *, columns: Columns = None) -> object:
    """One line a cell, whatever became of it (see the column ``status``), nested keys as dotted columns.

    Args:
        root: the results folder; :func:`default_root` if None. Of a list of folders the rows of all come,
            in that order, of equal cells (ids) only the first, with a column ``store`` that names the
            folder; folders without rows are passed over.
        engine: ``"pandas"`` or ``"polars"``.
        columns: only these, those that no row has left out; all if None. Of a store of 100,000 rows a few
            columns open in a fraction of the time.

    Raises:
        EmptyStoreError: no row there, or in none of the folders.
        FrozenError: frozen tables (:mod:`weightbench.frozen`) are not those of their manifest.
        SchemaError: a newer version wrote a row.
        MissingExtraError: Polars is asked for and not installed.
        ValueError: an unknown engine.
    """
    return _frame(root, "cells", engine, columns)


@overload
def tensors(root: Root = None, engine: Literal["pandas"] = "pandas") -> "pandas.DataFrame": ...
@overload
def tensors(root: Root = None, *, engine: Literal["polars"]) -> "polars.DataFrame": ...
@overload
def tensors(root: Root, engine: Literal["polars"]) -> "polars.DataFrame": ...
def tensors(root: Root = None, engine: str = "pandas") -> object:
    """One line a tensor record, with the ``id`` of its cell; arguments and errors as :func:`cells`."""
    return _frame(root, "tensors", engine)


def _frame(root: Root, name: Name, engine: str, columns: Columns = None) -> object:
    if engine not in ("pandas", "polars"):
        raise ValueError(f"unknown engine {engine!r}: pandas or polars")
    polars = _polars() if engine == "polars" else None
    if root is None or isinstance(root, str | os.PathLike):
        folders = [default_root() if root is None else Path(root)]
        table = _table(folders[0], name, columns)
    else:
        folders = [Path(folder) for folder in root]
        table = _joined(folders, name, columns)
    if table.num_rows == 0 and not any(Store(folder).frozen or Store(folder).files() for folder in folders):
        raise EmptyStoreError(
            f"no results in {' or '.join(str(folder / 'cells') for folder in folders)}: run a cell first "
            "(python run.py codec=elf model=llama), or name the folder that holds them (the argument root, "
            f"or {ROOT_VARIABLE})"
        )
    if "stamp" in table.column_names:
        table = table.drop_columns(["stamp"])
    return table.to_pandas() if polars is None else polars.from_arrow(table)


def _table(folder: Path, name: Name, columns: Columns) -> pa.Table:
    return read_cells(folder, columns) if name == "cells" else read_tables(folder).tensors


def _joined(folders: Sequence[Path], name: Name, columns: Columns) -> pa.Table:
    """The lines of all folders with their folder, of equal cells only the first."""
    seen: set[str] = set()
    parts = []
    for folder in folders:
        table = _table(folder, name, None if columns is None else ["id", *columns])
        ids = set((table if name == "cells" else read_cells(folder, ["id"]))["id"].to_pylist())
        table = table.filter(pc.is_in(table["id"], value_set=pa.array(ids - seen, pa.string())))
        store = build([{"store": str(folder)}] * table.num_rows, {"store": "text"})
        parts.append(table.add_column(0, store.field("store"), store["store"]))
        seen |= ids
    table = together(parts, ["store", *(CELL_COLUMNS if name == "cells" else TENSOR_COLUMNS)])
    if columns is None:
        return table
    there = set(table.column_names)
    return table.select([name for name in dict.fromkeys(["store", *columns]) if name in there])


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError("Polars is not installed: pip install 'polars>=1'") from error
    return polars
