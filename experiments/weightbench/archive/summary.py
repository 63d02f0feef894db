"""What is told of an archive: its sizes, and a record of each unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightcodecs.formats import get_format

__all__ = ["ArchiveSummary", "Sizes", "UnitRecord"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of an archive. The first four add up to `total`, which is the size of the file.

    Attributes:
        payload: what the codecs wrote, raw units included.
        side: references of parameter granularity.
        literals: headers and gaps of the weight files, compressed.
        index: everything else: descriptions of blobs, checksums, names, dedup's references, padding.
        total: the size of the file.
    """

    payload: int
    side: int
    literals: int
    index: int
    total: int


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """A unit that was written.

    Attributes:
        key: see `Unit`.
        format: a name of `weightcodecs.formats`.
        raw_bytes: size of its values.
        stored_bytes: size of its blob and references; 0 for the blob if an earlier unit's serves.
        side_bytes: size of its references alone.
        seconds: wall time of encoding alone, in a cold process (page faults of the map included): not a
            benchmark. 0 if it came coded.
        codec: the codec's name; "identity" if it was passed through.
        passed_through: why the codec did not take it, so that it is stored raw; or None.
        repeats: the key of the earlier unit whose blob serves, or None.
        against_base: whether it was coded against a base.
    """

    key: str
    format: str
    raw_bytes: int
    stored_bytes: int
    side_bytes: int
    seconds: float
    codec: str
    passed_through: str | None
    repeats: str | None
    against_base: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """What became of a model.

    Attributes:
        path: the archive.
        raw_bytes: size of the model's files.
        sizes: of the archive.
        units: in the order in which they were written.
        seconds: wall time of all of it: reading, coding, hashing, writing, fsync.
        hashing_seconds: the part of it that went into SHA-256 of the original files.
    """

    path: Path
    raw_bytes: int
    sizes: Sizes
    units: tuple[UnitRecord, ...]
    seconds: float
    hashing_seconds: float

    @property
    def stored_bytes(self) -> int:
        """Size of the archive."""
        return self.sizes.total

    @property
    def ratio(self) -> float:
        """Raw bytes for each stored byte."""
        return self.raw_bytes / self.stored_bytes

    @property
    def encode_seconds(self) -> float:
        """Wall time of encoding alone."""
        return sum(unit.seconds for unit in self.units)

    @property
    def passed_through(self) -> dict[str, str]:
        """Units that are stored raw, each with the reason."""
        return {unit.key: unit.passed_through for unit in self.units if unit.passed_through is not None}

    @property
    def refused_all_floats(self) -> bool:
        """Whether there are float units and the codec took none of them: nothing was measured."""
        floats = [unit for unit in self.units if get_format(unit.format).is_float]
        return bool(floats) and all(unit.passed_through is not None for unit in floats)
