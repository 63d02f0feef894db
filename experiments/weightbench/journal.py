"""Which rows of a folder changed: a line for every row that a store writes there.

A row comes by a rename, which gives its folder a new time. Its line holds the folder's state before, its id
and, when it is there, the state after; it is written under the lock that all writers of a store share. As
long as lines join up, each beginning where another ended, from a known state of the folder to its present
one, they name all that has changed, and no other file needs to be looked at. Where they do not, because
something else touched the folder, a process was killed, or the journal deleted, nothing is concluded.

Two changes within one tick of a file system's clock (4 ms at most on Linux) look like one. Whoever takes a
state to compare with later waits for :data:`TICK_S` before looking at anything.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

JOURNAL = ".changes"
TICK_S = 0.02
_ID = re.compile(r"[0-9a-f]{64}")


class Mark(NamedTuple):
    """A state of a folder, and how long its journal was then."""

    state: str
    offset: int


def mark(folder: Path) -> Mark | None:
    """The present state of a folder; None if there is no folder, or its time is too coarse to tell."""
    try:  # the journal first: lines that come between the two are read once more, not missed
        offset = (folder / JOURNAL).stat().st_size
    except FileNotFoundError:
        offset = 0
    state = _state(folder)
    return None if state is None else Mark(state, offset)


@contextlib.contextmanager
def noted(folder: Path, id: str) -> Iterator[None]:
    """Write the line of a row that the body renames into the folder; the caller holds the writers' lock."""
    journal = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        with contextlib.suppress(
            OSError
        ):  # no row fails for it: without the line, the folder is looked through
            os.write(journal, f"\n{_state(folder)} {id}".encode())
        yield
        with contextlib.suppress(OSError):
            os.write(journal, f" {_state(folder)}".encode())
    finally:
        os.close(journal)


def since(folder: Path, mark: Mark) -> set[str] | None:
    """The ids of all rows that came or changed after a mark; None if the lines do not tell.

    Rows that change while this reads may be among them.
    """
    now = _state(folder)
    if now is None or now == mark.state:
        return None if now is None else set()
    try:
        with (folder / JOURNAL).open("rb") as file:
            file.seek(mark.offset)
            lines = file.read().decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return None
    ids, state, reached = set(), mark.state, False
    for line in lines:
        before, id_, after, *_ = [*line.split(" "), "", ""]
        if _ID.fullmatch(id_):
            ids.add(id_)
            state = after if after and before == state else state
            reached = reached or state == now
    return ids if reached else None


def _state(folder: Path) -> str | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return f"{status.st_ino}-{status.st_mtime_ns}" if status.st_mtime_ns % 1_000_000_000 else None
