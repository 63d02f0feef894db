"""The index of an archive: which records hold what. How it is read back: `index_reading`.

::

    JSON     {"about", "bounds", "tensors", "ties", "files", "references", "counts", "literals", "payload"}
    columns  in the order of `COLUMNS` (how text and columns are put together: `index_parts`)
    tail     the records' XXH3-64 as plain u64

Nothing is stored that follows from something else: places of records follow from their sizes, places of
tensors from the files' extents. Format: ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightbench.granularity import Piece
from weightbench.models.model import TensorInfo
from weightcodecs import ErrorBound, get_format

from .index_parts import StoredFile, bounds_text, extent_columns, join_index, tensors_text
from .layout import HEAD, aligned

__all__ = [
    "COLUMNS",
    "LITERAL_BYTES",
    "Index",
    "Record",
    "StoredFile",
    "StoredUnit",
    "UnitReference",
    "index_bytes",
    "place_records",
]

LITERAL_BYTES = 16 << 20  # of a literal record before compression; only the last one has fewer

# Each column with the count (in "counts") of its values.
COLUMNS = {
    "record_nbytes": "records",
    "extent_nbytes": "extents",
    "extent_tensor": "extents",  # 0: literal bytes, else number of the tensor + 1
    "unit_format": "units",
    "unit_blob": "units",
    "unit_side": "units",  # 0: none, else number of the record + 1
    "unit_reference": "units",  # 0: none, else number of the reference + 1
    "unit_pieces": "units",
    "piece_tensor": "pieces",
    "piece_first": "pieces",
    "piece_count": "pieces",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A run of bytes of the archive and their XXH3-64."""

    offset: int
    nbytes: int
    checksum: int


@dataclass(frozen=True, slots=True)
class UnitReference:
    """What a unit was coded against: as many elements of a base model's tensor as it has values itself.

    Attributes:
        model: the base, as a model spec.
        tensor: its tensor.
        first: the element of the tensor (C order) at which the reference begins.
    """

    model: str
    tensor: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit in an archive.

    Attributes:
        format: a name of `weightcodecs.formats`.
        pieces: which values of which tensors it holds.
        count: number of values.
        blob: number of the record that holds its blob; units that dedup found equal share one.
        side: number of the record that holds its references (parameter granularity), or None.
        reference: what it was coded against, or None.
    """

    format: str
    pieces: tuple[Piece, ...]
    count: int
    blob: int
    side: int | None
    reference: UnitReference | None


@dataclass(frozen=True, slots=True)
class Index:
    """All that is known of an archive before a record is read.

    Attributes:
        about: where it comes from: model, revision, base, codec, its configuration, granularity; for people.
        bounds: the error bound of each float format that it holds.
        tensors: as in `Model.tensors`.
        ties: as in `Model.ties`.
        files: the weight files.
        units: in the order in which they were written.
        records: in file order; the last `literals` of them hold the literal bytes of the files.
        literals: see `records`.
        payload: coded bytes: all blobs without their descriptions.
    """

    about: Mapping[str, Any]
    bounds: Mapping[str, ErrorBound]
    tensors: Mapping[str, TensorInfo]
    ties: Mapping[str, str]
    files: tuple[StoredFile, ...]
    units: tuple[StoredUnit, ...]
    records: tuple[Record, ...]
    literals: int
    payload: int

    @property
    def end(self) -> int:
        """Return where the records end, which is where the index begins."""
        return aligned(self.records[-1].offset + self.records[-1].nbytes) if self.records else len(HEAD)


def place_records(sizes: list[int], checksums: list[int]) -> tuple[Record, ...]:
    """Return the records of these sizes, each at the first aligned place behind the one before."""
    records, at = [], len(HEAD)
    for nbytes, checksum in zip(sizes, checksums, strict=True):
        records.append(Record(at, nbytes, checksum))
        at = aligned(at + nbytes)
    return tuple(records)


def index_bytes(index: Index) -> bytes:
    """Return an index as bytes, not yet compressed."""
    number = {name: i for i, name in enumerate(index.tensors)}
    references = {r: i for i, r in enumerate(dict.fromkeys(u.reference for u in index.units if u.reference))}
    pieces = [piece for unit in index.units for piece in unit.pieces]
    columns = {
        "record_nbytes": [record.nbytes for record in index.records],
        **extent_columns(index.tensors, (stored.file for stored in index.files)),
        "unit_format": [get_format(unit.format).code for unit in index.units],
        "unit_blob": [unit.blob for unit in index.units],
        "unit_side": [0 if unit.side is None else unit.side + 1 for unit in index.units],
        "unit_reference": [references[u.reference] + 1 if u.reference else 0 for u in index.units],
        "unit_pieces": [len(unit.pieces) for unit in index.units],
        "piece_tensor": [number[piece.tensor] for piece in pieces],
        "piece_first": [piece.first for piece in pieces],
        "piece_count": [piece.count for piece in pieces],
    }
    text = {
        "about": dict(index.about),
        "bounds": bounds_text(index.bounds),
        "tensors": tensors_text(index.tensors),
        "ties": dict(index.ties),
        "files": [[f.file.name, f.sha256, f.exact, len(f.file.extents)] for f in index.files],
        "references": [[r.model, r.tensor, r.first] for r in references],
        "literals": index.literals,
        "payload": index.payload,
    }
    checksums = np.array([record.checksum for record in index.records], "<u8")
    return join_index(text, columns, COLUMNS, checksums.tobytes())
