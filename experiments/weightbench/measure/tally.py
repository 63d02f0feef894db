"""Samples of all rounds, and the numbers that come of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from weightbench.measure.clock import Span
from weightbench.measure.plan import MeasurePlan
from weightbench.measure.result import Measurement, Speed, UnitTiming
from weightbench.measure.sample import Sample
from weightbench.measure.summary import Summary, summarize
from weightbench.verify import Verdict

__all__ = ["Tally"]

_VISIBLE_TICKS = 1000  # a span this long is off by a tick at either end: 0.2 %
_DRIFT = 0.1
_STARVED = 0.9


@dataclass
class _Total:
    """One operation in one round."""

    seconds: float = 0.0
    cpu: float = 0.0
    nbytes: int = 0

    def add(self, span: Span, nbytes: int) -> None:
        self.seconds += span.wall
        self.cpu += span.cpu
        self.nbytes += nbytes

    @property
    def speed(self) -> float | None:
        """10^6 bytes a second; None without bytes or without time that the clock saw."""
        return self.nbytes / self.seconds / 1e6 if self.nbytes and self.seconds > 0 else None


@dataclass
class _Unit:
    format: str
    shape: tuple[int, ...]
    nbytes: int
    blob_bytes: int
    samples: list[Sample] = field(default_factory=list)


_OPERATIONS = ("encode", "decode", "memcpy_fresh", "memcpy_reused")


@dataclass
class Tally:
    """Keeps every sample: units × rounds × four spans."""

    tick: int
    plan: MeasurePlan
    _units: dict[str, _Unit] = field(default_factory=dict)
    _rounds: list[dict[str, _Total]] = field(default_factory=list)
    _varying: set[str] = field(default_factory=set)

    def begin_round(self) -> None:
        """The samples that follow belong to a new round."""
        self._rounds.append({name: _Total() for name in _OPERATIONS})

    def describe(self, key: str, format: str, shape: tuple[int, ...], nbytes: int, blob_bytes: int) -> None:
        """Say what a unit is; once, before its first sample."""
        self._units[key] = _Unit(format, shape, nbytes, blob_bytes)

    def blob_bytes(self, key: str) -> int:
        """Length of the unit's first blob."""
        return self._units[key].blob_bytes

    def add(self, key: str, sample: Sample, *, varies: bool) -> None:
        """Take in a unit's sample; `varies`: its blobs were not all of one length."""
        unit = self._units[key]
        unit.samples.append(sample)
        if varies:
            self._varying.add(key)
        for name, total in self._rounds[-1].items():
            span: Span | None = getattr(sample, name)
            if span is not None:
                total.add(span, unit.nbytes)

    def flags(self) -> list[str]:
        """What the samples themselves say against the numbers."""
        found = []
        if len(self._rounds) == 1:
            found.append("single round: sizes and errors are exact, speeds have no interval")
        hidden = [key for key, unit in self._units.items() if not self._visible(unit)]
        if hidden:
            nbytes = sum(self._units[key].nbytes for key in hidden)
            found.append(
                f"{len(hidden)} of {len(self._units)} units ({nbytes} bytes) are too small for the clock; "
                "their speeds mean nothing"
            )
        if self._varying:
            first = next(iter(self._varying))
            found.append(
                f"blobs of {len(self._varying)} units change in size between rounds, such as {first}"
            )
        cpu = sum(total.cpu for r in self._rounds for total in (r["encode"], r["decode"]))
        wall = sum(total.seconds for r in self._rounds for total in (r["encode"], r["decode"]))
        if self.plan.threads == 1 and wall > 0.01 and cpu < _STARVED * wall:
            found.append(f"the codec had {100 * cpu / wall:.0f} % of a core while it was timed")
        if wall > 0.01 and cpu > 1.2 * self.plan.threads * wall:
            found.append(f"{self.plan.threads} threads were allowed; the process used {cpu / wall:.1f} cores")
        return found + self._drift()

    def _drift(self) -> list[str]:
        speeds = [total.speed for r in self._rounds for total in (r["memcpy_reused"],)]
        known = [speed for speed in speeds if speed is not None]
        half = len(known) // 2
        if half < 3:
            return []
        first, last = statistics.median(known[:half]), statistics.median(known[-half:])
        if abs(last / first - 1) <= _DRIFT:
            return []
        return [
            f"memcpy went from {first:.0f} to {last:.0f} MB/s during the measurement: the machine drifted"
        ]

    def measurement(
        self,
        keys: Sequence[str],
        plan: dict[str, Any],
        verdict: Verdict,
        flags: tuple[str, ...],
        spent: dict[str, float],
    ) -> Measurement:
        """Sum up; `keys` gives the order of the units."""
        return Measurement(
            plan=plan,
            rounds=len(self._rounds),
            single_round=len(self._rounds) == 1,
            threads=self.plan.threads,
            output=self.plan.output,
            original_bytes=sum(unit.nbytes for unit in self._units.values()),
            blob_bytes=sum(unit.blob_bytes for unit in self._units.values()),
            encode=self._speed("encode", shares=True),
            decode=self._speed("decode", shares=True),
            memcpy_fresh=self._speed("memcpy_fresh", shares=False),
            memcpy_reused=self._speed("memcpy_reused", shares=False),
            units=tuple(self._unit(key, self._units[key]) for key in keys),
            verdict=verdict,
            flags=flags,
            spent=spent,
        )

    def _speed(self, name: str, *, shares: bool) -> Speed | None:
        totals = [round[name] for round in self._rounds]
        seconds = summarize([total.seconds for total in totals])
        cpu = summarize([total.cpu for total in totals])
        if seconds is None or cpu is None:
            return None
        speeds = _known(total.speed for total in totals)
        if not shares:
            return Speed(seconds, cpu, speeds)
        return Speed(seconds, cpu, speeds, *(self._share(name, copy) for copy in _OPERATIONS[2:]))

    def _share(self, name: str, copy: str) -> Summary | None:
        pairs = [(round[name].speed, round[copy].speed) for round in self._rounds]
        return _known(a / b if a is not None and b is not None else None for a, b in pairs)

    def _unit(self, key: str, unit: _Unit) -> UnitTiming:
        encode, decode, fresh, reused = (self._median(unit, name) for name in _OPERATIONS)
        assert encode is not None
        assert decode is not None
        return UnitTiming(
            key, unit.format, unit.shape, unit.nbytes, unit.blob_bytes, encode, decode,
            unit.nbytes / encode / 1e6 if unit.nbytes and encode > 0 else None,
            unit.nbytes / decode / 1e6 if unit.nbytes and decode > 0 else None,
            fresh, reused,
            min(span.calls for sample in unit.samples for span in (sample.encode, sample.decode)),
            self._visible(unit),
        )  # fmt: skip

    @staticmethod
    def _median(unit: _Unit, name: str) -> float | None:
        spans: list[Span | None] = [getattr(sample, name) for sample in unit.samples]
        known = [span.wall for span in spans if span is not None]
        return statistics.median(known) if known else None

    def _visible(self, unit: _Unit) -> bool:
        spans = [span for sample in unit.samples for span in (sample.encode, sample.decode)]
        return min(span.timed for span in spans) * 1e9 >= _VISIBLE_TICKS * self.tick


def _known(numbers: Iterable[float | None]) -> Summary | None:
    return summarize([number for number in numbers if number is not None])
