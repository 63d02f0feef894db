"""A thread pool above kernels and libraries that release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

__all__ = ["map_threads", "spans"]

T = TypeVar("T")
R = TypeVar("R")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weightcodecs")


def map_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """Return `[work(item) for item in items]`, with up to `threads` items under way at once."""
    todo = list(items)
    if threads <= 1 or len(todo) <= 1:
        return [work(item) for item in todo]
    return list(_pool(threads).map(work, todo))


def spans(count: int, threads: int, multiple: int) -> list[tuple[int, int]]:
    """Cut range(count) into about one span a thread, each starting at a multiple of `multiple`."""
    step = -(-count // max(threads, 1))
    step = max(-(-step // multiple) * multiple, multiple)
    return [(low, min(low + step, count)) for low in range(0, count, step)]
