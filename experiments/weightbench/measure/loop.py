"""The measuring loop: rounds over all units, until enough of them are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from weightbench.measure.affinity import pinned
from weightbench.measure.clock import SYSTEM_CLOCK, Clock
from weightbench.measure.noise import NoiseProbe
from weightbench.measure.plan import MeasurePlan
from weightbench.measure.result import Measurement
from weightbench.measure.sample import Sampler
from weightbench.measure.tally import Tally
from weightbench.measure.yardstick import Yardstick, take_mark
from weightbench.systems import Coder
from weightbench.verify import Verifier
from weightcodecs import Blob, format_of

__all__ = ["Sink", "Unit", "measure_units"]

Array = NDArray[Any]
References = Callable[[str], Array | None]
Sink = Callable[[str, Blob], None]
Progress = Callable[[str, float, float, str], None]


class Unit(Protocol):
    """Something to code: a name, and an array that is made or mapped when it is asked for."""

    @property
    def key(self) -> str:
        """Name of the unit, unique in its set."""

    def array(self) -> Array:
        """Return the values; called once a round."""


def measure_units(
    coder: Coder,
    units: Iterable[Unit],
    plan: MeasurePlan,
    *,
    coder_of: Callable[[str], Coder] | None = None,
    references: References | None = None,
    sink: Sink | None = None,
    progress: Progress | None = None,
    clock: Clock = SYSTEM_CLOCK,
    yardstick: bool = False,
) -> Measurement:
    """Measure size, speed and error of `coder` on `units`; docs/measuring.md says how and why.

    Args:
        coder: a codec, or a system's: its `encode` and `decode` are timed, its bound is what is promised.
        units: with distinct keys; held as a list, their arrays only one at a time.
        plan: rounds, seconds, conditions.
        coder_of: what codes a unit, by its key, where a system has decided that differently for some models.
        references: gives the base array of a unit, by its key, or None; for what codes against a base.
        sink: given the blob of every unit once, in the first round, untimed and in the order of `units` (to
            write an archive without encoding again). The blob must be used or copied before returning.
        progress: told (message, done, total, unit) after every unit.
        clock: where time comes from.
        yardstick: also time fixed work before and after, half a second together, to see whether the machine
            changed meanwhile.

    Returns:
        the measurement. A broken promise does not raise: `result.verdict.violated` says so, and no further
        round starts.

    Raises:
        ValueError: two units have the same key, or `plan.pin_cores` cannot be had.
        WeightCodecsError: what the codec raises, untouched.
    """
    todo = list(units)
    keys = [unit.key for unit in todo]
    if len(set(keys)) != len(keys):
        raise ValueError(f"measure: units must have distinct keys; {_repeated(keys)!r} comes twice")
    with pinned(plan.pin_cores):
        before = take_mark(clock) if yardstick else None
        measured = _Loop(coder, todo, plan, coder_of, references, sink, progress, clock).run()
        if before is None:
            return measured
        around = Yardstick.between(before, take_mark(clock))
        flags = (*measured.flags, *around.flags())
        return dataclasses.replace(measured, yardstick=around, flags=flags)


class _Loop:
    def __init__(
        self,
        coder: Coder,
        units: list[Unit],
        plan: MeasurePlan,
        coder_of: Callable[[str], Coder] | None,
        references: References | None,
        sink: Sink | None,
        progress: Progress | None,
        clock: Clock,
    ) -> None:
        self.units, self.plan, self.references, self.sink = units, plan, references, sink
        self.progress, self.clock = progress, clock
        self.sampler = Sampler(coder_of or (lambda _: coder), plan, clock, clock.tick())
        self.verifier = Verifier(coder)
        self.tally = Tally(self.sampler.tick, plan)

    def run(self) -> Measurement:
        """Take rounds until the plan is content, and sum up."""
        noise = NoiseProbe.start()
        start = self.clock.wall()
        stopped = ""
        order = np.random.default_rng(self.plan.seed)
        number = 0
        while not stopped and not self._enough(number):
            number += 1
            # Files are read front to back the first time; later, drift must not meet the same unit always.
            units = range(len(self.units)) if number == 1 else order.permutation(len(self.units)).tolist()
            self._round(number, units)
            if self.verifier.violated:
                stopped = f"stopped after round {number}: the codec broke its promise"
            elif self._seconds(start) > self.plan.max_seconds and not self._enough(number):
                stopped = f"stopped after {number} rounds: max_seconds={self.plan.max_seconds:g} is over"
        spent = dict(self.sampler.spent)
        spent["other"] = max(self._seconds(start) - sum(spent.values()), 0.0)
        flags = ([stopped] if stopped else []) + self.tally.flags() + noise.flags()
        return self.tally.measurement(
            [unit.key for unit in self.units],
            dataclasses.asdict(self.plan),
            self.verifier.verdict(),
            tuple(flags),
            spent,
        )

    def _enough(self, rounds: int) -> bool:
        if not self.units:
            return True
        return rounds >= self.plan.min_rounds and self.sampler.spent["codec"] >= self.plan.min_seconds

    def _round(self, number: int, order: Iterable[int]) -> None:
        copied = 0
        self.tally.begin_round()
        for done, index in enumerate(order):
            unit = self.units[index]
            memcpy = self.plan.memcpy_bytes is None or copied < self.plan.memcpy_bytes
            copied += self._unit(unit, number, memcpy=memcpy, memcpy_first=(number + index) % 2 == 0)
            if self.progress is not None:
                self.progress(f"measuring, round {number}", done + 1, len(self.units), "units")

    def _unit(self, unit: Unit, number: int, *, memcpy: bool, memcpy_first: bool) -> int:
        start = self.clock.wall()
        original = unit.array()
        base = None if self.references is None else self.references(unit.key)
        reference = None if base is None else np.array(base, copy=True, order="C")
        self.sampler.spent["read"] += (self.clock.wall() - start) / 1e9
        self.sampler.prepare(unit.key, original, reference)
        sizes: list[int] = []

        def verify(blobs: list[Blob], decoded: list[Array]) -> None:
            sizes.extend(memoryview(blob).nbytes for blob in blobs)
            if number == 1 or self.plan.verify_every_round:
                for values in decoded:
                    self.verifier.add(unit.key, original, values, number)
            if number == 1 and self.sink is not None:
                start = self.clock.wall()
                self.sink(unit.key, blobs[0])
                seconds = (self.clock.wall() - start) / 1e9
                self.sampler.spent["sink"] += seconds
                self.sampler.spent["verify"] -= seconds  # which the sampler adds all of this to

        sample = self.sampler.take(
            unit.key, original, reference, memcpy=memcpy, memcpy_first=memcpy_first, verify=verify
        )
        if number == 1:
            self.tally.describe(unit.key, format_of(original).name, original.shape, original.nbytes, sizes[0])
        self.tally.add(unit.key, sample, varies=len({*sizes, self.tally.blob_bytes(unit.key)}) > 1)
        return original.nbytes if memcpy else 0

    def _seconds(self, start: int) -> float:
        return (self.clock.wall() - start) / 1e9


def _repeated(keys: list[str]) -> str:
    seen: set[str] = set()
    return next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
