"""Loading from disk: all or a part, warm and cold, through a reader of limited bandwidth, beside plain files.

What QStore measures (Shah, Li, Park, PVLDB 19(3), 2026): loading the low-precision model alone, loading the
high-precision one, and both against the bandwidth of the storage. Loads of plain files give the line that a
codec has to be above.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weightbench.measure.affinity import pinned
from weightbench.measure.clock import SYSTEM_CLOCK, Clock, timed
from weightbench.measure.noise import NoiseProbe
from weightbench.measure.page_cache import METHOD, drop_from_page_cache
from weightbench.measure.plan import MeasurePlan
from weightbench.measure.result import Loading, LoadTimes
from weightbench.measure.summary import Summary, summarize
from weightbench.measure.throttle import METHOD as THROTTLED
from weightbench.measure.throttle import Throttle
from weightbench.models import Model

__all__ = ["LIMITED_ROUNDS", "Load", "OnRead", "measure_loads", "plain_load", "write_plain"]

OnRead = Callable[[int], None]

LIMITED_ROUNDS = 3
"""Rounds at limited bandwidth: sleeping dominates them, and they take long."""

_RUN = 1 << 20  # bytes read from a plain file at a time
_COPIED = 16 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """Something that can be loaded from disk by itself.

    Attributes:
        name: what it is called: "all", "low", "high", "plain low", …; unique among the loads.
        read: opens the files, brings what is loaded into memory, and closes them (a mapping that stays open
            keeps the file in the page cache). It calls what it is given with the number of bytes it is
            about to use of a file, each time.
        nbytes: original bytes of what is loaded.
        paths: the files it reads.
        plain: name of the load that brings the same tensors from plain files; None if there is none.
    """

    name: str
    read: Callable[[OnRead], None]
    nbytes: int
    paths: tuple[Path, ...]
    plain: str | None = None


@dataclass(frozen=True, slots=True)
class _Condition:
    bandwidth: float | None
    cold: bool


def measure_loads(
    loads: Sequence[Load],
    plan: MeasurePlan,
    *,
    progress: Callable[[str], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Loading:
    """Time every load: warm; cold with `plan.cold_cache`; at each of `plan.bandwidths_mb_per_s`.

    A round is every load under every condition, the loads in turn, forwards and backwards by turns. A plan
    of several rounds takes one more, without limits, and leaves it out: it warms up what is compiled on
    first use. At limited bandwidth the first `LIMITED_ROUNDS` rounds are taken.

    Args:
        loads: with distinct names.
        plan: rounds and seconds (min_seconds counts loading without limits).
        progress: told what is being loaded.
        clock: where time comes from, and what sleeps.

    Raises:
        ValueError: two loads share a name, or one names a plain load that is not there.
    """
    names = [load.name for load in loads]
    strangers = {load.plain for load in loads if load.plain is not None} - {*names}
    if len(set(names)) != len(names) or strangers:
        raise ValueError(f"measure: loads must have distinct names and known plain loads, not {names}")
    with pinned(plan.pin_cores):
        return _Loop(loads, plan, progress or (lambda _: None), clock).run()


def plain_load(name: str, paths: Sequence[Path]) -> Load:
    """Return the load of files as they are: read from front to back into new memory, nothing decoded."""

    def read(on_read: OnRead) -> None:
        for path in paths:
            left = np.empty(path.stat().st_size, np.uint8)
            with path.open("rb", buffering=0) as file:
                while left.size:
                    on_read(min(_RUN, left.size))
                    got = file.readinto(left[:_RUN].data)
                    if not got:
                        raise OSError(f"{path} became shorter while it was read")
                    left = left[got:]

    return Load(name, read, sum(path.stat().st_size for path in paths), tuple(paths))


def write_plain(model: Model, directory: Path) -> tuple[Path, ...]:
    """Write a model's weight files as they are into a folder, under names of ours; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, stored in enumerate(model.files):
        paths.append(directory / f"plain-{number:05}{Path(stored.name).suffix}")
        with paths[-1].open("xb") as out:
            for start in range(0, stored.nbytes, _COPIED):
                out.write(model.read_range(stored.name, start, min(_COPIED, stored.nbytes - start)))
    return tuple(paths)


class _Loop:
    def __init__(
        self, loads: Sequence[Load], plan: MeasurePlan, progress: Callable[[str], None], clock: Clock
    ) -> None:
        self.loads, self.plan, self.progress, self.clock = list(loads), plan, progress, clock
        self.times: dict[tuple[str, _Condition], list[float]] = defaultdict(list)
        self.taken: dict[str, int] = {}
        self.unlimited = 0.0
        self.cold_reason = "" if plan.cold_cache else "not asked for (measure.cold_cache)"

    def run(self) -> Loading:
        """Take rounds until the plan is content, and sum up."""
        noise, start = NoiseProbe.start(), self.clock.wall()
        if self.plan.min_rounds > 1 and self.plan.warmup:
            for load in self.loads:
                self._seconds(load, None)
        rounds, elapsed = 0, 0.0
        while self.loads and not self._enough(rounds, elapsed):
            self._round(rounds)
            rounds += 1
            elapsed = (self.clock.wall() - start) / 1e9
        flags = ["single round: no interval"] if rounds == 1 else []
        if rounds < self.plan.min_rounds and self.loads:
            flags.append(f"stopped after {rounds} rounds: max_seconds={self.plan.max_seconds:g} is over")
        cold = sum(len(times) for (_, condition), times in self.times.items() if condition.cold)
        if cold and self.cold_reason:
            flags.append(f"the page cache could be dropped {cold} times only")
        return Loading(
            loads=tuple(self._results()),
            throttle=THROTTLED if self.plan.bandwidths_mb_per_s else "",
            cold_method=METHOD if cold else "",
            cold_reason=self.cold_reason,
            rounds=rounds,
            flags=tuple(flags + noise.flags()),
        )

    def _enough(self, rounds: int, elapsed: float) -> bool:
        content = rounds >= self.plan.min_rounds and self.unlimited >= self.plan.min_seconds
        return content or (rounds > 0 and elapsed > self.plan.max_seconds)

    def _round(self, number: int) -> None:
        for condition in self._conditions(number):
            for load in self.loads if number % 2 == 0 else reversed(self.loads):
                self._take(load, condition)

    def _conditions(self, number: int) -> Iterator[_Condition]:
        yield _Condition(None, cold=False)
        if self.plan.cold_cache:
            yield _Condition(None, cold=True)
        if number < LIMITED_ROUNDS:
            # slowest last: a plan that runs out of time has the others
            for bandwidth in sorted(self.plan.bandwidths_mb_per_s, reverse=True):
                yield _Condition(bandwidth, cold=False)

    def _take(self, load: Load, condition: _Condition) -> None:
        if condition.cold:
            for path in load.paths:
                self.cold_reason = self.cold_reason or drop_from_page_cache(path)
            if self.cold_reason:
                return
        seconds = self._seconds(load, condition.bandwidth)
        self.times[load.name, condition].append(seconds)
        if condition.bandwidth is None:
            self.unlimited += seconds

    def _seconds(self, load: Load, bandwidth: float | None) -> float:
        at = "" if bandwidth is None else f" at {bandwidth:g} MB/s"
        self.progress(f"loading {load.name}{at}")
        # Made inside the timed span: the link opens when the clock starts.
        made: list[Throttle] = []

        def work(_: None) -> None:
            made.append(Throttle(bandwidth, clock=self.clock))
            load.read(made[0])

        _, span = timed(self.clock, work, (None,))
        self.taken[load.name] = made[0].nbytes
        return span.wall

    def _results(self) -> Iterator[LoadTimes]:
        plain = {load.name: load.plain for load in self.loads}
        sizes = {load.name: load.nbytes for load in self.loads}
        for (name, condition), seconds in self.times.items():
            reference = self.times.get((plain[name] or "", condition), [])
            ratios = [b / a for a, b in zip(seconds, reference, strict=False) if a > 0]
            speeds = [sizes[name] / value / 1e6 for value in seconds if value > 0 and sizes[name]]
            yield LoadTimes(
                load=name,
                bandwidth_mb_per_s=condition.bandwidth,
                cold=condition.cold,
                original_bytes=sizes[name],
                read_bytes=self.taken[name],
                seconds=_summary(seconds),
                mb_per_s=summarize(speeds),
                speed_over_plain=summarize(ratios),
            )


def _summary(seconds: Sequence[float]) -> Summary:
    found = summarize(seconds)
    assert found is not None  # there is an entry only where something was timed
    return found
