"""Reading an index: everything in it is checked before anything is used. What it looks like: `index`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from weightbench.granularity import SEGMENT, Piece
from weightbench.models.model import TensorInfo
from weightcodecs.formats import format_with_code

from .errors import CorruptArchiveError
from .index import COLUMNS, LITERAL_BYTES, Index, StoredFile, StoredUnit, UnitReference, place_records
from .index_cells import LARGEST, is_count, is_text, rows, sound, whole
from .index_parts import Numbers, check_cover, parse_bounds, parse_files, parse_ties, split_index

__all__ = ["parse_index"]

ENTRIES = ("about", "bounds", "tensors", "ties", "files", "references", "literals", "payload")


def parse_index(data: bytes, end: int) -> Index:
    """Return the index in `data` of an archive whose records end at byte `end`.

    Raises `CorruptArchiveError` if anything in it is out of range, missing, or contradicts something else.
    Nothing is allocated that is not in proportion to `data`.
    """
    text, columns, tail = split_index(data, ENTRIES, COLUMNS)
    tensors, files = parse_files(text["tensors"], text["files"], columns)
    sound(len(tail) == 8 * len(columns["record_nbytes"]), "its records lack checksums")
    checksums = np.frombuffer(tail, "<u8")
    sizes = columns["record_nbytes"]
    sound(sizes.size == 0 or int(sizes.max()) * sizes.size < LARGEST, "its records are too large")
    records = place_records(sizes.tolist(), checksums.tolist())
    literals, payload = whole(text["literals"]), whole(text["payload"])
    _check_literals(files, literals, len(records))
    units = _units(text, columns, tensors, len(records) - literals)
    blobs = sum(records[i].nbytes for i in {unit.blob for unit in units})
    sound(payload <= blobs, "its coded bytes are more than its blobs")
    sound(isinstance(text["about"], dict), "it does not say what it is about")
    index = Index(
        text["about"],
        parse_bounds(text["bounds"]),
        tensors,
        parse_ties(text["ties"], tensors),
        files,
        units,
        records,
        literals,
        payload,
    )
    sound(index.end == end, "its records do not end where the index begins")
    return index


def _check_literals(files: tuple[StoredFile, ...], literals: int, records: int) -> None:
    nbytes = sum(e.nbytes for stored in files for e in stored.file.extents if e.tensor is None)
    sound(literals == -(-nbytes // LITERAL_BYTES), "its literal bytes do not fit their number of records")
    sound(literals <= records, "its literal bytes lack records")


def _units(
    text: Mapping[str, Any], columns: Mapping[str, Numbers], tensors: Mapping[str, TensorInfo], records: int
) -> tuple[StoredUnit, ...]:
    """Return the units, which cover every element once and use each of the first `records` records."""
    references = [UnitReference(*row) for row in rows(text["references"], is_text, is_text, is_count)]
    blob, side, against = columns["unit_blob"], columns["unit_side"] - 1, columns["unit_reference"] - 1
    sound(bool((blob < records).all() and (side < records).all()), "a unit's record is not there")
    sound(bool((against < len(references)).all()), "a unit's reference is not there")
    sides = side[side >= 0]
    used = np.zeros(records, np.uint8)
    used[blob] = 1
    sound(not used[sides].any() and np.unique(sides).size == sides.size, "a record has two uses")
    used[sides] = 1
    sound(bool(used.all()), "a record has no use")
    check_cover(columns, tensors.values())
    ends = np.cumsum(columns["unit_pieces"])
    names = list(tensors)
    pieces = [
        Piece(names[tensor], first, count)
        for tensor, first, count in zip(
            *(columns[name].tolist() for name in ("piece_tensor", "piece_first", "piece_count")), strict=True
        )
    ]
    units, at = [], 0
    cells = (columns["unit_format"], blob, side, against, ends)
    for code, record, beside, base, end in zip(*(cell.tolist() for cell in cells), strict=True):
        own = tuple(pieces[at:end])
        format = format_with_code(code)
        at, count = end, sum(piece.count for piece in own)
        if format is None or any(tensors[piece.tensor].format != format.name for piece in own):
            raise CorruptArchiveError("the index is not sound: a unit's number format")
        sound(beside < 0 or count <= SEGMENT, "a unit has more references than a segment may have")
        reference = references[base] if base >= 0 else None
        units.append(StoredUnit(format.name, own, count, record, beside if beside >= 0 else None, reference))
    return tuple(units)
