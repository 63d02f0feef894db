"""What a measurement says. Every number is finite or None; `plain()` gives JSON's types."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from weightbench.measure.summary import Summary
from weightbench.measure.yardstick import Yardstick
from weightbench.verify import Verdict

__all__ = ["LoadTimes", "Loading", "Measurement", "SaveLoad", "Speed", "UnitTiming"]


@dataclass(frozen=True, slots=True)
class Speed:
    """One operation over all units, a sample a round.

    Attributes:
        seconds: wall seconds of a round.
        cpu_seconds: CPU seconds of a round, all threads of the process.
        mb_per_s: 10^6 original bytes per wall second; None if there are no bytes.
        share_of_memcpy_fresh: speed over that of copying into newly allocated memory, paired by round.
        share_of_memcpy_reused: speed over that of copying into memory that was touched before, paired by
            round.
    """

    seconds: Summary
    cpu_seconds: Summary
    mb_per_s: Summary | None
    share_of_memcpy_fresh: Summary | None = None
    share_of_memcpy_reused: Summary | None = None


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """One unit: medians over the rounds, for the tensor rows.

    Attributes:
        key: the unit's.
        format, shape, nbytes: of the original array.
        blob_bytes: length of the blob (its description included) in the first round.
        encode_seconds, decode_seconds: wall seconds of one call.
        encode_mb_per_s, decode_mb_per_s: 10^6 original bytes per second; None for an empty unit.
        memcpy_fresh_seconds, memcpy_reused_seconds: wall seconds of one copy; None if this unit's copy was
            not measured (see `MeasurePlan.memcpy_bytes`).
        calls: calls inside one timed span, the fewest over rounds and operations.
        visible: False if a span was so short (under 1,000 clock ticks) that its number means nothing.
    """

    key: str
    format: str
    shape: tuple[int, ...]
    nbytes: int
    blob_bytes: int
    encode_seconds: float
    decode_seconds: float
    encode_mb_per_s: float | None
    decode_mb_per_s: float | None
    memcpy_fresh_seconds: float | None
    memcpy_reused_seconds: float | None
    calls: int
    visible: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """Size, speed and error of one codec on one set of units.

    Attributes:
        plan: the plan's fields.
        rounds: completed rounds.
        single_round: one round only, so speeds have no interval.
        threads: given to the codec.
        output: "fresh" or "reused", see `MeasurePlan`.
        original_bytes: of all units.
        blob_bytes: of all blobs of the first round.
        encode, decode, memcpy_fresh, memcpy_reused: speeds; None without units.
        units: one entry a unit, in the order given.
        verdict: of every decoded value of every verified round.
        flags: sentences about what makes the numbers less trustworthy.
        spent: wall seconds by activity: codec (timed), memcpy (timed), read (bringing units into memory and
            copying them), warmup, verify, other.
        yardstick: fixed work timed before and after; None if that was not asked for.
    """

    plan: dict[str, Any]
    rounds: int
    single_round: bool
    threads: int
    output: str
    original_bytes: int
    blob_bytes: int
    encode: Speed | None
    decode: Speed | None
    memcpy_fresh: Speed | None
    memcpy_reused: Speed | None
    units: tuple[UnitTiming, ...]
    verdict: Verdict
    flags: tuple[str, ...]
    spent: dict[str, float]
    yardstick: Yardstick | None = None

    def plain(self) -> dict[str, Any]:
        """Nested dicts and lists of JSON's own types, without NaN or infinity."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """One kind of load under one condition.

    Attributes:
        load: what is loaded: the name of a `Load`.
        bandwidth_mb_per_s: of the throttled reader, 10^6 bytes a second; None without a limit.
        cold: whether the files had been dropped from the page cache.
        original_bytes: of what is loaded.
        read_bytes: that were used of the files.
        seconds: wall seconds.
        mb_per_s: 10^6 original bytes a second; None if there are no bytes.
        speed_over_plain: speed over that of loading the same tensors from plain files, under the same
            condition in the same round; None where plain files were not loaded.
    """

    load: str
    bandwidth_mb_per_s: float | None
    cold: bool
    original_bytes: int
    read_bytes: int
    seconds: Summary
    mb_per_s: Summary | None
    speed_over_plain: Summary | None


@dataclass(frozen=True, slots=True)
class Loading:
    """Loads of one set of files.

    Attributes:
        loads: times by load and condition.
        throttle: how bandwidth was limited, or "".
        cold_method, cold_reason: see `SaveLoad`.
        rounds: repetitions without a limit.
        flags: sentences about what makes the numbers less trustworthy.
    """

    loads: tuple[LoadTimes, ...]
    throttle: str
    cold_method: str
    cold_reason: str
    rounds: int
    flags: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Nested dicts and lists of JSON's own types, without NaN or infinity."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class SaveLoad:
    """Saving and loading one archive or depot; MB/s are of original bytes.

    Attributes:
        file_bytes: size of the file, or of all files of the folder.
        save_seconds: writing it (into the page cache).
        sync_seconds: fsync of it afterwards: until it is on the disk.
        load_warm_seconds: reading it when the page cache holds it.
        load_cold_seconds: reading it after it was dropped from this system's page cache; None if that was not
            asked for or not possible. What a disk or hypervisor caches below is beyond reach.
        save_mb_per_s, save_durable_mb_per_s, load_warm_mb_per_s, load_cold_mb_per_s: the same as speeds;
            durable counts the fsync.
        cold_method: how the page cache was dropped, or "".
        cold_reason: why there is no cold number, or "".
        rounds: repetitions.
        flags: sentences about what makes the numbers less trustworthy.
        loading: parts loaded by themselves, and at limited bandwidth; None if that was not asked for.
    """

    file_bytes: int
    save_seconds: Summary
    sync_seconds: Summary
    load_warm_seconds: Summary
    load_cold_seconds: Summary | None
    save_mb_per_s: Summary | None
    save_durable_mb_per_s: Summary | None
    load_warm_mb_per_s: Summary | None
    load_cold_mb_per_s: Summary | None
    cold_method: str
    cold_reason: str
    rounds: int
    flags: tuple[str, ...]
    loading: Loading | None = None

    def plain(self) -> dict[str, Any]:
        """Nested dicts and lists of JSON's own types, without NaN or infinity."""
        return _plain(self)


def _plain(value: Measurement | Loading | SaveLoad) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(value), allow_nan=False))
    return plain
