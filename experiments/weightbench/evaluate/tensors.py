"""Errors of restored values against the originals: the only comparison that every model allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from weightcodecs.formats import format_of

from .errors import EvaluationError
from .result import TensorErrors

__all__ = ["compare_tensors"]

_BLOCK = 1 << 20  # values widened to float64 at a time: 8 MB each


def compare_tensors(
    names: Iterable[str],
    original: Callable[[str], NDArray[np.generic]],
    restored: Callable[[str], NDArray[np.generic]],
    progress: Callable[[str], None],
) -> TensorErrors:
    """Compare every tensor, one in memory at a time.

    Raises:
        EvaluationError: a restored tensor has another shape or number type than the original.
    """
    tensors = values = changed = non_finite = counted = 0
    max_abs = max_rel = squares = 0.0
    low, high, worst = math.inf, -math.inf, ""
    for name in names:
        a, b = np.asarray(original(name)), np.asarray(restored(name))
        if a.shape != b.shape or a.dtype != b.dtype:
            raise EvaluationError(
                f"tensor {name!r} came back as {b.dtype}{list(b.shape)}, it was {a.dtype}{list(a.shape)}"
            )
        tensors += 1
        values += a.size
        is_float = format_of(a).is_float
        a, b = a.reshape(-1), b.reshape(-1)
        for start in range(0, a.size, _BLOCK):
            x, y = a[start : start + _BLOCK], b[start : start + _BLOCK]
            differs = _differs(x, y)
            changed += int(differs.sum())
            if not is_float:
                continue
            with np.errstate(invalid="ignore"):  # signalling NaNs
                wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
            finite = np.isfinite(wide_x) & np.isfinite(wide_y)
            non_finite += int((differs & ~finite).sum())
            fx, fy = wide_x[finite], wide_y[finite]
            if not fx.size:
                continue
            with np.errstate(over="ignore"):  # the ends of float64: the error itself is infinite
                error = np.abs(fy - fx)
                squares += float(error @ error)
            counted += fx.size
            low, high = min(low, float(fx.min())), max(high, float(fx.max()))
            if (top := float(error.max())) > max_abs:
                max_abs, worst = top, name
            nonzero = fx != 0
            if nonzero.any():
                max_rel = max(max_rel, float((error[nonzero] / np.abs(fx[nonzero])).max()))
        progress(f"values compared: {tensors} tensors")
    rmse = math.sqrt(squares / counted) if counted else 0.0
    psnr = 20 * math.log10((high - low) / rmse) if rmse > 0 and high > low else math.inf
    return TensorErrors(tensors, values, changed, max_abs, max_rel, rmse, psnr, non_finite, worst)


def _differs(x: NDArray[np.generic], y: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Bit for bit: NaN payloads and the sign of zero count."""
    bits = format_of(x).bits_dtype
    return np.asarray(np.ascontiguousarray(x).view(bits) != np.ascontiguousarray(y).view(bits))
