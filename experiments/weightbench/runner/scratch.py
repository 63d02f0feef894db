"""Scratch folders of running cells, under the store so that artifacts can be renamed out of them.

Each has a lock file beside it that its owner holds. A lock that nobody holds belongs to a run that was
killed: the next run removes the folder.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from weightbench.store import store_error


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """A new, empty folder below ``parent``, removed at the end; also clears what dead runs left.

    Raises:
        StoreError: it cannot be made; ``errno`` is ENOSPC when the disk is full.
    """
    folder = parent / f"{name}-{secrets.token_hex(4)}"
    with ExitStack() as undo:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(parent)
            lock = _lock(folder.with_suffix(".lock"))
            # Undone in reverse: the lock is let go when nothing is left that it guards.
            undo.callback(os.close, lock)
            undo.callback(folder.with_suffix(".lock").unlink, missing_ok=True)
            folder.mkdir()
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
        except OSError as error:
            raise store_error(error, f"no scratch folder could be made in {parent}") from error
        yield folder


def _lock(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Between opening and locking, another process may have taken the file for abandoned and removed it.
        if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
        os.close(handle)


def remove_abandoned(parent: Path) -> None:
    """Remove the scratch folders whose owners are dead."""
    for path in parent.glob("*.lock"):
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # its owner has just finished
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # alive
        else:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
        finally:
            os.close(handle)
