"""The files of a store's tables: a large one and, beside it, a small one of the rows that came since.

::

    <root>/cells.parquet, tensors.parquet              all rows, or nearly
    <root>/cells.new.parquet, tensors.new.parquet      rows that came since; only beside more than a few rows

No cell is in both, so ``cells*.parquet`` is one table for whoever reads the files. Each file says in its
metadata which pair it belongs to, the small ones also beside which large ones; what does not belong together
(a process was killed between two files) is not read. Readers need no lock; writers hold :func:`writing`.
"""

import contextlib
import fcntl
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weightbench.columns import lines, together
from weightbench.journal import Mark
from weightbench.store import prepared, sync_folder

NAMES = ("cells", "tensors")
_VERSION = b"2"
_TABLE, _PAIR, _BESIDE, _MARK = (
    b"weightbench.table", b"weightbench.pair", b"weightbench.beside", b"weightbench.mark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segments:
    """The files of one table, opened; they stay readable when others take their place.

    Attributes:
        large: all rows, or nearly.
        small: rows that came since, or None.
        mark: what the folder of the rows was when they were read, or None where that could not be said.
    """

    large: pq.ParquetFile
    small: pq.ParquetFile | None
    mark: Mark | None

    def tables(self, columns: Iterable[str] | None = None) -> list[pa.Table]:
        """One table a file, of these columns or all."""
        return [table_of(file, columns) for file in (self.large, self.small) if file is not None]


def table_of(file: pq.ParquetFile, columns: Iterable[str] | None = None) -> pa.Table:
    """What a file holds of these columns, or all."""
    there = file.schema_arrow.names
    wanted = there if columns is None else [name for name in dict.fromkeys(columns) if name in there]
    return file.read(wanted).replace_schema_metadata(None)


def opened(root: Path, names: Iterable[str] = NAMES) -> dict[str, Segments]:
    """The files of tables as last written; nothing without large ones that belong together."""
    large = {name: _file(_path(root, name)) for name in names}
    small = {name: _file(_path(root, name, new=True)) for name in names}
    pairs = {_mark(file, _PAIR) for file in large.values()}
    if len(pairs) != 1 or None in pairs:
        return {}
    beside = {(_mark(file, _BESIDE), _mark(file, _PAIR)) for file in small.values()}
    if len(beside) != 1 or next(iter(beside))[0] not in pairs:
        small = dict.fromkeys(large)
    found = {}
    for name, file in large.items():
        assert file is not None  # it has a pair
        last = small[name] or file
        found[name] = Segments(file, small[name], _unpacked(_mark(last, _MARK)))
    return found


def _file(path: Path) -> pq.ParquetFile | None:
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowInvalid, OSError):
        return None
    return file if _mark(file, _TABLE) == _VERSION else None


def _mark(file: pq.ParquetFile | None, key: bytes) -> bytes | None:
    return None if file is None else (file.schema_arrow.metadata or {}).get(key)


def _unpacked(mark: bytes | None) -> Mark | None:
    state, _, offset = (mark or b"").decode("ascii", "replace").partition(" ")
    return Mark(state, int(offset)) if state and offset.isdigit() else None


def write_large(root: Path, tables: Mapping[str, pa.Table], mark: Mark | None) -> None:
    """Write the large files; the small ones go.

    Raises:
        OSError: the disk is full or refuses; the old large files stay.
    """
    for name in tables:  # first: no row may be in both
        _path(root, name, new=True).unlink(missing_ok=True)
    _write(root, tables, mark, beside=None)


def write_small(root: Path, tables: Mapping[str, pa.Table], mark: Mark | None) -> None:
    """Write the small files beside the large ones that are there; errors as :func:`write_large`."""
    _write(root, tables, mark, beside=_mark(_file(_path(root, NAMES[0])), _PAIR))


def _write(root: Path, tables: Mapping[str, pa.Table], mark: Mark | None, beside: bytes | None) -> None:
    marks = {_TABLE: _VERSION, _PAIR: secrets.token_hex(16).encode()}
    if beside is not None:
        marks[_BESIDE] = beside
    if mark is not None:
        marks[_MARK] = f"{mark.state} {mark.offset}".encode()
    written = {name: _parquet(table.replace_schema_metadata(marks)) for name, table in tables.items()}
    paths = {name: _path(root, name, new=beside is not None) for name in tables}
    with contextlib.ExitStack() as stack:  # both are on the disk before the first takes its place
        ready = {name: stack.enter_context(prepared(paths[name], data)) for name, data in written.items()}
        for name, temporary in ready.items():
            temporary.replace(paths[name])
        sync_folder(Path(root))


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _path(root: Path, name: str, *, new: bool = False) -> Path:
    return Path(root) / f"{name}{'.new' if new else ''}.parquet"


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Hold the lock of those who write tables."""
    with (Path(root) / ".tables.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def joined(tables: Iterable[pa.Table], first: Iterable[str]) -> pa.Table:
    """Tables whose lines are in the order of ids, as one in that order."""
    tables = list(tables)
    parts = [table for table in tables if table.num_rows] or tables[:1]
    whole = together(parts, first)
    if len(parts) < 2:
        return whole
    # A stable sort: of one cell's lines the order stays.
    return lines(whole, pc.sort_indices(whole["id"]).to_numpy())
