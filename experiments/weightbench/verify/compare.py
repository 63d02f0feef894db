"""Compare one decoded array with its original: bits first, then errors against the promised bound.

Everything goes by blocks that fit the second-level cache: a gigabyte tensor needs a few megabytes beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weightbench.systems import Coder
from weightbench.verify.exact import exceeds_absolute, exceeds_relative
from weightbench.verify.moments import Moments, clamped, psnr
from weightbench.verify.verdict import UnitVerdict, Violation
from weightcodecs import ErrorBound, FloatFormat, format_of

if TYPE_CHECKING:
    from weightbench.verify.kernel import Found

__all__ = ["check", "same_bits"]

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_BLOCK = 1 << 15  # values; 256 KiB as float64
_WORDS = 1 << 14  # 64-bit words compared at once: the result stays in the first-level cache


def check(
    codec: Coder,
    original: Array,
    decoded: Array,
    key: str = "",
    round: int = 1,
    counts: NDArray[np.int64] | None = None,
) -> tuple[UnitVerdict, Moments]:
    """Compare a decoded array with its original, exactly.

    Args:
        codec: made the promise: `codec.error_bound(format)`.
        original: any shape, dtype of the float-format table.
        decoded: what came back.
        key: names the unit in the verdict.
        round: names the round in the verdict.
        counts: of `histogram.new_counts`, added to: errors by powers of two, of every value that is finite on
            both sides, if the codec is bounded or broke its promise.

    Returns:
        the verdict, and the error moments for merging.
    """
    original, decoded = np.asarray(original), np.asarray(decoded)
    format = format_of(original)
    bound = codec.error_bound(format)
    if original.shape != decoded.shape or _dtype(original) != _dtype(decoded):
        shapes = [f"{array.dtype}{list(array.shape)}" for array in (original, decoded)]
        broken = Violation(key, "shape or dtype", round, None, shapes[0], shapes[1], "", "", _text(bound))
        verdict = UnitVerdict(
            key, format.name, bound, original.size, bit_exact=False, exact_values=0, violation=broken
        )
        return verdict, Moments()
    x, y = (_native(array, format) for array in (original, decoded))
    if bound.lossless and same_bits(x, y):
        finite = UnitVerdict(key, format.name, bound, x.size, bit_exact=True, exact_values=x.size)
        return finite, Moments()
    # A bound that follows the data is judged by the largest magnitude of this very unit.
    judged = bound.of(_largest(x)) if bound.of_max else bound
    tally = _Tally(key, round, format, judged, bound, counts)
    start = 0
    while start < x.size:
        start += tally.take_inside(x[start:], y[start:])
        if start < x.size:
            tally.add(start, x[start : start + _BLOCK], y[start : start + _BLOCK])
            start += _BLOCK
    return tally.verdict(), tally.moments


def same_bits(a: Array, b: Array) -> bool:
    """Whether two contiguous arrays of one dtype and size hold the same bits."""
    x, y = a.reshape(-1).view(np.uint8), b.reshape(-1).view(np.uint8)
    whole = x.size // 8 * 8
    wide_x, wide_y = x[:whole].view(np.uint64), y[:whole].view(np.uint64)
    return bool((x[whole:] == y[whole:]).all()) and all(
        bool((wide_x[at : at + _WORDS] == wide_y[at : at + _WORDS]).all())
        for at in range(0, wide_x.size, _WORDS)
    )


def _dtype(array: Array) -> np.dtype[Any]:
    return array.dtype.newbyteorder("=")


def _native(array: Array, format: FloatFormat) -> Array:
    return np.ascontiguousarray(array, dtype=format.dtype).reshape(-1)


def _largest(x: Array) -> float:
    """Return the largest finite magnitude of a flat array, 0 if there is none."""
    largest = 0.0
    for start in range(0, x.size, _BLOCK):
        wide = np.abs(x[start : start + _BLOCK].astype(np.float64))
        largest = max(largest, float(wide[np.isfinite(wide)].max(initial=0.0)))
    return largest


def _text(bound: ErrorBound) -> str:
    if bound.lossless:
        return "lossless"
    parts = [f"{bound.absolute:.6g}"] if bound.absolute else []
    parts += [f"{bound.relative:.6g}·|original|"] if bound.relative else []
    parts += [f"{bound.of_max:.6g}·max|original|"] if bound.of_max else []
    return "error ≤ " + (f"max({', '.join(parts)})" if len(parts) > 1 else parts[0])


@dataclass
class _Tally:
    key: str
    round: int
    format: FloatFormat
    bound: ErrorBound
    promised: ErrorBound
    counts: NDArray[np.int64] | None
    values: int = 0
    exact: int = 0
    beyond: int = 0
    nonfinite: int = 0
    zero_signs: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_share: float = 0.0
    smallest: float | None = None
    largest: float | None = None
    broken: Violation | None = None
    moments: Moments = field(default_factory=Moments)

    def add(self, start: int, x: Array, y: Array) -> None:
        """Take in a block of originals `x` and decoded values `y`, flat and contiguous."""
        bits_x, bits_y = x.view(self.format.bits_dtype), y.view(self.format.bits_dtype)
        differs = np.asarray(bits_x != bits_y)
        self.values += x.size
        self.exact += x.size - int(np.count_nonzero(differs))
        wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
        finite = np.isfinite(wide_x) & np.isfinite(wide_y)
        nonfinite = differs & ~finite
        self.nonfinite += int(np.count_nonzero(nonfinite))
        beyond = np.zeros(x.size, np.bool_)
        if finite.any():
            whole = bool(finite.all())
            excess = self._errors(*((wide_x, wide_y) if whole else (wide_x[finite], wide_y[finite])))
            if excess is not None:
                beyond[finite] = excess
        if self.format.bits == 64 and not self.format.is_float:
            beyond = self._whole_numbers(x, y, differs)
        self.beyond += int(np.count_nonzero(beyond))
        self._judge(start, x, y, differs, nonfinite, beyond)

    def take_inside(self, x: Array, y: Array) -> int:
        """Take in leading values that are finite and keep the bound; return how many.

        The common case, in one pass that holds nothing in memory.
        """
        if self.bound.lossless:
            return 0
        from weightbench.verify.kernel import errors_inside  # loads Numba

        bound = self.bound.absolute, self.bound.relative
        found = errors_inside(x, y, self.format, *bound, self.max_rel, self.counts)
        if found.values:
            self.values += found.values
            self.exact += found.values - found.differing
            self._take(x, y, found)
        return found.values

    def _errors(self, x: Floats, y: Floats) -> Bools | None:
        """Statistics of finite values, and where they exceed the bound; None if they nowhere do."""
        from weightbench.verify.kernel import all_errors  # loads Numba, which lossless codecs can do without

        found = all_errors(x, y, self.counts)
        self._take(x, y, found)
        inside = self._surely_inside(found.top, found.relative, found.at_zero)
        return None if found.top == 0.0 or inside else self._beyond(x, y)

    def _take(self, x: Array, y: Array, found: Found) -> None:
        """Merge the statistics of the first `found.values` values."""
        low, high, top = found.smallest, found.largest, found.top
        self.smallest = low if self.smallest is None else min(self.smallest, low)
        self.largest = high if self.largest is None else max(self.largest, high)
        self.max_abs = max(self.max_abs, clamped(top))
        self.max_rel = max(self.max_rel, clamped(found.relative))
        self.zero_signs += found.signs
        if top == 0.0 or 2.0**-400 < top < 2.0**400:
            self.moments.merge(Moments(found.values, 1.0, found.total, found.squares))
        else:
            with np.errstate(over="ignore"):
                errors = np.clip(y - x, -np.finfo(np.float64).max, np.finfo(np.float64).max)
            self.moments.add(errors, clamped(top))
        if top != 0.0:
            share = self._share(x, y, top, found.relative, found.at_zero)
            self.max_share = max(self.max_share, clamped(share))

    def _share(self, x: Floats, y: Floats, top: float, relative: float, at_zero: float) -> float:
        """Largest error over its bound."""
        absolute, factor = self.bound.absolute, self.bound.relative
        if self.bound.lossless or (absolute == 0.0 and at_zero > 0.0):
            return float("inf")
        if absolute == 0.0:
            return float(np.float64(relative) / factor)
        if factor == 0.0:
            return float(np.float64(top) / absolute)
        with np.errstate(over="ignore", under="ignore"):
            return float((np.abs(y - x) / np.maximum(absolute, factor * np.abs(x))).max())

    def _surely_inside(self, top: float, relative: float, at_zero: float) -> bool:
        """Whether the extremes alone show, rounding errors allowed for, that no value is beyond the bound."""
        absolute, factor = self.bound.absolute, self.bound.relative
        return top < absolute or (
            at_zero <= absolute and factor > 2.0**-900 and relative * (1 + 2.0**-50) < factor
        )

    def _beyond(self, x: Floats, y: Floats) -> Bools:
        beyond = exceeds_absolute(x, y, self.bound.absolute)
        if self.bound.relative and beyond.any():
            beyond &= exceeds_relative(x, y, self.bound.relative)
        return beyond

    def _whole_numbers(self, x: Array, y: Array, differs: Bools) -> Bools:
        """Where 64-bit integers, which float64 cannot hold, exceed the bound."""
        beyond = np.zeros(x.size, np.bool_)
        absolute, relative = Fraction(self.bound.absolute), Fraction(self.bound.relative)
        for index in np.flatnonzero(differs):
            a, b = int(x[index]), int(y[index])
            beyond[index] = abs(b - a) > max(absolute, relative * abs(a))
        return beyond

    def _judge(self, start: int, x: Array, y: Array, differs: Bools, nonfinite: Bools, beyond: Bools) -> None:
        if self.broken is not None:
            return
        found = [("not bit-exact", differs)] if self.bound.lossless else []
        found += [("non-finite changed", nonfinite), ("beyond bound", beyond)]
        # The first value counts, and of several kinds of breach there the first of these.
        places = [(int(np.argmax(where)), kind) for kind, where in found if where.any()]
        if not places:
            return
        at, kind = min(places, key=lambda place: place[0])
        patterns = [array.view(self.format.bits_dtype)[at] for array in (x, y)]
        bits = [f"{int(pattern):0{self.format.bits // 4}x}" for pattern in patterns]
        values = [str(array[at]) for array in (x, y)]
        self.broken = Violation(
            self.key, kind, self.round, start + at, values[0], values[1], bits[0], bits[1],
            _text(self.promised),
        )  # fmt: skip

    def verdict(self) -> UnitVerdict:
        """The whole unit's verdict."""
        moments = self.moments
        share = self.max_share if self.beyond else min(self.max_share, 1.0)
        return UnitVerdict(
            self.key,
            self.format.name,
            self.promised,
            self.values,
            bit_exact=self.exact == self.values,
            exact_values=self.exact,
            compared=moments.count,
            max_abs_error=self.max_abs,
            max_rel_error=self.max_rel,
            mean_error=moments.mean,
            std_error=moments.std,
            rmse=moments.rms,
            psnr_db=psnr(self.smallest, self.largest, moments.rms),
            smallest=self.smallest,
            largest=self.largest,
            beyond_bound=self.beyond,
            max_bound_share=None if self.bound.lossless else share,
            nonfinite_changed=self.nonfinite,
            zero_sign_changed=self.zero_signs,
            violation=self.broken,
        )
