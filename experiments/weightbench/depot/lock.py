"""One writer at a time: an advisory lock on a file, which the system gives back when a process dies."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weightbench.archive.atomic import reported

from .errors import DepotLockedError

__all__ = ["writing"]

LOCK = "lock"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the one writer of a depot within the block.

    The lock file says who writes, and is empty when nobody does.

    Raises:
        DepotLockedError: somebody else is; says who.
        ArchiveError: the folder is not writable.
    """
    path = folder / LOCK
    with reported(f"cannot write to {folder}"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            raise DepotLockedError(folder, holder or "another process") from None
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)
