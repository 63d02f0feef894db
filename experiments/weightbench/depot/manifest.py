"""Manifests: what a model is made of. One file a model; layout as an archive's, without records.

::

    head     magic b"WBM1"
    index    JSON     {"name", "requires", "about", "bounds", "tensors", "ties", "files"}, files as lists
                      [name, SHA-256, whether every bit comes back, number of extents, of literal objects]
             columns  `COLUMNS`
             tail     digests of the objects that it names, 16 bytes each
    footer

Written by `manifest_writing`, read back by `manifest_reading`. Format: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weightbench.archive.index_parts import (
    StoredFile,
    bounds_text,
    extent_columns,
    join_index,
    tensors_text,
)
from weightbench.archive.layout import FileKind
from weightbench.granularity import Piece
from weightbench.models.model import TensorInfo
from weightcodecs import ErrorBound, get_format

from .objects import ObjectId, Part

__all__ = ["COLUMNS", "MANIFEST", "Manifest", "ManifestFile", "ManifestUnit"]

MANIFEST = FileKind(b"WBM1", "a manifest")
COLUMNS = {
    "extent_nbytes": "extents",
    "extent_tensor": "extents",  # 0: literal bytes, else number of the tensor + 1
    "literal_object": "literals",
    "unit_format": "units",
    "unit_object": "units",
    "unit_part": "units",
    "unit_side": "units",  # 0: none, else number of the object + 1
    "unit_count": "units",
    "unit_pieces": "units",
    "piece_tensor": "pieces",
    "piece_first": "pieces",
    "piece_count": "pieces",
    "piece_skipped": "pieces",  # values of the unit between this piece and the one before
    "object_format": "objects",
    "object_ordinal": "objects",
}


@dataclass(frozen=True, slots=True)
class ManifestUnit:
    """Values of one format that are decoded at once, and the tensors' pieces that they are.

    Attributes:
        format: a name of `weightcodecs.formats`.
        object: what holds them.
        part: which array of it.
        side: the references of parameter granularity, or None.
        count: number of values, used here or not.
        pieces: what they are, each with the place of its first value among them, ascending.
    """

    format: str
    object: ObjectId
    part: Part
    side: ObjectId | None
    count: int
    pieces: tuple[tuple[Piece, int], ...]


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A weight file, and the objects with its literal bytes, each `LITERAL_BYTES` of them but the last."""

    stored: StoredFile
    literals: tuple[ObjectId, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known of a model before an object is read.

    Attributes:
        name: what the model is called in the depot.
        about: where it comes from and how it was coded; for people.
        bounds: the error bound of each format that it holds.
        tensors: as in `Model.tensors`.
        ties: as in `Model.ties`.
        files: the weight files.
        units: they cover every element of every tensor once.
        requires: another model without which this one does not count: they were added together, and the
            writer may have been killed in between; or None.
    """

    name: str
    about: Mapping[str, Any]
    bounds: Mapping[str, ErrorBound]
    tensors: Mapping[str, TensorInfo]
    ties: Mapping[str, str]
    files: tuple[ManifestFile, ...]
    units: tuple[ManifestUnit, ...]
    requires: str | None = None

    def objects(self) -> Iterator[ObjectId]:
        """Yield the objects that it names, some more than once."""
        for unit in self.units:
            yield unit.object
            if unit.side is not None:
                yield unit.side
        for file in self.files:
            yield from file.literals


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as bytes, not yet compressed."""
    number = {name: i for i, name in enumerate(manifest.tensors)}
    ids = {id: i for i, id in enumerate(dict.fromkeys(manifest.objects()))}
    units, files = manifest.units, manifest.files
    pieces = [piece for unit in units for piece, _ in unit.pieces]
    columns = {
        **extent_columns(manifest.tensors, (file.stored.file for file in files)),
        "literal_object": [ids[id] for file in files for id in file.literals],
        "unit_format": [get_format(unit.format).code for unit in units],
        "unit_object": [ids[unit.object] for unit in units],
        "unit_part": [int(unit.part) for unit in units],
        "unit_side": [0 if unit.side is None else ids[unit.side] + 1 for unit in units],
        "unit_count": [unit.count for unit in units],
        "unit_pieces": [len(unit.pieces) for unit in units],
        "piece_tensor": [number[piece.tensor] for piece in pieces],
        "piece_first": [piece.first for piece in pieces],
        "piece_count": [piece.count for piece in pieces],
        "piece_skipped": [skipped for unit in units for skipped in _skipped(unit)],
        "object_format": [id.format for id in ids],
        "object_ordinal": [id.ordinal for id in ids],
    }
    text = {
        "name": manifest.name,
        "requires": manifest.requires,
        "about": dict(manifest.about),
        "bounds": bounds_text(manifest.bounds),
        "tensors": tensors_text(manifest.tensors),
        "ties": dict(manifest.ties),
        "files": [
            [f.stored.file.name, f.stored.sha256, f.stored.exact, len(f.stored.file.extents), len(f.literals)]
            for f in files
        ],
    }
    return join_index(text, columns, COLUMNS, b"".join(id.digest for id in ids))


def _skipped(unit: ManifestUnit) -> Iterator[int]:
    end = 0
    for piece, at in unit.pieces:
        yield at - end
        end = at + piece.count
