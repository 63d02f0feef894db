"""Reading the clocks around a piece of work."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["SYSTEM_CLOCK", "Clock", "Span", "timed"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests bring their own.

    Attributes:
        wall: nanoseconds of wall time, monotonic.
        cpu: nanoseconds of CPU time of the whole process, all threads.
        sleep: waits for so many seconds of wall time.
    """

    wall: Callable[[], int] = time.perf_counter_ns
    cpu: Callable[[], int] = time.process_time_ns
    sleep: Callable[[float], None] = time.sleep

    def tick(self) -> int:
        """Nanoseconds between two readings of the wall clock: what reading it costs, or its step."""
        readings = [self.wall() for _ in range(64)]
        steps = sorted(b - a for a, b in itertools.pairwise(readings) if b > a)
        return steps[len(steps) // 2] if steps else 1


SYSTEM_CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of one call: the timed span divided by the number of calls in it."""

    wall: float
    cpu: float
    calls: int

    @property
    def timed(self) -> float:
        """Seconds between starting and stopping the clock."""
        return self.wall * self.calls


def timed(clock: Clock, work: Callable[[T], R], items: Sequence[T]) -> tuple[list[R], Span]:
    """Call `work` on every item and time all calls together.

    The garbage collector is off meanwhile, and nothing that the calls return is freed before the clock stops.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        # The CPU clock costs a system call, so it is read outside the wall clock's span.
        cpu = clock.cpu()
        wall = clock.wall()
        results = [work(item) for item in items]
        wall = clock.wall() - wall
        cpu = clock.cpu() - cpu
    finally:
        if collecting:
            gc.enable()
    calls = len(items)
    return results, Span(wall / calls / 1e9, cpu / calls / 1e9, calls)
