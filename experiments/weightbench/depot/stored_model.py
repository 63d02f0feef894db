"""A model out of a depot: any tensor alone, or its files again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from weightbench.archive import CorruptArchiveError, StoredFile
from weightbench.archive.literals import LiteralBytes
from weightbench.archive.stored_tensors import Place, StoredTensors
from weightbench.granularity import expand
from weightbench.models.model import Array
from weightcodecs import ErrorBound, get_format
from weightcodecs.blob import byte_view
from weightcodecs.errors import CorruptBlobError

from .errors import CorruptDepotError
from .folder import Folder, Pack
from .manifest import Manifest, ManifestUnit
from .objects import Kind, ObjectId, Part, StoredObject
from .pipeline import Budget, in_order
from .reading import decode_object, decode_part, record_bytes

__all__ = ["Objects", "StoredModel", "objects_of"]

# Coded bytes are mapped; values, a base's values, and what a codec needs in between.
IN_FLIGHT = 3


class Objects:
    """The objects of one model and those that its deltas need, with their packs open."""

    def __init__(self, where: Mapping[ObjectId, tuple[Pack, StoredObject]], path: object) -> None:
        self.where, self._path = where, path

    def find(self, id: ObjectId) -> tuple[Pack, StoredObject]:
        """Return the pack that holds an object; `CorruptDepotError` if there is none."""
        try:
            return self.where[id]
        except KeyError:
            raise CorruptDepotError(f"{self._path}: an object that a model needs is in no pack") from None


def objects_of(folder: Folder, manifest: Manifest) -> Objects:
    """Return the objects that a model needs, and map their packs.

    Raises:
        CorruptDepotError: one is missing.
        ArchiveError: a pack was deleted since `folder` was refreshed; `errno` is ``ENOENT``.
    """
    found: dict[ObjectId, tuple[Pack, StoredObject]] = {}
    for wanted in dict.fromkeys(manifest.objects()):
        found[wanted] = folder.find(wanted)
        for span in found[wanted][1].spans:
            if span.object is not None and span.object not in found:
                found[span.object] = folder.find(span.object)
    opened = {pack: pack.opened() for pack in {pack for pack, _ in found.values()}}
    found = {wanted: (opened[pack], stored) for wanted, (pack, stored) in found.items()}
    return Objects(found, folder.path)


@dataclass(slots=True)
class Run:
    """Bytes of a file: values that are decoded ahead, or bytes that are read when it is their turn."""

    share: int
    ahead: Callable[[], Array] | None
    later: Callable[[], Iterator[memoryview]] | None
    values: Array | None = None

    def decode(self) -> Run:
        """Decode what is decoded ahead."""
        if self.ahead is not None:
            self.values = self.ahead()
        return self

    def bytes(self) -> Iterator[memoryview]:
        """Yield the bytes."""
        if self.values is not None:
            yield byte_view(np.ascontiguousarray(self.values))
            self.values = None
        elif self.later is not None:
            yield from self.later()


class StoredModel(StoredTensors):
    """An open model; `Depot.open` makes it. It stays readable when it is deleted meanwhile.

    Attributes:
        name: what it is called in the depot.
        manifest: what it is made of.
    """

    def __init__(
        self, manifest: Manifest, objects: Objects, threads: int, cache_bytes: int, memory_bytes: int
    ) -> None:
        self.name, self.manifest = manifest.name, manifest
        self._objects, self._threads, self._memory = objects, threads, memory_bytes
        self._literals: tuple[str, LiteralBytes[ObjectId]] | None = None
        self._scales: dict[ObjectId, Array] = {}  # of pairs whose low tensor was read: small
        places: dict[str, list[Place]] = {name: [] for name in manifest.tensors}
        shared = {}
        for number, unit in enumerate(manifest.units):
            for piece, at in unit.pieces:
                places[piece.tensor].append(Place(number, at, piece))
            if len({piece.tensor for piece, _ in unit.pieces}) > 1:
                shared[number] = unit.count * get_format(unit.format).nbytes
        for own in places.values():
            own.sort(key=lambda place: place.piece.first)
        files = [file.stored for file in manifest.files]
        super().__init__(
            f"model {manifest.name!r}", manifest.tensors, manifest.ties, files, places, shared, cache_bytes
        )

    @property
    def about(self) -> Mapping[str, Any]:
        """Where it comes from and how it was coded."""
        return MappingProxyType(dict(self.manifest.about))

    @property
    def bounds(self) -> Mapping[str, ErrorBound]:
        """The error bound of each number format that it holds."""
        return MappingProxyType(dict(self.manifest.bounds))

    def read_unit(self, number: int) -> Array:
        """Return the values (n,) of a unit of `manifest.units`, read-only; decoded now.

        Raises:
            CorruptDepotError: its bytes are not those that were written, or not what the manifest says.
        """
        unit = self.manifest.units[number]
        try:
            values = self._decoded(unit)
        except CorruptArchiveError as error:
            tensor = unit.pieces[0][0].tensor
            raise CorruptDepotError(f"{self._where}: the unit with tensor {tensor!r}: {error}") from error
        values.flags.writeable = False
        return values

    def literal_bytes(self, file: str, offset: int, nbytes: int) -> Iterator[memoryview]:
        """Yield literal bytes of a file, counting literal bytes only."""
        if self._literals is None or self._literals[0] != file:
            found = next(f for f in self.manifest.files if f.stored.file.name == file)
            size = sum(extent.nbytes for extent in found.stored.file.extents if extent.tensor is None)
            self._literals = file, LiteralBytes(found.literals, size, partial(_literal_blob, self._objects))
        yield from self._literals[1].read(offset, nbytes)

    def file_bytes(self, stored: StoredFile) -> Iterator[memoryview]:
        """Yield the bytes of one of `files` in order; what comes next is decoded meanwhile."""
        budget = Budget(self._memory)
        runs = in_order(self._runs(stored, budget), Run.decode, self._threads, budget)
        with closing(runs):
            for run in runs:
                yield from run.bytes()
                budget.give_back(run.share)

    def verify(self, *, deep: bool = False) -> None:
        """Check every byte that the model needs against its checksum; `deep`: decode everything, too.

        Raises:
            CorruptDepotError: something is not as it was written.
        """
        try:
            for pack, stored in self._objects.where.values():
                pack.map().read(stored.record)
            if deep:
                self.verify_files()
        except CorruptDepotError:
            raise
        except CorruptArchiveError as error:
            raise CorruptDepotError(str(error)) from error

    def _runs(self, stored: StoredFile, budget: Budget) -> Iterator[Run]:
        literals = 0
        for extent in stored.file.extents:
            if extent.tensor is None:
                read = partial(self.literal_bytes, stored.file.name, literals, extent.nbytes)
                yield Run(budget.take(0), None, read)
                literals += extent.nbytes
            else:
                for place in self._places[extent.tensor]:
                    unit = self.manifest.units[place.unit]
                    nbytes = unit.count * get_format(unit.format).nbytes
                    if place.unit in self._shared:  # decoded once for several tensors, where they are written
                        yield Run(budget.take(0), None, partial(self._one, place))
                    else:
                        yield Run(budget.take(IN_FLIGHT * nbytes), partial(self._piece, place), None)

    def _one(self, place: Place) -> Iterator[memoryview]:
        yield byte_view(np.ascontiguousarray(self._piece(place)))

    def _decoded(self, unit: ManifestUnit) -> Array:
        format = get_format(unit.format)
        if unit.part != Part.WHOLE:
            values = decode_part(self._objects, unit.object, unit.part, self._threads, self._scales)
            if values.size != unit.count or values.dtype != format.dtype:
                raise CorruptDepotError("a pair's array is not the one that the manifest says")
            return values
        if unit.object.format != format.code:
            raise CorruptDepotError("an object has another number format than the manifest says")
        if unit.side is None:
            return decode_object(self._objects, unit.object, unit.count, self._threads)
        references = record_bytes(self._objects, unit.side, Kind.SIDE)
        try:
            return expand(decode_object(self._objects, unit.object), references, unit.count)
        except CorruptBlobError as error:
            raise CorruptDepotError(str(error)) from error


def _literal_blob(objects: Objects, id: ObjectId) -> memoryview:
    pack, stored = objects.find(id)
    if stored.kind != Kind.LITERALS or stored.spans:
        raise CorruptDepotError(f"{pack.path}: literal bytes are kept as {stored.kind.name}")
    return pack.map().read(stored.record)
