"""How a measurement is taken: the resolved form of conf/measure, which has the presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["MeasurePlan"]


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """What to repeat, how often, and under which conditions. Docs: docs/measuring.md.

    Attributes:
        name: preset's name, or the user's own.
        min_rounds: passes over all units, at least.
        min_seconds: seconds inside the codec (encode and decode together), at least.
        max_seconds: no further round starts after so many seconds of wall time, everything counted; the first
            round always runs to its end.
        warmup: untimed encodes and decodes before the first number of every kind of unit (number format,
            dimensions, size within a factor of 16).
        warmup_bytes: warm up on at most so much of a unit; None: on all of it.
        threads: given to the codec.
        output: whether `decode` allocates its output ("fresh", as everyone does) or writes into an array
            whose pages were touched before ("reused"). `encode` always allocates.
        verify_every_round: False checks the first round only.
        seed: of the order of the units. The first round takes them as they come (files are read in order).
        min_timed_seconds: units that take less are repeated inside the timer until they take about as much;
            0 never repeats.
        memcpy_bytes: stop copying in a round once so many bytes were copied; None copies every unit.
        pin_cores: run on these cores only; None leaves the choice to the system.
        cold_cache: also load the archive after dropping it from the page cache.
        bandwidths_mb_per_s: also load through a reader throttled to each of these (10^6 bytes a second), and
            without a limit, beside plain files; see docs/measuring.md.

    Raises:
        ValueError: a value makes no sense.
    """

    name: str = "timing"
    min_rounds: int = 6
    min_seconds: float = 2.0
    max_seconds: float = 600.0
    warmup: int = 1
    warmup_bytes: int | None = None
    threads: int = 1
    output: Literal["fresh", "reused"] = "fresh"
    verify_every_round: bool = True
    seed: int = 0
    min_timed_seconds: float = 200e-6
    memcpy_bytes: int | None = None
    pin_cores: tuple[int, ...] | None = None
    cold_cache: bool = False
    bandwidths_mb_per_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check every field."""
        if self.min_rounds < 1 or self.threads < 1:
            raise ValueError("measure: min_rounds and threads must be 1 or more")
        if min(self.min_seconds, self.max_seconds, self.min_timed_seconds, self.warmup) < 0:
            raise ValueError("measure: seconds and warmup must not be negative")
        if self.output not in ("fresh", "reused"):
            raise ValueError(f"measure: output must be 'fresh' or 'reused', not {self.output!r}")
        if self.pin_cores is not None and len(self.pin_cores) < self.threads:
            raise ValueError(f"measure: {self.threads} threads need as many pin_cores, not {self.pin_cores}")
        if not all(bandwidth > 0 for bandwidth in self.bandwidths_mb_per_s):
            raise ValueError(f"measure: bandwidths must be above 0 MB/s, not {self.bandwidths_mb_per_s}")

    @property
    def single_round(self) -> bool:
        """Whether the plan is content with one round, whatever it takes."""
        return self.min_rounds == 1 and self.min_seconds == 0.0

    @property
    def uses_disk(self) -> bool:
        """Whether saving and loading are measured."""
        return self.cold_cache or bool(self.bandwidths_mb_per_s)

    def settings(self) -> dict[str, Any]:
        """Return the plan in plain values, as a cell's identity has it.

        What came later and is not used is left out: rows from before it stay found.
        """
        settings = asdict(self)
        if not self.bandwidths_mb_per_s:
            del settings["bandwidths_mb_per_s"]
        return settings
