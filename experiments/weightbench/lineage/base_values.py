"""Values of a base model in the places of a fine-tuned one: what delta codecs code against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from weightbench.granularity import ParameterUnit, Piece, Unit
from weightbench.models.model import Array, Model
from weightcodecs.formats import get_format

__all__ = ["BaseValues", "Match", "Span"]


@dataclass(frozen=True, slots=True)
class Match:
    """Which tensor of the base a tensor of the fine-tune came from.

    Attributes:
        tensor: a key of the base's `Model.tensors`, of the same format.
        common: elements [0, common) in C order correspond one to one. Fewer than either has where rows were
            added or dropped at the end (a resized embedding): what is beyond has no base.
    """

    tensor: str
    common: int


@dataclass(frozen=True, slots=True)
class Span:
    """A run of a reference array: elements of a base's tensor, or zeros where there is no base.

    Attributes:
        tensor: of the base; None for zeros.
        first: its first element (0 for zeros).
        count: number of elements.
    """

    tensor: str | None
    first: int
    count: int


class BaseValues:
    """The base of one model.

    Attributes:
        model: the base.
        matches: for tensors of the fine-tune, where they came from; one that is absent has no base.
    """

    def __init__(self, model: Model, matches: Mapping[str, Match]) -> None:
        self.model, self.matches = model, dict(matches)

    def spans(self, unit: Unit) -> tuple[Span, ...] | None:
        """Return what a unit is coded against, in the order of its values.

        None if less than half of its values have a base, or if it is not made of a model's own values
        (parameter granularity, where a unit's array holds distinct values).
        """
        if isinstance(unit, ParameterUnit):
            return None
        spans = tuple(span for piece in unit.pieces for span in self._of(piece))
        known = sum(span.count for span in spans if span.tensor is not None)
        return spans if 2 * known >= unit.count else None

    def reference(self, unit: Unit) -> Array | None:
        """Return the array of the unit's shape and format that `spans` describes, or None."""
        spans = self.spans(unit)
        if spans is None:
            return None
        parts = [self._values(span, unit.format) for span in spans]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(unit.shape)

    def _of(self, piece: Piece) -> Iterator[Span]:
        match = self.matches.get(piece.tensor)
        known = 0 if match is None else max(0, min(piece.count, match.common - piece.first))
        if match is not None and known:
            yield Span(match.tensor, piece.first, known)
        if known < piece.count:
            yield Span(None, 0, piece.count - known)

    def _values(self, span: Span, format: str) -> Array:
        if span.tensor is None:
            return np.zeros(span.count, get_format(format).dtype)
        return self.model.elements(span.tensor, span.first, span.first + span.count)
