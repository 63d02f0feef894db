"""Run on chosen cores for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["pinned"]


@contextlib.contextmanager
def pinned(cores: tuple[int, ...] | None) -> Iterator[None]:
    """Keep all threads of this process, and those they start, on `cores`; None changes nothing.

    Raises:
        ValueError: this process may not run on one of the cores.
    """
    if cores is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    if not set(cores) <= allowed:
        raise ValueError(f"measure: pin_cores {sorted(cores)} are not all among the usable {sorted(allowed)}")
    before = _set({thread: set(cores) for thread in _threads()})
    try:
        yield
    finally:
        # Threads that were started meanwhile inherited the narrow set.
        _set(dict.fromkeys(_threads(), allowed) | before)


def _threads() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/task").iterdir()]


def _set(cores: dict[int, set[int]]) -> dict[int, set[int]]:
    """Set each thread's cores; return what they were. A thread that has ended is left out."""
    before = {}
    for thread, allowed in cores.items():
        with contextlib.suppress(ProcessLookupError):
            before[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, allowed)
    return before
