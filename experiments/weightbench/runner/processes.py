"""Linux process trees through /proc: who descends from a process, their memory, ending them all.

Only the standard library, because the guardian (see :mod:`weightbench.runner.child`) must start in
milliseconds.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from weightbench.errors import RunnerError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def require_linux() -> None:
    """Raise RunnerError where limits cannot be kept: they need Linux's /proc and prctl."""
    if sys.platform != "linux" or not Path("/proc/self/status").exists():
        raise RunnerError(
            "running cells under limits needs Linux with /proc (on Windows use WSL, on macOS a container)"
        )


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, and end now if it is gone already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the new parent of all descendants that lose theirs, so that none escapes."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_killed_first() -> None:
    """Tell the kernel's out-of-memory killer to take this process and its children before any other."""
    # Some sandboxes refuse; the parent's own watch works all the same.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def descendants(pid: int) -> list[int]:
    """Process ids below ``pid``, without itself; a snapshot, so some may be gone when it returns."""
    found: list[int] = []
    queue = [pid]
    while queue:
        below = list(_children(queue.pop()))
        found += below
        queue += below
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            yield from map(int, Path(task.path, "children").read_bytes().split())
    except (FileNotFoundError, ProcessLookupError):
        return  # the process has ended


def touched_bytes(pids: list[int]) -> int:
    """Anonymous, shared and swapped memory of ``pids``; what forked processes share counts several times."""
    return sum(_kibibytes(pid, "status", (b"RssAnon:", b"RssShmem:", b"VmSwap:")) for pid in pids) * 1024


def touched_bytes_shared_once(pids: list[int]) -> int:
    """As :func:`touched_bytes`, but shared pages are divided among their users; slow (walks page tables)."""
    return (
        sum(_kibibytes(pid, "smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")) for pid in pids)
        * 1024
    )


def _kibibytes(pid: int, file: str, keys: tuple[bytes, ...]) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_bytes().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # the process has ended, or changed its user and left our reach
    return sum(int(line.split()[1]) for line in lines if line.startswith(keys))


def kill_descendants(deadline_s: float = 5.0) -> None:
    """Kill and reap all below this process (which adopts orphans), until none is left or time is up."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        for pid in descendants(os.getpid()):
            send(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
