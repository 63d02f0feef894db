"""Results in one line::

    import weightbench.results

    df = weightbench.results.cells()  # one line a cell, pandas
    df = weightbench.results.cells("results/reference", engine="polars")
    df = weightbench.results.tensors()  # one line a tensor

DuckDB reads the files that :func:`weightbench.table.build_table` writes:
``select * from 'results/cells.parquet'``.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from weightbench.errors import EmptyStoreError, MissingExtraError
from weightbench.store import Store
from weightbench.table import read_cells, read_tables

if TYPE_CHECKING:
    import pandas
    import polars

ROOT_VARIABLE = "WEIGHTBENCH_RESULTS"
Root = str | os.PathLike[str] | None
Columns = Sequence[str] | None


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
        root: the results folder; :func:`default_root` if None.
        engine: ``"pandas"`` or ``"polars"``.
        columns: only these, those that no row has left out; all if None. Of a store of 100,000 rows a few
            columns open in a fraction of the time.

    Raises:
        EmptyStoreError: no row there.
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


def _frame(root: Root, name: Literal["cells", "tensors"], engine: str, columns: Columns = None) -> object:
    if engine not in ("pandas", "polars"):
        raise ValueError(f"unknown engine {engine!r}: pandas or polars")
    polars = _polars() if engine == "polars" else None
    folder = default_root() if root is None else Path(root)
    table = read_cells(folder, columns) if name == "cells" else read_tables(folder).tensors
    if table.num_rows == 0 and not Store(folder).files():
        raise EmptyStoreError(
            f"no results in {folder / 'cells'}: run a cell first (python run.py codec=elf model=llama), "
            f"or name the folder that holds them (the argument root, or {ROOT_VARIABLE})"
        )
    if "stamp" in table.column_names:
        table = table.drop_columns(["stamp"])
    return table.to_pandas() if polars is None else polars.from_arrow(table)


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError("Polars is not installed: pip install 'polars>=1'") from error
    return polars
