"""Packs: files of objects. Written once, never changed; laid out as `weightbench.archive.layout` says.

::

    head     magic b"WBP1"
    records  the objects
    index    columns (`COLUMNS`), then as the tail: digests of the objects (16 bytes each), digests of the
             objects that spans name (16 each), XXH3-64 of the records (8 each)
    footer

A pack names the objects that its deltas need by id, so that they may be in any other pack. Format: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weightbench.archive import CorruptArchiveError
from weightbench.archive.atomic import AtomicFile
from weightbench.archive.checked import map_checked, read_index
from weightbench.archive.index import place_records
from weightbench.archive.index_cells import LARGEST, sound
from weightbench.archive.index_parts import Numbers, join_index, split_index
from weightbench.archive.layout import HEAD_BYTES, FileKind, aligned
from weightbench.archive.records import RecordWriter
from weightcodecs.formats import format_with_code

from .errors import CorruptDepotError
from .objects import Kind, ObjectId, ObjectSpan, Part, StoredObject

__all__ = ["PACK", "PackFileWriter", "parse_pack", "read_pack", "sound_ids"]

PACK = FileKind(b"WBP1", "a pack")
DIGEST = 16
COLUMNS = {
    "object_nbytes": "objects",
    "object_kind": "objects",
    "object_exact": "objects",
    "object_overhead": "objects",
    "object_format": "objects",
    "object_ordinal": "objects",
    "object_spans": "objects",
    "span_object": "spans",  # 0: zeros, else number of the needed object + 1
    "span_part": "spans",
    "span_first": "spans",
    "span_count": "spans",
    "needed_format": "needed",
    "needed_ordinal": "needed",
}


class PackFileWriter:
    """Appends objects to one pack."""

    def __init__(self, out: AtomicFile) -> None:
        self._records = RecordWriter(out, PACK)
        self._objects: list[tuple[ObjectId, Kind, bool, int, tuple[ObjectSpan, ...]]] = []
        self._out = out

    @property
    def nbytes(self) -> int:
        """Bytes so far, without the index."""
        return self._out.nbytes

    def add(
        self,
        id: ObjectId,
        kind: Kind,
        exact: bool,
        overhead: int,
        spans: tuple[ObjectSpan, ...],
        data: bytes | memoryview,
    ) -> None:
        """Append an object; see `StoredObject`."""
        self._records.add(data)
        self._objects.append((id, kind, exact, overhead, spans))

    def finish(self) -> None:
        """Append index and footer."""
        raw = _pack_index(self._objects, self._records)
        parse_pack(raw, self._records.end())  # what cannot be opened is not written
        self._records.finish(raw)


def _pack_index(
    objects: Sequence[tuple[ObjectId, Kind, bool, int, tuple[ObjectSpan, ...]]], records: RecordWriter
) -> bytes:
    spans = [span for *_, own in objects for span in own]
    needed = {id: i for i, id in enumerate(dict.fromkeys(s.object for s in spans if s.object))}
    columns: dict[str, list[int]] = {
        "object_nbytes": records.sizes,
        "object_kind": [int(kind) for _, kind, *_ in objects],
        "object_exact": [int(exact) for _, _, exact, *_ in objects],
        "object_overhead": [overhead for *_, overhead, _ in objects],
        "object_format": [id.format for id, *_ in objects],
        "object_ordinal": [id.ordinal for id, *_ in objects],
        "object_spans": [len(own) for *_, own in objects],
        "span_object": [0 if span.object is None else needed[span.object] + 1 for span in spans],
        "span_part": [int(span.part) for span in spans],
        "span_first": [span.first for span in spans],
        "span_count": [span.count for span in spans],
        "needed_format": [id.format for id in needed],
        "needed_ordinal": [id.ordinal for id in needed],
    }
    digests = b"".join([*(id.digest for id, *_ in objects), *(id.digest for id in needed)])
    return join_index({}, columns, COLUMNS, digests + np.array(records.checksums, "<u8").tobytes())


def read_pack(path: Path) -> tuple[tuple[StoredObject, ...], int]:
    """Return the objects of a pack, and where its index begins.

    Raises `CorruptDepotError` if the pack is damaged, `ArchiveError` if it cannot be opened.
    """
    try:
        with map_checked(path, PACK) as data:
            raw, end = read_index(path, data, PACK)
    except CorruptArchiveError as error:
        raise CorruptDepotError(str(error)) from error
    try:
        return parse_pack(raw, end)
    except CorruptArchiveError as error:
        raise CorruptDepotError(f"{path}: {error}") from error


def parse_pack(data: bytes, end: int) -> tuple[tuple[StoredObject, ...], int]:
    """Return the objects of a pack with the index `data` at byte `end`; raises `CorruptArchiveError`."""
    _, columns, tail = split_index(data, (), COLUMNS)
    objects, needed = columns["object_nbytes"].size, columns["needed_format"].size
    sound(len(tail) == (DIGEST + 8) * objects + DIGEST * needed, "its digests")
    sizes = columns["object_nbytes"]
    sound(objects == 0 or int(sizes.max()) * objects < LARGEST, "its records are too large")
    checksums = np.frombuffer(tail[DIGEST * (objects + needed) :], "<u8")
    records = place_records(sizes.tolist(), checksums.tolist())
    last = records[-1] if records else None
    sound(end == (aligned(last.offset + last.nbytes) if last else HEAD_BYTES), "its records' end")
    ids = sound_ids(columns["object_format"], columns["object_ordinal"], tail[: DIGEST * objects])
    others = sound_ids(columns["needed_format"], columns["needed_ordinal"], tail[DIGEST * objects :])
    sound(len(set(ids)) == len(ids), "it holds an object twice")
    spans = _spans(columns, others)
    sound(bool((columns["object_kind"] <= max(Kind)).all()), "an object's kind")
    sound(bool((columns["object_exact"] <= 1).all()), "whether an object is exact")
    sound(bool((columns["object_overhead"] <= sizes).all()), "an object's size")
    per_object = columns["object_spans"]
    sound(bool((per_object <= len(spans)).all()), "an object has more spans than there are")
    sound(int(per_object.sum()) == len(spans), "its spans are not as many as there are")
    names = ("object_kind", "object_exact", "object_overhead", "object_spans")
    found, at = [], 0
    for id, record, kind, exact, overhead, count in zip(
        ids, records, *(columns[name].tolist() for name in names), strict=True
    ):
        own = tuple(spans[at : at + count])
        at += count
        found.append(StoredObject(id, Kind(kind), bool(exact), overhead, own, record))
    return tuple(found), end


def sound_ids(formats: Numbers, ordinals: Numbers, digests: memoryview) -> list[ObjectId]:
    """Return ids from their columns; as many of `digests` are used as there are ids."""
    known = all(code == 0 or format_with_code(code) is not None for code in set(formats.tolist()))
    sound(known, "an object's number format")
    return [
        ObjectId(format, bytes(digests[DIGEST * i : DIGEST * (i + 1)]), ordinal)
        for i, (format, ordinal) in enumerate(zip(formats.tolist(), ordinals.tolist(), strict=True))
    ]


def _spans(columns: dict[str, Numbers], needed: list[ObjectId]) -> list[ObjectSpan]:
    sound(bool((columns["span_object"] <= len(needed)).all()), "a span's object is not there")
    sound(bool((columns["span_part"] <= max(Part)).all()), "a span's part")
    names = ("span_object", "span_part", "span_first", "span_count")
    return [
        ObjectSpan(needed[number - 1] if number else None, Part(part), first, count)
        for number, part, first, count in zip(*(columns[name].tolist() for name in names), strict=True)
    ]
