"""One model on its way into a depot: which of its bytes are there already, and where the others go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from weightbench.archive.records import literal_blob, literal_runs
from weightbench.dedup import content_key
from weightbench.models.model import Array, Model, ModelFile
from weightcodecs import Blob
from weightcodecs.blob import byte_view, parse_description

from .folder import Folder
from .jobs import Kept
from .objects import Kind, ObjectId, ObjectSpan, bytes_key
from .pack_writing import NewPacks
from .reading import decode_object

__all__ = ["Ingest", "same_bytes"]


class Ingest:
    """Puts objects into new packs, or finds them in the depot.

    Attributes:
        payload, side, literals: bytes of new objects by what they are.
        objects: number of new objects.
        spent: seconds by what they went into.
        seen: the units of the models that are being added, by key.
    """

    def __init__(self, folder: Folder, packs: NewPacks, dedup: bool, beside: Ingest | None = None) -> None:
        """Put objects into `packs`; those of the model that is added `beside` this one are known, too."""
        self.payload = self.side = self.literals = self.objects = 0
        self.spent = {"read": 0.0, "encode": 0.0, "write": 0.0, "hash": 0.0}
        self._folder, self._packs, self._dedup = folder, packs, dedup
        self.seen: dict[bytes, list[Kept]] = beside.seen if beside else {}
        self._ordinals: dict[bytes, int] = beside._ordinals if beside else {}

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the time of a block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] += time.perf_counter() - begun

    def find(self, key: bytes, array: Array) -> ObjectId | None:
        """Return an object of the depot that decodes to the bytes of an array (its key is `key`).

        Raises `CorruptDepotError` if an object with that key is damaged.
        """
        for id in self._folder.with_key(key) if self._dedup else ():
            stored = self._folder.find(id)[1]
            if stored.kind != Kind.UNIT or not stored.exact:
                continue
            # The digests are equal, so that this almost never decodes in vain.
            if same_bytes(decode_object(self._folder, id), array):
                return id
        return None

    def add_blob(
        self, key: bytes, blob: Blob, exact: bool, spans: tuple[ObjectSpan, ...], kind: Kind = Kind.UNIT
    ) -> tuple[ObjectId, int]:
        """Store a blob, or find the very same one; return the object and how many bytes it costs."""
        with self.timed("write"):
            for id in self._folder.with_key(key) if self._dedup else ():
                if self._is(id, kind, exact, spans, blob):
                    return id, 0
            payload = len(parse_description(blob).payload)
            id = self._new_id(key)
            self._packs.add(id, kind, exact, len(blob) - payload, spans, blob)
            if kind == Kind.LITERALS:
                self.literals += len(blob)
            else:
                self.payload += payload
            return id, len(blob)

    def add_side(self, data: bytes) -> tuple[ObjectId, int]:
        """Store references, or find the very same ones; return the object and how many bytes it costs."""
        key = bytes_key(data)
        with self.timed("write"):
            for id in self._folder.with_key(key) if self._dedup else ():
                if self._is(id, Kind.SIDE, True, (), data):
                    return id, 0
            id = self._new_id(key)
            self._packs.add(id, Kind.SIDE, True, 0, (), data)
            self.side += len(data)
            return id, len(data)

    def add_literals(self, model: Model, file: ModelFile) -> tuple[ObjectId, ...]:
        """Store the literal bytes of a file."""
        found = []
        for run in literal_runs(model, [file]):
            key = content_key(np.frombuffer(run, np.uint8))
            found.append(self.add_blob(key, literal_blob(run), True, (), Kind.LITERALS)[0])
        return tuple(found)

    def _is(self, id: ObjectId, kind: Kind, exact: bool, spans: tuple[ObjectSpan, ...], data: Blob) -> bool:
        pack, stored = self._folder.find(id)
        same = (stored.kind, stored.exact, stored.spans, stored.record.nbytes) == (
            kind,
            exact,
            spans,
            len(data),
        )
        return same and pack.map().read(stored.record) == data

    def _new_id(self, key: bytes) -> ObjectId:
        if key not in self._ordinals:
            self._ordinals[key] = max((id.ordinal for id in self._folder.with_key(key)), default=-1) + 1
        ordinal = self._ordinals[key]
        self._ordinals[key] += 1
        self.objects += 1
        return ObjectId(key[0], key[1:], ordinal)


def same_bytes(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same bytes: NaN is not equal to itself, and -0.0 is equal to 0.0."""
    return byte_view(a.reshape(-1)) == byte_view(np.ascontiguousarray(b).reshape(-1))
