"""A file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ArchiveError

__all__ = ["AtomicFile", "atomic_file", "reported", "sync_folder"]


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Turn an error of the operating system into `ArchiveError` with its number."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"{what}: {error.strerror or error}", error.errno) from error


class AtomicFile:
    """The file being written; `atomic_file` makes it."""

    def __init__(self, handle: int, name: Path) -> None:
        self._handle, self._name = handle, name
        self.nbytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; raises `ArchiveError` if the disk is full."""
        left = memoryview(data)
        with reported(f"cannot write {self._name}"):
            while left:
                written = os.write(self._handle, left)
                self.nbytes += written
                left = left[written:]


@contextmanager
def atomic_file(path: Path) -> Iterator[AtomicFile]:
    """Give a file that takes the place of `path` when the block ends well, and leaves no trace otherwise.

    The bytes are on the disk before the name is. A process killed in between leaves what was at `path`, and
    a hidden file ``.<name>.<random>.tmp`` beside it that nobody reads.

    Raises:
        ArchiveError: the disk is full, the folder is missing or not writable, …; `errno` has the number.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    what = f"cannot write {path}"
    with reported(what):
        handle = os.open(temporary, flags, 0o666)
    try:
        try:
            yield AtomicFile(handle, path)
            with reported(what):
                os.fsync(handle)
        finally:
            os.close(handle)
        with reported(what):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with reported(what):
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder lasting."""
    if os.name == "nt":  # folders cannot be opened there, and renaming is journaled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
