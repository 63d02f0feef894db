"""What a quantised tensor is: codes and scales; which formats have one, and how many scales it can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import FloatFormat

__all__ = ["BLOCK", "Quantised", "quantisable", "uneven_rows"]

BLOCK = 64
"""Values that share a scale in NF4."""
_QUANTISABLE = ("float16", "bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Quantised:
    """A quantised tensor.

    Attributes:
        codes: int8 of the tensor's shape (INT8), or uint8 (⌈n / 2⌉,), two codes to a byte (NF4, INT4).
        scales: float32, the largest magnitude of each row (rows,) or block (⌈n / 64⌉,); None if not known.
    """

    codes: NDArray[Any]
    scales: NDArray[np.float32] | None

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.codes.nbytes + (0 if self.scales is None else self.scales.nbytes)


def quantisable(format: FloatFormat) -> str | None:
    """Return why a format cannot be quantised here, or None if it can."""
    return None if format.name in _QUANTISABLE else f"the quantisers take {', '.join(_QUANTISABLE)}"


def uneven_rows(count: int, scales: int) -> str | None:
    """Return why `count` values cannot be rows of equally many with a scale each, or None if they can."""
    if not count or (scales and count % scales == 0):
        return None
    return f"{scales} scales do not divide {count} values into equal rows"
