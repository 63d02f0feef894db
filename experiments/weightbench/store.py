"""The store: a folder of rows, one JSON file a cell, found by the content of the cell.

::

    <root>/cells/<sha256>.json        the rows
    <root>/cells/.changes             which of them changed when (weightbench.journal)
    <root>/artifacts/<sha256>/…       pictures and reports that rows name
    <root>/work/…                     scratch folders of running cells
    <root>/claims/<sha256>.json       who runs which cell (weightbench.runner.claims)
    <root>/cells.parquet, tensors.parquet    tables rebuilt from the rows (weightbench.table)
    <root>/manifest.json              only where tables are frozen and there are no rows (weightbench.frozen)

A row is written to a temporary file in a folder below, flushed to the disk and renamed, so a reader sees
the old row or the new one, whatever is killed when. A done row (see :func:`weightbench.rows.done`) is never
replaced unless forced.
"""

import errno
import fcntl
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from weightbench import journal
from weightbench.canonical import identity
from weightbench.errors import DamagedRowError, FrozenError, StoreError
from weightbench.rows import Row, Status, done, from_json, to_json

__all__ = ["Row", "Status", "Store", "done", "identity", "store_error", "write_atomically"]

MANIFEST = "manifest.json"
_ROW_NAME = re.compile(r"([0-9a-f]{64})\.json")
_log = logging.getLogger(__name__)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, or a crash, sees the old content or the new, never a part.

    Raises:
        OSError: the disk is full or refuses; the old file is untouched and no temporary file stays.
    """
    with prepared(path, data) as temporary:
        temporary.replace(path)
        sync_folder(path.parent)


@contextmanager
def prepared(path: Path, data: bytes) -> Iterator[Path]:
    """A finished, flushed temporary file beside ``path``; removed unless the caller renamed it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def log_damaged(error: DamagedRowError) -> None:
    """The default report of a damaged row: a warning in the log."""
    _log.warning("%s", error)


class Store:
    """Rows under one folder; safe to share between processes.

    Args:
        root: the results folder; made when the first row is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.cells = self.root / "cells"

    def path(self, id: str) -> Path:
        """Where the row of a cell is, or will be."""
        if not _ROW_NAME.fullmatch(f"{id}.json"):
            raise StoreError(f"{id!r:.80} is not a cell's identity (64 hexadecimal digits)")
        return self.cells / f"{id}.json"

    @property
    def frozen(self) -> bool:
        """Whether the folder holds frozen tables in the place of rows."""
        return (self.root / MANIFEST).is_file()

    def refuse_frozen(self) -> None:
        """Refuse to write where tables are frozen.

        Raises:
            FrozenError: they are.
        """
        if self.frozen:
            raise FrozenError(
                f"{self.root} holds frozen tables ({MANIFEST}), which no run adds to or resumes from: name "
                "another folder with results=… or WEIGHTBENCH_RESULTS"
            )

    def get(self, id: str, damaged: Callable[[DamagedRowError], None] = log_damaged) -> Row | None:
        """The row of a cell, or None if there is none; a damaged file is reported and counts as none.

        Raises:
            SchemaError: a newer version wrote the row.
            StoreError: the file cannot be read.
        """
        try:
            return self._read(self.path(id))
        except FileNotFoundError:
            return None
        except DamagedRowError as error:
            damaged(error)
            return None

    def rows(self, damaged: Callable[[DamagedRowError], None] = log_damaged) -> Iterator[Row]:
        """All rows in the order of their identities; damaged files are reported and left out.

        Raises:
            SchemaError: a newer version wrote a row; nothing is left out in silence.
            StoreError: a file cannot be read.
        """
        for path in self.files():
            try:
                yield self._read(path)
            except FileNotFoundError:
                continue  # removed since the folder was listed
            except DamagedRowError as error:
                damaged(error)

    def files(self) -> list[Path]:
        """The row files, sorted; errors as :meth:`entries`."""
        return [self.cells / entry.name for entry in self.entries()]

    def entries(self) -> list[os.DirEntry[str]]:
        """The row files as directory entries, sorted by name; other files are not among them.

        Raises:
            StoreError: the folder cannot be listed.
        """
        try:
            found = [entry for entry in os.scandir(self.cells) if _ROW_NAME.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise store_error(error, f"{self.cells} cannot be listed") from error
        return sorted(found, key=lambda entry: entry.name)

    def put(self, row: Row, *, force: bool = False) -> Row:
        """Write a row; return the row that is in the store afterwards.

        That is another one only if a done row was there already and ``force`` is false: the first to finish
        wins.

        Raises:
            FrozenError: the folder holds frozen tables.
            StoreError: nothing was changed; ``errno`` is ENOSPC when the disk is full.
            NotPlainError: the row holds a value JSON cannot.
        """
        self.refuse_frozen()
        path = self.path(row.id)
        if row.id != identity(row.cell):
            raise StoreError(f"row {row.id} does not hold the cell of that identity")
        data = to_json(row).encode("ascii")
        try:
            # Not beside the row: of the folder's time nothing may change but by a row (see the journal).
            (self.cells / ".new").mkdir(parents=True, exist_ok=True)
            with prepared(self.cells / ".new" / path.name, data) as temporary, self._locked():
                present = None if force else self.get(row.id)
                if present is not None and done(present):
                    return present
                with journal.noted(self.cells, row.id):
                    temporary.replace(path)
                sync_folder(self.cells)
        except OSError as error:
            raise store_error(error, f"the row {path.name} could not be written to {self.cells}") from error
        return row

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Held for the check and the rename alone. Advisory and per file: NFS version 3 and later honour it.
        with (self.cells / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, path: Path) -> Row:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise store_error(error, f"the row {path.name} could not be read") from error
        row = from_json(data, path.name)
        if path.stem != row.id:
            raise DamagedRowError(f"{path.name} is damaged (it holds the row {row.id}): delete it")
        return row


def store_error(error: OSError, what: str) -> StoreError:
    """The StoreError for an error of the operating system, with what to do about it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = (
        "free some space and run the same command again: finished rows are kept" if full else "see the folder"
    )
    return StoreError(f"{what}: {error.strerror or error}; {advice}", errno.ENOSPC if full else error.errno)
