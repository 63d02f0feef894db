"""Cores of one's own: cells that run side by side on one machine each take different ones. (ours)

A core is taken by binding an abstract Unix socket of its name, which the kernel gives to one process of the
machine (of its network namespace, where there are several) whoever the user is, and takes back when that
process ends, however it ends. A core means a physical one with all its hardware threads: a cell is put on
the first thread of each core, and the others stay idle.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from weightbench.errors import RunnerError

__all__ = ["cores_of_this_machine", "leased"]

_POLL_S = 0.1
_TOPOLOGY = Path("/sys/devices/system/cpu")


def cores_of_this_machine(topology: Path = _TOPOLOGY) -> dict[int, int]:
    """The cores that this process may use: the number of each, and the hardware thread to run on.

    A core's number is that of its first hardware thread, whether this process may use that one or not.
    """
    found: dict[int, int] = {}
    for thread in sorted(os.sched_getaffinity(0)):
        found.setdefault(_first_sibling(topology, thread), thread)
    return found


def _first_sibling(topology: Path, thread: int) -> int:
    try:
        text = (topology / f"cpu{thread}" / "topology" / "thread_siblings_list").read_text()
        return int(text.replace("-", ",").split(",")[0])  # "0,64" or "0-1"
    except (OSError, ValueError):
        return thread  # not said, as in some containers


@contextmanager
def leased(count: int | None, waiting: Callable[[str], None] | None = None) -> Iterator[tuple[int, ...]]:
    """Hold `count` cores within the block, and wait until so many are free.

    Args:
        count: how many; None holds none.
        waiting: told once, in words, if there is need to wait.

    Yields:
        the hardware threads to run on, one of each core; empty with None.

    Raises:
        RunnerError: this process may not use so many cores, ever.
    """
    if count is None:
        yield ()
        return
    if count > len(cores_of_this_machine()):
        raise RunnerError(
            f"cores_per_cell={count}, but here a cell may use {len(cores_of_this_machine())} cores; ask the "
            "cluster for more, or take fewer"
        )
    told = waiting is None
    while True:
        with ExitStack() as held:
            threads = _take(count, held)
            if threads is not None:
                yield threads
                return
        if not told and waiting is not None:
            told = True
            waiting("waiting for free cores" if count > 1 else "waiting for a free core")
        time.sleep(_POLL_S)


def _take(count: int, held: ExitStack) -> tuple[int, ...] | None:
    """Take the first `count` free cores; None, with what was taken still in `held`, if there are fewer."""
    threads: list[int] = []
    for core, thread in cores_of_this_machine().items():
        if len(threads) == count:
            break
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0weightbench-core-{core}")
        except OSError:  # somebody holds it
            lock.close()
            continue
        held.enter_context(lock)
        threads.append(thread)
    return tuple(threads) if len(threads) == count else None
