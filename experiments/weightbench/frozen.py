"""Frozen tables: the rows of a store as two Parquet files and a manifest, without the rows themselves.

::

    <root>/cells.parquet, tensors.parquet    the columns of weightbench.table, but for what a store is for
    <root>/manifest.json                     what is in them, and their SHA-256

A folder with a manifest.json is frozen: its tables are what counts, no cache, and no row is ever written
there. :mod:`weightbench.reference` makes them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from weightbench.errors import FrozenError
from weightbench.store import MANIFEST, Store, store_error

SCHEMA = "weightbench.frozen/1"
NAMES = ("cells", "tensors")
AGAIN = "restore the folder (git checkout), or freeze again: python -m weightbench.reference freeze --help"


def read_manifest(root: Path) -> Mapping[str, Any]:
    """The manifest of a frozen folder.

    Raises:
        FrozenError: it cannot be read, is none, a newer version wrote it, or the folder holds rows as well.
    """
    path = Path(root) / MANIFEST
    try:
        manifest: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise store_error(error, f"{path} cannot be read") from error
    except ValueError as error:
        raise FrozenError(f"{path} is no JSON ({error}): {AGAIN}") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise FrozenError(
            f"{path} has the schema {schema!r:.60}, this weightbench reads {SCHEMA!r}: upgrade it, or {AGAIN}"
        )
    if Store(root).entries():
        raise FrozenError(f"{root} holds frozen tables and rows in cells/: move the rows to another folder")
    return dict(manifest)


def read_frozen(
    root: Path, name: Literal["cells", "tensors"], columns: Sequence[str] | None = None
) -> pa.Table:
    """One table of a frozen folder, lines by id.

    Args:
        root: the folder that holds the manifest.
        name: which table.
        columns: those of these that there are, in this order; all if None.

    Raises:
        FrozenError: a file is not the one that the manifest names; it says what to do.
    """
    path = Path(root) / f"{name}.parquet"
    tables = read_manifest(root).get("tables")
    facts = tables.get(path.name) if isinstance(tables, dict) else None
    expected = facts.get("sha256") if isinstance(facts, dict) else None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrozenError(f"{path} cannot be read ({error.strerror}): {AGAIN}") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise FrozenError(f"{path} is not the file that its manifest names (SHA-256 differs): {AGAIN}")
    file = pq.ParquetFile(pa.BufferReader(data))
    if columns is not None:
        there = set(file.schema_arrow.names)
        columns = [column for column in dict.fromkeys(columns) if column in there]
    table = file.read(columns)
    return table if columns is None else table.select(columns)
