"""Mean, spread and largest of a stream of errors, without overflow."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "clamped", "psnr"]

_MAX = sys.float_info.max


def clamped(value: float) -> float:
    """Return `value` with infinities replaced by the largest float64: rows hold finite numbers only."""
    return min(max(value, -_MAX), _MAX)


@dataclass(slots=True)
class Moments:
    """Running count, sum and sum of squares in units of the power of two `scale` (as LAPACK's lassq)."""

    count: int = 0
    scale: float = 1.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, errors: NDArray[np.float64], largest: float) -> None:
        """Take a block of errors in; `largest` is the largest of their magnitudes."""
        self.count += errors.size
        if largest == 0.0:
            return
        # Squares of numbers between 2^±400 neither overflow nor vanish, a block's sum of them neither.
        exponent = math.frexp(largest)[1]
        scale = math.ldexp(1.0, exponent) if abs(exponent) > 400 and exponent < 1024 else 1.0
        if exponent >= 1024:
            scale = 2.0**1023
        scaled = errors if scale == 1.0 else errors / scale
        self.merge(Moments(0, scale, float(scaled.sum()), float(scaled @ scaled)))

    def merge(self, other: Moments) -> None:
        """Take another stream in."""
        self.count += other.count
        if other.squares == 0.0:
            return
        if self.squares == 0.0:
            self.scale, self.total, self.squares = other.scale, other.total, other.squares
            return
        scale = max(self.scale, other.scale)
        mine, theirs = self.scale / scale, other.scale / scale
        self.total = self.total * mine + other.total * theirs
        self.squares = self.squares * mine * mine + other.squares * theirs * theirs
        self.scale = scale

    @property
    def mean(self) -> float:
        """Mean error."""
        return clamped(self.total / self.count * self.scale) if self.count else 0.0

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return clamped(math.sqrt(self.squares / self.count) * self.scale) if self.count else 0.0

    @property
    def std(self) -> float:
        """Standard deviation over n."""
        if not self.count:
            return 0.0
        mean = self.total / self.count
        return clamped(math.sqrt(max(self.squares / self.count - mean * mean, 0.0)) * self.scale)


def psnr(smallest: float | None, largest: float | None, rmse: float) -> float | None:
    """Return 20·log10((largest − smallest) / rmse) in dB; None where that says nothing."""
    if smallest is None or largest is None or largest <= smallest or rmse == 0.0:
        return None
    half = largest / 2 - smallest / 2  # the whole range may overflow
    return 20 * (math.log10(half) + math.log10(2) - math.log10(rmse)) if half > 0 else None
