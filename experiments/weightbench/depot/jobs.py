"""Units on their way through the pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from weightbench.archive import UnitRecord
from weightbench.granularity import Unit
from weightbench.models.model import Array
from weightbench.systems import Coder
from weightcodecs import Blob

from .manifest import ManifestUnit
from .objects import ObjectId, ObjectSpan

__all__ = ["Job", "Kept"]


@dataclass(slots=True, eq=False)
class Kept:
    """A unit of the models that are being added, and what became of it as soon as it is written."""

    unit: Unit
    own: ManifestUnit | None = None
    told: UnitRecord | None = None


@dataclass(slots=True)
class Job:
    """A unit that has been read and looked up, and then coded.

    Attributes:
        kept: the unit.
        key: of its array.
        share: what it took of the budget.
        array: what is to be coded; None if it is there already.
        side: the references of parameter granularity, or None.
        coder: what codes it.
        refused: why it is not the coder that was asked for, or None.
        repeats: an equal unit that is being added, or None.
        same_side: whether that one's references are equal, too.
        found: an equal object of the depot, or None.
        reference: what it may be coded against, or None.
        spans: where that is stored.
        base_tensors: what was read of the base.
        threads: handed to the coder.
        blob: the coded unit, after `encode`.
        seconds: how long that took.
    """

    kept: Kept
    key: bytes
    share: int
    array: Array | None
    side: bytes | None
    coder: Coder
    refused: str | None
    repeats: Kept | None = None
    same_side: bool = False
    found: ObjectId | None = None
    reference: Array | None = field(default=None, repr=False)
    spans: tuple[ObjectSpan, ...] = ()
    base_tensors: tuple[str, ...] = ()
    threads: int = 1
    blob: Blob | None = None
    seconds: float = 0.0

    def encode(self) -> Job:
        """Code the unit if it must be."""
        if self.array is not None:
            begun = time.perf_counter()
            self.blob = self.coder.encode(self.array, reference=self.reference, threads=self.threads)
            self.seconds = time.perf_counter() - begun
            self.array = self.reference = None
        return self
