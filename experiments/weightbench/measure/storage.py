"""Saving and loading through an archive on disk, with a warm and, where possible, a cold page cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from weightbench.measure.affinity import pinned
from weightbench.measure.clock import SYSTEM_CLOCK, Clock, timed
from weightbench.measure.loading import Load, measure_loads
from weightbench.measure.noise import NoiseProbe
from weightbench.measure.page_cache import METHOD, drop_from_page_cache
from weightbench.measure.plan import MeasurePlan
from weightbench.measure.result import SaveLoad
from weightbench.measure.summary import Summary, summarize

__all__ = ["measure_save_load"]


def measure_save_load(
    write: Callable[[], None],
    read: Callable[[], None],
    path: Path,
    plan: MeasurePlan,
    *,
    original_bytes: int | None = None,
    loads: Sequence[Load] = (),
    progress: Callable[[str], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> SaveLoad:
    """Time writing and reading one archive, or one depot.

    A round is: write, fsync, read (warm: the page cache holds what was just written), and with
    `plan.cold_cache` drop the file from the page cache and read again. The first round's calls warm up code
    that is compiled on first use, so a plan of several rounds takes one more and leaves the first out.

    Args:
        write: writes the archive to `path`, replacing what is there.
        read: reads and decodes all of it; must close its mappings, or the page cache keeps the file.
        path: the archive: a file, or a folder, of which every file counts.
        plan: rounds and seconds (min_seconds counts saving and loading together).
        original_bytes: of what is archived; without it there are seconds but no MB/s.
        loads: measured afterwards, see `measure_loads`; what they read must be there by then.
        progress: told which of `loads` is under way.
        clock: where time comes from.

    Raises:
        FileNotFoundError: `write` did not make `path`.
    """
    noise = NoiseProbe.start()
    times: dict[str, list[float]] = {"save": [], "sync": [], "warm": [], "cold": []}
    start = clock.wall()
    reason = "" if plan.cold_cache else "not asked for (measure.cold_cache)"
    dropped = False
    rounds = 0 if plan.min_rounds > 1 and plan.warmup else 1
    with pinned(plan.pin_cores):
        while True:
            seconds = [_seconds(clock, write), _seconds(clock, lambda: _sync(path)), _seconds(clock, read)]
            keep = rounds > 0
            if keep:
                for name, value in zip(times, seconds, strict=False):
                    times[name].append(value)
            if keep and not reason:
                for file in _files(path):
                    reason = reason or drop_from_page_cache(file)
                if not reason:
                    dropped = True
                    times["cold"].append(_seconds(clock, read))
            if keep and _enough(times, plan, (clock.wall() - start) / 1e9):
                break
            rounds += 1
    durable = [a + b for a, b in zip(times["save"], times["sync"], strict=True)]
    flags = ["single round: no interval"] if rounds == 1 else []
    if rounds < plan.min_rounds:
        flags.append(f"stopped after {rounds} rounds: max_seconds={plan.max_seconds:g} is over")
    if dropped and reason:
        flags.append(f"the page cache could be dropped in {len(times['cold'])} of {rounds} rounds only")
    return SaveLoad(
        file_bytes=sum(file.stat().st_size for file in _files(path)),
        save_seconds=_summary(times["save"]),
        sync_seconds=_summary(times["sync"]),
        load_warm_seconds=_summary(times["warm"]),
        load_cold_seconds=summarize(times["cold"]),
        save_mb_per_s=_speeds(original_bytes, times["save"]),
        save_durable_mb_per_s=_speeds(original_bytes, durable),
        load_warm_mb_per_s=_speeds(original_bytes, times["warm"]),
        load_cold_mb_per_s=_speeds(original_bytes, times["cold"]),
        cold_method=METHOD if dropped else "",
        cold_reason=reason,
        rounds=rounds,
        flags=tuple(flags + noise.flags()),
        loading=measure_loads(loads, plan, progress=progress, clock=clock) if loads else None,
    )


def _enough(times: dict[str, list[float]], plan: MeasurePlan, elapsed: float) -> bool:
    spent = sum(map(sum, times.values()))
    content = len(times["save"]) >= plan.min_rounds and spent >= plan.min_seconds
    return content or elapsed > plan.max_seconds


def _seconds(clock: Clock, work: Callable[[], None]) -> float:
    _, span = timed(clock, lambda _: work(), (None,))
    return span.wall


def _files(path: Path) -> list[Path]:
    return sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]


def _sync(path: Path) -> None:
    for file in _files(path):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _speeds(nbytes: int | None, seconds: Sequence[float]) -> Summary | None:
    return summarize([nbytes / value / 1e6 for value in seconds if nbytes and value > 0])


def _summary(seconds: Sequence[float]) -> Summary:
    found = summarize(seconds)
    assert found is not None  # the first kept round always ends
    return found
