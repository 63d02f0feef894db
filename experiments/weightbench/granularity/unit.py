"""A unit: what a codec codes at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from weightbench.models.model import Array
from weightcodecs.formats import get_format

from .source import Piece, TensorSource

__all__ = ["Unit"]


@dataclass(frozen=True)
class Unit:
    """Values of one float format, and where in the model they stand.

    Attributes:
        key: a name that stays the same as long as the model and the granularity do; no two units share one.
        format: a name of `weightcodecs.formats`.
        pieces: the tensors' pieces that it covers, in the order of its values; none is empty.
        shape: of `values()`: the tensor's own at tensor granularity, else (n,).
    """

    key: str
    format: str
    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    source: TensorSource = field(repr=False, compare=False)

    @property
    def count(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values: what the unit is "raw"."""
        return self.count * get_format(self.format).nbytes

    def values(self) -> Array:
        """Return the values that the unit covers, read-only; when it is a view says `TensorSource.read`."""
        return self.source.read(self.format, self.pieces).reshape(self.shape)

    def array(self) -> Array:
        """Return what a codec codes: the values (parameter granularity: the distinct ones)."""
        return self.values()

    def references(self) -> bytes | None:
        """Return the side information that stands beside the coded array, or None if it needs none."""
        return None

    def restore(self, decoded: Array) -> Array:
        """Return the values (n,) that a decoded `array()` stands for."""
        return decoded.reshape(-1)
