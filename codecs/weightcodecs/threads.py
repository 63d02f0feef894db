"""A thread pool above kernels and libraries that release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Lock
from typing import TypeVar

__all__ = ["map_threads", "spans"]

T = TypeVar("T")
R = TypeVar("R")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="weightcodecs")


def map_threads(work: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """Return `[work(item) for item in items]`, with up to `threads` items under way at once.

    Items are begun in order. The calling thread works too: it need not wait until another one wakes up. The
    first error stops what is not yet begun, and is raised when all that was begun has ended.
    """
    todo = list(items)
    helpers = min(threads, len(todo)) - 1
    if helpers <= 0:
        return [work(item) for item in todo]
    results: dict[int, R] = {}
    queue, lock = iter(enumerate(todo)), Lock()
    errors: list[BaseException] = []

    def run() -> None:
        while not errors:
            with lock:
                index, item = next(queue, (-1, None))
            if index < 0:
                return
            try:
                results[index] = work(item)  # type: ignore[arg-type]
            except BaseException as error:
                errors.append(error)

    futures = [_pool(threads).submit(run) for _ in range(helpers)]
    run()
    wait([future for future in futures if not future.cancel()])
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(todo))]


def spans(count: int, threads: int, multiple: int) -> list[tuple[int, int]]:
    """Cut range(count) into about one span a thread, each starting at a multiple of `multiple`."""
    step = -(-count // max(threads, 1))
    step = max(-(-step // multiple) * multiple, multiple)
    return [(low, min(low + step, count)) for low in range(0, count, step)]
