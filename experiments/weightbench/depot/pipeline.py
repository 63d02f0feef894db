"""Reading, coding and writing at the same time, within a limit of memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["Budget", "in_order"]

J = TypeVar("J")
R = TypeVar("R")

# What a job costs beside its bytes, so that many tiny ones are bounded, too.
LEAST = 64 << 10


class Budget:
    """Bytes in flight. Jobs take their share before they read anything, and give it back when written."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken, self._closed = limit, 0, False
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> int:
        """Wait until there is room for so many bytes, or nothing else is in flight; return what was taken.

        Raises `InterruptedError` once the budget is closed.
        """
        share = max(nbytes, LEAST)
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._taken or self._taken + share <= self._limit
            )
            if self._closed:
                raise InterruptedError("nobody waits for the result any more")
            self._taken += share
        return share

    def give_back(self, share: int) -> None:
        """Return what `take` returned."""
        with self._changed:
            self._taken -= share
            self._changed.notify_all()

    def close(self) -> None:
        """Wake up whoever waits for room, in vain."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def in_order(
    jobs: Iterator[J], work: Callable[[J], R], threads: int, budget: Budget, *, overlap: bool = True
) -> Generator[R, None, None]:
    """Yield `work(job)` for each job, in their order; close the generator when it is left early.

    Jobs are drawn in a thread of their own and worked on in `threads` others; the caller has the results.
    Without `overlap` everything happens in the caller's thread, one job after the other. What the jobs, the
    work or the thread that draws raise is raised here.
    """
    if not overlap:
        for job in jobs:
            yield work(job)
        return
    results: SimpleQueue[Future[R] | BaseException | None] = SimpleQueue()
    with ThreadPoolExecutor(threads, "encode") as pool:

        def draw() -> None:
            try:
                for job in jobs:
                    results.put(pool.submit(work, job))
                results.put(None)
            except BaseException as error:
                results.put(error)

        drawing = threading.Thread(target=draw, name="read", daemon=True)
        drawing.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                done = result.result()
                del result  # a future holds what it gave
                yield done
                del done
        finally:
            budget.close()
            drawing.join()
            pool.shutdown(wait=True, cancel_futures=True)
