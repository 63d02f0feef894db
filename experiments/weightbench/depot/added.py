"""What is told of a model that was added, and of the sizes of a depot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightbench.archive import Sizes, UnitRecord

__all__ = ["Added", "DepotSizes"]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a model.

    Attributes:
        name: what it is called in the depot.
        raw_bytes: size of its files.
        sizes: the bytes by which the depot grew: its new packs and its manifest.
        units: in the order in which they were coded; those of repeated files are not among them.
        repeated_files: files that were there already, byte for byte.
        objects: number of new objects.
        seconds: wall time of all of it.
        spent: seconds of "read", "encode", "write" and "hash", added up over the threads; where these
            overlap, the sum is more than `seconds`.
    """

    name: str
    raw_bytes: int
    sizes: Sizes
    units: tuple[UnitRecord, ...]
    repeated_files: tuple[str, ...]
    objects: int
    seconds: float
    spent: Mapping[str, float]

    @property
    def added_bytes(self) -> int:
        """Bytes by which the depot grew."""
        return self.sizes.total

    @property
    def repeated_units(self) -> int:
        """Number of units that were there already, in this model or in another one."""
        return sum(unit.repeats is not None for unit in self.units)

    @property
    def passed_through(self) -> dict[str, str]:
        """Units that are stored raw, each with the reason."""
        return {unit.key: unit.passed_through for unit in self.units if unit.passed_through is not None}


@dataclass(frozen=True, slots=True)
class DepotSizes:
    """Bytes of a depot. Those from `payload` to `index` add up to `total`.

    Attributes:
        payload: what the codecs wrote, raw units included.
        side: references of parameter granularity.
        literals: headers and gaps of the weight files, compressed.
        index: everything else: manifests, indexes of packs, descriptions of blobs, checksums, padding.
        total: the sum of the files' sizes.
        disk: the blocks that files and folders take, as ``du`` counts them.
        models: number of models.
        objects: number of objects.
        packs: number of packs.
    """

    payload: int
    side: int
    literals: int
    index: int
    total: int
    disk: int
    models: int
    objects: int
    packs: int
