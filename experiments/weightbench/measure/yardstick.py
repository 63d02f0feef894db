"""The yardstick: fixed work on fixed data, timed around a measurement to see whether the machine changed.

Two parts (ours): zstd at level 1 on values that fit into a core's caches, which follows the core's speed, and
copies between 16 MiB buffers, which follow the memory's.
"""

from __future__ import annotations

import datetime
import mmap
import statistics
from dataclasses import dataclass
from functools import cache

import numpy as np
import zstandard

from weightbench.measure.clock import SYSTEM_CLOCK, Clock, timed
from weightbench.measure.noise import core_mhz

__all__ = ["DRIFT", "Mark", "Yardstick", "change", "take_mark"]

DRIFT = 0.1
"""Relative change of a part from which on a measurement is flagged."""

_ROUNDS = 5
_ZSTD_BYTES, _ZSTD_CALLS = 256 << 10, 96
_COPY_BYTES, _COPY_CALLS = 16 << 20, 20


@dataclass(frozen=True, slots=True)
class Mark:
    """The yardstick at one moment.

    Attributes:
        at: when it had been taken; UTC, ISO 8601, to the millisecond.
        zstd_mb_per_s, memcpy_mb_per_s: 10^6 bytes a second, median of five spans.
        mhz: frequency of the core that did the work, directly afterwards; None if that cannot be read.
    """

    at: str
    zstd_mb_per_s: float
    memcpy_mb_per_s: float
    mhz: float | None


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The marks around a measurement.

    Attributes:
        before, after: the marks.
        change: the largest relative change of a part, up or down; 0.1 is a tenth.
    """

    before: Mark
    after: Mark
    change: float

    @classmethod
    def between(cls, before: Mark, after: Mark) -> Yardstick:
        """Compare two marks."""
        return cls(before, after, change(_speeds(before), _speeds(after)))

    def flags(self) -> list[str]:
        """Say it if the machine was not the same before and after."""
        if self.change <= DRIFT:
            return []
        pairs = zip(("zstd", "memcpy"), _speeds(self.before), _speeds(self.after), strict=True)
        went = ", ".join(f"{name} from {a:,.0f} to {b:,.0f} MB/s" for name, a, b in pairs)
        return [f"the yardstick moved by {self.change:.0%} ({went}): the machine drifted meanwhile"]


def change(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The largest of the parts' relative changes; the same for halved as for doubled speeds."""
    return max(max(x, y) / min(x, y) - 1 for x, y in zip(a, b, strict=True))


def take_mark(clock: Clock = SYSTEM_CLOCK) -> Mark:
    """Time the yardstick now; about a third of a second.

    No large block goes back to the allocator here: that changes how glibc serves later ones, and with that
    the speed of the codec that is measured next.
    """
    source, target = (np.frombuffer(mmap.mmap(-1, _COPY_BYTES), np.uint8) for _ in range(2))
    source.fill(1)
    compressor, values = _zstd()
    out = mmap.mmap(-1, 2 * _ZSTD_BYTES)

    def compress(_: None) -> None:
        with compressor.stream_reader(values, size=_ZSTD_BYTES) as reader:
            reader.readinto(out)

    def copy(_: None) -> None:
        np.copyto(target, source)

    compress(None)
    copy(None)  # touches the pages
    zstd, memcpy = [], []
    for _ in range(_ROUNDS):
        zstd.append(timed(clock, compress, [None] * _ZSTD_CALLS)[1].wall)
        memcpy.append(timed(clock, copy, [None] * _COPY_CALLS)[1].wall)
    mhz = core_mhz()
    return Mark(
        datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        _ZSTD_BYTES / statistics.median(zstd) / 1e6,
        _COPY_BYTES / statistics.median(memcpy) / 1e6,
        mhz,
    )


@cache
def _zstd() -> tuple[zstandard.ZstdCompressor, bytes]:
    """What compresses, and normal values, about five bits in each byte."""
    random = np.random.default_rng(0)
    parts = [random.normal(128, 8, 4096).astype(np.uint8).tobytes() for _ in range(_ZSTD_BYTES // 4096)]
    return zstandard.ZstdCompressor(level=1), b"".join(parts)


def _speeds(mark: Mark) -> tuple[float, float]:
    return mark.zstd_mb_per_s, mark.memcpy_mb_per_s
