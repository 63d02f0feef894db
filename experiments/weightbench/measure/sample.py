"""One unit in one round: private copies, then encode, decode and memcpy timed, then verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightbench.measure.buffers import Scratch
from weightbench.measure.clock import Clock, Span, timed
from weightbench.measure.plan import MeasurePlan
from weightbench.systems import Coder
from weightcodecs import Blob

__all__ = ["Sample", "Sampler"]

Array = NDArray[Any]

_MAX_CALLS = 1000
_BATCH_BYTES = 8 << 20  # of private copies
_CACHED_BYTES = 32 << 20  # larger units are not in any core's share of the caches anyway


@dataclass(frozen=True, slots=True)
class Sample:
    """Times of one unit in one round; the memcpy spans are None where they were not asked for."""

    encode: Span
    decode: Span
    memcpy_fresh: Span | None
    memcpy_reused: Span | None


@dataclass
class Sampler:
    """Takes samples; knows how often each tiny unit must be repeated to be visible.

    Attributes:
        coder_of: gives what codes a unit, by its key.
    """

    coder_of: Callable[[str], Coder]
    plan: MeasurePlan
    clock: Clock
    tick: int
    scratch: Scratch = field(default_factory=Scratch)
    spent: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("codec", "memcpy", "read", "warmup", "verify", "sink"), 0.0)
    )
    _calls: dict[str, tuple[int, int]] = field(default_factory=dict)
    _warm: set[tuple[str, str, int, int, bool]] = field(default_factory=set)

    def prepare(self, key: str, original: Array, reference: Array | None) -> None:
        """Warm up on a unit of a new kind; find out how often a tiny unit must be called. Never timed."""
        start = self.clock.wall()
        coder = self.coder_of(key)
        against = reference is not None
        kind = (coder.name, original.dtype.name, original.ndim, original.nbytes.bit_length() // 4, against)
        if kind not in self._warm:
            self._warm.add(kind)
            for _ in range(self.plan.warmup):
                self._run(coder, *self._limited(original, reference))
        if key not in self._calls:
            self._calls[key] = self._calibrate(coder, original, reference)
        self.spent["warmup"] += (self.clock.wall() - start) / 1e9

    def take(
        self,
        key: str,
        original: Array,
        reference: Array | None,
        *,
        memcpy: bool,
        memcpy_first: bool,
        verify: Callable[[list[Blob], list[Array]], None],
    ) -> Sample:
        """Time one unit; `verify` is called with the blobs and decoded arrays, untimed."""
        codec_calls, copy_calls = self._calls[key]
        spans: tuple[Span | None, Span | None] = (None, None)
        if memcpy and memcpy_first:
            spans = self._memcpy(self._copies(original, 1)[0], copy_calls)
        copies = self._copies(original, codec_calls)
        encode, decode = self._code(self.coder_of(key), copies, original, reference, verify)
        if memcpy and not memcpy_first:
            if original.nbytes <= _CACHED_BYTES:
                # The codec has moved the source out of the caches, where it would be if memcpy came first.
                copies = self._copies(original, 1)
            spans = self._memcpy(copies[0], copy_calls)
        return Sample(encode, decode, *spans)

    def _code(
        self,
        coder: Coder,
        copies: list[Array],
        original: Array,
        reference: Array | None,
        verify: Callable[[list[Blob], list[Array]], None],
    ) -> tuple[Span, Span]:
        threads = self.plan.threads
        blobs, encode = timed(
            self.clock,
            lambda values: coder.encode(values, reference=reference, threads=threads),
            copies,
        )
        if self.plan.output == "reused":
            # Pages are touched here, outside the timer: that is what "reused" means.
            targets = [np.full_like(original, 1, order="C") for _ in blobs]
            decoded, decode = timed(
                self.clock,
                lambda pair: coder.decode(pair[0], reference=reference, out=pair[1], threads=threads),
                list(zip(blobs, targets, strict=True)),
            )
        else:
            decoded, decode = timed(
                self.clock, lambda blob: coder.decode(blob, reference=reference, threads=threads), blobs
            )
        self.spent["codec"] += encode.timed + decode.timed
        start = self.clock.wall()
        verify(blobs, decoded)
        self.spent["verify"] += (self.clock.wall() - start) / 1e9
        return encode, decode

    def _memcpy(self, source: Array, calls: int) -> tuple[Span, Span]:
        """Copy into new arrays, and then once more into the same ones."""
        sources = [source] * calls
        targets, fresh = timed(self.clock, _copy_fresh, sources)
        _, reused = timed(self.clock, _copy_reused, list(zip(targets, sources, strict=True)))
        self.spent["memcpy"] += fresh.timed + reused.timed
        return fresh, reused

    def _copies(self, original: Array, count: int) -> list[Array]:
        start = self.clock.wall()
        copies = self.scratch.copies(original, count)
        self.spent["read"] += (self.clock.wall() - start) / 1e9
        return copies

    def _run(self, coder: Coder, original: Array, reference: Array | None) -> tuple[int, int, int]:
        """Nanoseconds of one encode, one decode and one copy."""
        values = self.scratch.copies(original, 1)[0]
        times = [self.clock.wall()]
        blob = coder.encode(values, reference=reference, threads=self.plan.threads)
        times.append(self.clock.wall())
        coder.decode(blob, reference=reference, threads=self.plan.threads)
        times.append(self.clock.wall())
        _copy_fresh(values)
        times.append(self.clock.wall())
        return times[1] - times[0], times[2] - times[1], times[3] - times[2]

    def _calibrate(self, coder: Coder, original: Array, reference: Array | None) -> tuple[int, int]:
        """How often to call codec and memcpy inside one timed span."""
        needed = self.plan.min_timed_seconds * 1e9
        # Nothing here codes or copies faster than 100 bytes a nanosecond.
        if needed == 0 or original.nbytes > 100 * needed:
            return 1, 1
        encode, decode, copy = self._run(coder, original, reference)
        most = min(_MAX_CALLS, _BATCH_BYTES // max(original.nbytes, 1))
        return (
            max(1, min(most, int(needed / max(min(encode, decode), self.tick)) + 1)),
            max(1, min(most, int(needed / max(copy, self.tick)) + 1)),
        )

    def _limited(self, original: Array, reference: Array | None) -> tuple[Array, Array | None]:
        limit = self.plan.warmup_bytes
        if limit is None or original.nbytes <= limit or original.ndim == 0:
            return original, reference
        rows = max(1, limit * original.shape[0] // original.nbytes)
        return original[:rows], None if reference is None else reference[:rows]


def _copy_fresh(source: Array) -> Array:
    target = np.empty_like(source)
    np.copyto(target, source)
    return target


def _copy_reused(pair: tuple[Array, Array]) -> None:
    np.copyto(*pair)
