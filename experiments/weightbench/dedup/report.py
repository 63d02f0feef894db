"""How much of a set of models is there more than once: files, layers, tensors, chunks, values.

Nothing is stored. Models are read once, in order, each unit hashed (XXH3-128) and compared byte for byte with
the first one of the same hash. What it finds is what `codec=dedup` stores, at any granularity.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightbench.granularity import Granularity, Unit, units
from weightbench.models.model import Model
from weightcodecs.blob import byte_view
from weightcodecs.formats import get_format

from .chunks import Chunks
from .contents import Contents, Place
from .projection import ENTRY_BYTES, projected_metadata_bytes

__all__ = ["DedupReport", "dedup_report"]

_BLOCK = 16 << 20
_PENDING = 1 << 24


@dataclass(frozen=True, slots=True)
class DedupReport:
    """What dedup at one level finds in a set of models.

    Attributes:
        level: "file", or what the models were cut into, for people.
        units: how many pieces there are.
        entries: how many different ones.
        raw_bytes: of all pieces (tensors' bytes; at level "file" whole files).
        unique_bytes: of the different ones.
        collisions: pairs of different pieces with the same hash.
        seconds: wall time, reading included, on one core.
    """

    level: str
    units: int
    entries: int
    raw_bytes: int
    unique_bytes: int
    collisions: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Raw bytes over unique bytes, metadata not counted, as papers report it."""
        return self.raw_bytes / self.unique_bytes if self.unique_bytes else 1.0

    @property
    def metadata_bytes(self) -> int:
        """64 bytes for each different piece: hash, place, size, references to it."""
        return self.entries * ENTRY_BYTES

    @property
    def reference_bytes(self) -> int:
        """The least that says which entry stands where: ceil(log2(entries)) bits for each piece."""
        return (self.units * max(self.entries - 1, 0).bit_length() + 7) // 8

    @property
    def counted_ratio(self) -> float:
        """Raw bytes over unique bytes, metadata and references together: below 1 it does not pay."""
        stored = self.unique_bytes + self.metadata_bytes + self.reference_bytes
        return self.raw_bytes / stored if stored else 1.0

    @property
    def projected(self) -> float:
        """Bytes of metadata for a hub of 17 PB, see `projected_metadata_bytes`."""
        return projected_metadata_bytes(self.entries, self.raw_bytes)

    @property
    def mb_per_second(self) -> float:
        """10^6 raw bytes a second."""
        return self.raw_bytes / 1e6 / self.seconds if self.seconds else 0.0

    def plain(self) -> dict[str, Any]:
        """Return all of it in plain values."""
        fields = [*self.__dataclass_fields__, "ratio", "metadata_bytes", "reference_bytes", "counted_ratio"]
        return {name: getattr(self, name) for name in [*fields, "projected", "mb_per_second"]}


def dedup_report(models: Sequence[Model], level: Granularity | str) -> DedupReport:
    """Find equal pieces in a set of models.

    Args:
        models: read in this order; none is held in memory.
        level: how to cut them, or "file" for whole files.

    Raises:
        ValueError: `level` is a text other than "file".
    """
    begun = time.perf_counter()
    if isinstance(level, str):
        if level != "file":
            raise ValueError(f"level is a Granularity or 'file', not {level!r}")
        name, counts = level, _files(models)
    elif level.kind == "chunk":
        name = f"chunk {level.chunking} {level.chunk_bytes}"
        chunks = Chunks(models, level)
        chunks.warm_up()
        begun = time.perf_counter()
        counts = _chunks(chunks)
    elif level.kind == "parameter":
        name, counts = "parameter", _parameters(models)
    else:
        name, counts = level.kind, _units(models, level)
    return DedupReport(name, *counts, time.perf_counter() - begun)


Counts = tuple[int, int, int, int, int]


class _Tally:
    """Counts pieces as they are looked up."""

    def __init__(self, contents: Contents) -> None:
        self.contents, self.units, self.raw, self.unique = contents, 0, 0, 0

    def add(self, kind: bytes, data: memoryview, place: Place) -> None:
        self.units += 1
        self.raw += data.nbytes
        if self.contents.find_or_add(kind, data, place) is None:
            self.unique += data.nbytes

    def counts(self) -> Counts:
        return self.units, self.contents.entries, self.raw, self.unique, self.contents.collisions


def _units(models: Sequence[Model], level: Granularity) -> Counts:
    held: list[Unit] = []  # units read their values again when asked
    tally = _Tally(Contents(lambda place: byte_view(held[place[0]].values()), 1))
    for model in models:
        for unit in units(model, level):
            held.append(unit)
            code = get_format(unit.format).code
            tally.add(bytes((code,)), byte_view(unit.values()), (len(held) - 1,))
            for piece in unit.pieces:
                model.drop(piece.tensor)
    return tally.counts()


def _chunks(chunks: Chunks) -> Counts:
    tally = _Tally(Contents(chunks.read_bytes, 4))
    for tensor in chunks:
        data, width = byte_view(tensor.values), tensor.format.nbytes
        kind = bytes((tensor.format.code,))
        for place in tensor.places:
            tally.add(kind, data[place[2] * width : place[3] * width], place)
        del data
    return tally.counts()


def _parameters(models: Sequence[Model]) -> Counts:
    """Every value is a piece; equal bit patterns of a format are equal."""
    pending: dict[str, list[NDArray[Any]]] = {}
    waiting: dict[str, int] = {}
    values = raw = 0
    for model, name in [(each, name) for each in models for name in each.tensors]:
        array, format = model.read(name), get_format(model.tensors[name].format)
        if array.size == 0:
            continue
        values, raw = values + array.size, raw + array.nbytes
        patterns = _distinct(np.ascontiguousarray(array).reshape(-1).view(format.bits_dtype))
        parts = pending.setdefault(format.name, [])
        parts.append(patterns)
        waiting[format.name] = waiting.get(format.name, 0) + patterns.size
        if waiting[format.name] >= _PENDING:
            parts[:] = [_distinct(np.concatenate(parts))]
            waiting[format.name] = 0
        del array
        model.drop(name)
    distinct = {name: _distinct(np.concatenate(parts)).size for name, parts in pending.items()}
    unique = sum(count * get_format(name).nbytes for name, count in distinct.items())
    return values, sum(distinct.values()), raw, unique, 0


def _distinct(patterns: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values of a non-empty array, ascending; sorting beats NumPy's hash table here."""
    ordered = np.sort(patterns)
    new = np.empty(ordered.size, bool)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


def _files(models: Sequence[Model]) -> Counts:
    """Whole files by SHA-256, which needs no comparison."""
    seen: dict[bytes, int] = {}
    count = raw = 0
    for model in models:
        for file in model.files:
            sha = hashlib.sha256()
            for start in range(0, file.nbytes, _BLOCK):
                sha.update(model.read_range(file.name, start, min(_BLOCK, file.nbytes - start)))
            count, raw = count + 1, raw + file.nbytes
            seen[sha.digest()] = file.nbytes
    return count, len(seen), raw, sum(seen.values()), 0
