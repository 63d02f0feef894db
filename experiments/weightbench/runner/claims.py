"""Claims: who is running a cell, so that several sweeps over one store do not run it twice. (ours)

A claim is the file ``<root>/claims/<id>.json``, created with O_CREAT | O_EXCL, which is atomic on local file
systems and on NFS from version 3 on. It says who holds it, and its holder touches it four times a lease while
the cell runs. It is given up when

- its holder was a process of this very kernel and process namespace and has ended: at once. The process's
  start time is part of the claim, so that a later process with the same number is not taken for it;
- its holder is elsewhere, or the file says nothing readable, and it was last touched longer ago than its
  lease. Both times are the file server's: that of the claim, and that of a file made now to read its time;
  what the clocks of the machines say does not matter.

Giving up and releasing happen under an advisory lock (flock, which NFS passes on), after another look at the
file. Where a server keeps no locks, or a holder is suspended for longer than its lease, a cell may run
twice; the store still ends with one whole row, as ``Store.put`` lets the first to finish win.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import functools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from weightbench.rows import Row
from weightbench.store import Store, store_error

__all__ = ["LEASE_S", "Holder", "claimed", "running"]

LEASE_S = 120.0
"""Seconds after which an untouched claim of another machine no longer counts."""

_LONGEST_LEASE_S = 86_400.0
_LARGEST = 4096
_FIRST_POLL_S, _LAST_POLL_S = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Holder:
    """What a claim says: who runs a cell.

    Attributes:
        host: the machine's name, for people only.
        kernel: identity of the running kernel and process namespace: whose process numbers ``pid`` is among.
        pid, pid_started: process number, and its start in clock ticks since the kernel's.
        started: when the claim was made, UTC, ISO 8601, by the holder's clock; for people only.
        lease_s: seconds for which one touch of the file holds.
        token: tells this claim from every other.
    """

    host: str
    kernel: str
    pid: int
    pid_started: int
    started: str
    lease_s: float
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}"


@contextmanager
def claimed(
    store: Store,
    id: str,
    before: Row | None,
    *,
    lease_s: float = LEASE_S,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Row | None]:
    """Hold the claim on a cell within the block; wait while somebody else does.

    Args:
        store: where the cell's row is, or will be.
        id: the cell's identity.
        before: its row as it was found, which the caller will not content itself with.
        lease_s: see :class:`Holder`.
        waiting: told once for every holder that is waited for, in words.

    Yields:
        None if the cell is to be run now; the row if somebody has written one since, whatever became of it.

    Raises:
        StoreError: the claim cannot be made; ``errno`` is ENOSPC when the disk is full.
    """
    path = _path(store, id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = _acquire(path, lease_s, waiting)
    except OSError as error:
        raise store_error(error, f"no claim could be made in {path.parent}") from error
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, mine, stop), daemon=True)
    renewing.start()
    try:
        row = store.get(id)
        # By their times: a row with a NaN in it is not equal to itself.
        yield None if _times(row) == _times(before) else row
    finally:
        stop.set()
        renewing.join()
        _release(path, mine)


def running(store: Store, id: str) -> str | None:
    """Who runs a cell at this moment, in words; None if nobody does.

    Raises:
        StoreError: the claim cannot be read.
    """
    path = _path(store, id)
    try:
        return None if _given_up(path) else _said(holder(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, f"the claim {path.name} cannot be read") from error


def _path(store: Store, id: str) -> Path:
    return store.root / "claims" / store.path(id).name


def _times(row: Row | None) -> tuple[str, str] | None:
    return None if row is None else (row.started, row.finished)


def _said(found: Holder | None) -> str:
    return "an unreadable claim" if found is None else str(found)


def holder(path: Path) -> Holder | None:
    """Who holds a claim; None if the file says nothing readable (cut short, garbage, not yet written).

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(_LARGEST + 1)
    try:
        said = json.loads(text) if len(text) <= _LARGEST else None
        found = Holder(**said) if isinstance(said, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None
    if found is None or any(type(value) is not _TYPES[name] for name, value in asdict(found).items()):
        return None
    return found if 0 < found.lease_s <= _LONGEST_LEASE_S else None


_TYPES = {
    "host": str, "kernel": str, "pid": int, "pid_started": int, "started": str, "lease_s": float,
    "token": str,
}  # fmt: skip


def _acquire(path: Path, lease_s: float, waiting: Callable[[str], None] | None) -> Holder:
    mine = _me(float(lease_s))
    told: object = ()
    poll = _FIRST_POLL_S
    while True:
        try:
            _create(path, mine)
            return mine
        except FileExistsError:
            pass
        try:
            other = holder(path)
            if _given_up(path):
                _remove(path, other, dead=True)
                continue
        except FileNotFoundError:
            continue  # released this moment
        if waiting is not None and told != other:
            told = other
            waiting(f"waiting for {_said(other)}, which runs this cell")
        time.sleep(poll)
        poll = min(poll * 1.5, _LAST_POLL_S)


def _create(path: Path, mine: Holder) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(handle, json.dumps(asdict(mine)).encode("ascii"))
        os.fsync(handle)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _given_up(path: Path) -> bool:
    """Whether a claim no longer counts; raises FileNotFoundError if it is gone."""
    found = holder(path)
    if found is not None and found.kernel == _kernel():
        return _pid_started(found.pid) != found.pid_started
    # Opened, not only looked up: NFS clients ask the server for a file's times when it is opened.
    with path.open("rb") as file:
        touched = os.fstat(file.fileno()).st_mtime
    return _server_time(path.parent) - touched > (found.lease_s if found else LEASE_S)


def _server_time(folder: Path) -> float:
    """Now, by the clock of the machine that keeps the files."""
    path = folder / f".clock-{secrets.token_hex(8)}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.utime(handle)
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)


def _renew(path: Path, mine: Holder, stop: threading.Event) -> None:
    while not stop.wait(mine.lease_s / 4):
        # A server that is away for a moment: the next touch may reach it.
        with contextlib.suppress(OSError):
            if holder(path) != mine:
                return  # taken over: this process was suspended for longer than its lease
            os.utime(path)


def _release(path: Path, mine: Holder) -> None:
    # Left behind if the folder cannot be written any more; it counts no longer than this process lives.
    with contextlib.suppress(OSError):
        _remove(path, mine, dead=False)


def _remove(path: Path, expected: Holder | None, *, dead: bool) -> None:
    """Remove a claim if it is still the expected one, and with ``dead`` still given up."""
    with (path.parent / ".lock").open("ab") as lock, contextlib.suppress(FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if holder(path) == expected and (not dead or _given_up(path)):
            path.unlink()


def _me(lease_s: float) -> Holder:
    pid = os.getpid()
    started = _pid_started(pid)
    assert started is not None  # the runner has made sure of /proc
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Holder(socket.gethostname(), _kernel(), pid, started, now, lease_s, secrets.token_hex(16))


def _pid_started(pid: int) -> int | None:
    """Start time of a process in clock ticks since the kernel's; None if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if words[0] in "ZX" else int(words[19])


@functools.cache
def _kernel() -> str:
    """Identity of the running kernel and of the process namespace: containers number processes anew."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
