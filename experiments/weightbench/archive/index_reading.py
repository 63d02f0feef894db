"""Reading an index: everything in it is checked before anything is used. What it looks like: `index`."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightbench.granularity import SEGMENT, Piece
from weightbench.models.model import Extent, ModelFile, TensorInfo
from weightcodecs import FORMATS, ErrorBound
from weightcodecs.formats import format_with_code

from .columns import unpack_column
from .errors import CorruptArchiveError
from .index import COLUMNS, LITERAL_BYTES, Index, StoredFile, StoredUnit, UnitReference, place_records

__all__ = ["parse_index"]

LARGEST = 1 << 62
MAX_DIMENSIONS = 64  # NumPy's limit
Numbers = NDArray[np.int64]


def parse_index(data: bytes, end: int) -> Index:
    """Return the index in `data` of an archive whose records end at byte `end`.

    Raises `CorruptArchiveError` if anything in it is out of range, missing, or contradicts something else.
    Nothing is allocated that is not in proportion to `data`.
    """
    text, columns, checksums = _parts(data)
    tensors, files = _layout(text, columns)
    _check(len(checksums) == len(columns["record_nbytes"]), "its records lack checksums")
    sizes = columns["record_nbytes"]
    _check(sizes.size == 0 or int(sizes.max()) * sizes.size < LARGEST, "its records are too large")
    records = place_records(sizes.tolist(), checksums.tolist())
    literals, payload = _integer(text["literals"]), _integer(text["payload"])
    _check_literals(files, literals, len(records))
    units = _units(text, columns, tensors, len(records) - literals)
    blobs = sum(records[i].nbytes for i in {unit.blob for unit in units})
    _check(payload <= blobs, "its coded bytes are more than its blobs")
    _check(isinstance(text["about"], dict), "it does not say what it is about")
    ties = text["ties"]
    _check(isinstance(ties, dict) and all(isinstance(v, str) and v in tensors for v in ties.values()), "ties")
    index = Index(
        text["about"], _bounds(text["bounds"]), tensors, ties, files, units, records, literals, payload
    )
    _check(index.end == end, "its records do not end where the index begins")
    return index


def _check(sound: bool, what: str) -> None:
    if not sound:
        raise CorruptArchiveError(f"the archive's index is not sound: {what}")


def _integer(value: Any) -> int:
    _check(type(value) is int and 0 <= value < LARGEST, f"{str(value)[:40]!r} should be a count")
    return int(value)


def _rows(value: Any, *kinds: Callable[[Any], bool], optional: int = 0) -> list[list[Any]]:
    """Return rows whose cells pass the tests in `kinds`; the last `optional` cells may be missing."""
    _check(isinstance(value, list), "a table is not a list")
    for row in value:
        _check(isinstance(row, list) and len(kinds) - optional <= len(row) <= len(kinds), "a row's length")
        _check(all(kind(cell) for kind, cell in zip(kinds, row, strict=False)), "a cell's type")
    return list(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _format(value: Any) -> bool:
    return isinstance(value, str) and value in FORMATS


def _shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_DIMENSIONS and all(map(_count, value))


def _digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set(string.hexdigits)


def _parts(data: bytes) -> tuple[dict[str, Any], dict[str, Numbers], NDArray[np.uint64]]:
    length = int.from_bytes(data[:4], "little")
    _check(len(data) >= 4 + length, "it is cut short")
    try:
        text = json.loads(data[4 : 4 + length].decode())
    except (ValueError, RecursionError) as error:
        raise CorruptArchiveError(f"the archive's index is not sound: {error}") from None
    names = {"about", "bounds", "tensors", "ties", "files", "references", "counts", "literals", "payload"}
    _check(isinstance(text, dict) and set(text) == names, "its entries are not those of an index")
    counts = text["counts"]
    _check(isinstance(counts, dict) and set(counts) == set(COLUMNS.values()), "its counts")
    view, at = memoryview(data), 4 + length
    words = sum(_integer(counts[of]) for of in COLUMNS.values()) + counts["records"]
    _check(at + 8 * words == len(data), "its columns are not as long as it says")
    columns = {}
    for name, of in COLUMNS.items():
        column = unpack_column(view[at : at + 8 * counts[of]])
        _check(column.size == 0 or int(column.max()) < LARGEST, f"column {name}")
        columns[name] = column.astype(np.int64)
        at += 8 * counts[of]
    return text, columns, np.frombuffer(view[at:], "<u8")


def _bounds(value: Any) -> dict[str, ErrorBound]:
    _check(isinstance(value, dict) and set(value) <= set(FORMATS), "its error bounds")
    bounds = {}
    for row, format in zip(_rows([*value.values()], _text, _text, _text, optional=1), value, strict=True):
        try:
            bound = ErrorBound(*map(float.fromhex, row))
        except (ValueError, OverflowError):
            raise CorruptArchiveError("the archive's index is not sound: an error bound") from None
        _check(min(bound.absolute, bound.relative, bound.of_max) >= 0, "an error bound")
        bounds[format] = bound
    return bounds


def _layout(
    text: dict[str, Any], columns: dict[str, Numbers]
) -> tuple[dict[str, TensorInfo], tuple[StoredFile, ...]]:
    """Return tensors and files, which say the same about each other."""
    rows = _rows(text["tensors"], _text, _format, _shape, _text, optional=1)
    found = [(row[0], row[1], tuple(row[2]), row[-1] if len(row) > 3 else row[0]) for row in rows]
    sizes = []
    for _, format, shape, _ in found:
        _check(prod(n for n in shape if n) * FORMATS[format].nbytes < LARGEST, "a tensor is too large")
        sizes.append(prod(shape) * FORMATS[format].nbytes)
    offsets: dict[int, int] = {}
    files, at = [], 0
    extent_nbytes, extent_tensor = columns["extent_nbytes"].tolist(), columns["extent_tensor"].tolist()
    for name, digest, exact, count in _rows(text["files"], _file_name, _digest, _flag, _count):
        extents, end = [], 0
        _check(at + count <= len(extent_nbytes), "a file has more extents than there are")
        for nbytes, tensor in zip(
            extent_nbytes[at : at + count], extent_tensor[at : at + count], strict=True
        ):
            if tensor:
                _check(tensor <= len(found) and tensor - 1 not in offsets, "a tensor is not in one place")
                _check(nbytes == sizes[tensor - 1], "a tensor's size in its file")
                offsets[tensor - 1] = end
            extents.append(Extent(end, nbytes, found[tensor - 1][0] if tensor else None))
            end += nbytes
        at += count
        _check(end < LARGEST, "a file is too large")
        files.append(StoredFile(ModelFile(name, end, tuple(extents)), digest, exact))
    _check(at == len(extent_nbytes) and len(offsets) == len(found), "its extents do not hold its tensors")
    tensors = {
        key: TensorInfo(name, format, shape, sizes[i], offsets[i])
        for i, (key, format, shape, name) in enumerate(found)
    }
    _check(len(tensors) == len(found), "two tensors have one name")
    _check(len({stored.file.name for stored in files}) == len(files), "two files have one name")
    return tensors, tuple(files)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _file_name(value: Any) -> bool:
    """Whether a file name stays inside of the folder that it is unpacked to, on any system."""
    return (
        isinstance(value, str)
        and all(part not in ("", ".", "..") for part in value.split("/"))
        and value.isprintable()
        and "\\" not in value
        and value[1:2] != ":"  # a drive's letter
    )


def _check_literals(files: tuple[StoredFile, ...], literals: int, records: int) -> None:
    nbytes = sum(e.nbytes for stored in files for e in stored.file.extents if e.tensor is None)
    _check(literals == -(-nbytes // LITERAL_BYTES), "its literal bytes do not fit their number of records")
    _check(literals <= records, "its literal bytes lack records")


def _units(
    text: dict[str, Any], columns: dict[str, Numbers], tensors: dict[str, TensorInfo], records: int
) -> tuple[StoredUnit, ...]:
    """Return the units, which cover every element once and use each of the first `records` records."""
    references = [UnitReference(*row) for row in _rows(text["references"], _text, _text, _count)]
    blob, side, against = columns["unit_blob"], columns["unit_side"] - 1, columns["unit_reference"] - 1
    _check(bool((blob < records).all() and (side < records).all()), "a unit's record is not there")
    _check(bool((against < len(references)).all()), "a unit's reference is not there")
    sides = side[side >= 0]
    used = np.zeros(records, np.uint8)
    used[blob] = 1
    _check(not used[sides].any() and np.unique(sides).size == sides.size, "a record has two uses")
    used[sides] = 1
    _check(bool(used.all()), "a record has no use")
    _check_cover(columns, list(tensors.values()))
    ends = np.cumsum(columns["unit_pieces"])
    names = list(tensors)
    pieces = [
        Piece(names[tensor], first, count)
        for tensor, first, count in zip(
            *(columns[name].tolist() for name in ("piece_tensor", "piece_first", "piece_count")), strict=True
        )
    ]
    units, at = [], 0
    rows = (columns["unit_format"], blob, side, against, ends)
    for code, record, beside, base, end in zip(*(row.tolist() for row in rows), strict=True):
        own = tuple(pieces[at:end])
        format = format_with_code(code)
        at, count = end, sum(piece.count for piece in own)
        if format is None or any(tensors[piece.tensor].format != format.name for piece in own):
            raise CorruptArchiveError("the archive's index is not sound: a unit's number format")
        _check(beside < 0 or count <= SEGMENT, "a unit has more references than a segment may have")
        reference = references[base] if base >= 0 else None
        units.append(StoredUnit(format.name, own, count, record, beside if beside >= 0 else None, reference))
    return tuple(units)


def _check_cover(columns: dict[str, Numbers], tensors: list[TensorInfo]) -> None:
    """Check that the pieces of each tensor follow each other from its first element to its last."""
    pieces = columns["unit_pieces"]
    # Counts first, each against a limit, so that no sum below can overflow.
    total = columns["piece_tensor"].size
    _check(bool(((pieces > 0) & (pieces <= total)).all()), "a unit has no pieces, or too many")
    _check(int(pieces.sum()) == total, "its units' pieces are not as many as there are")
    sizes = np.array([prod(info.shape) for info in tensors], np.int64)
    tensor, first, count = columns["piece_tensor"], columns["piece_first"], columns["piece_count"]
    _check(bool((tensor < len(tensors)).all()), "a piece's tensor is not there")
    order = np.lexsort((first, tensor))
    tensor, first, count = tensor[order], first[order], count[order]
    ends = first + count
    _check(bool(((count > 0) & (ends <= sizes[tensor])).all()), "a piece leaves its tensor")
    begins = np.diff(tensor, prepend=-1) > 0
    _check(bool((first == np.where(begins, 0, np.roll(ends, 1))).all()), "pieces of a tensor do not join")
    last = np.diff(tensor, append=len(tensors)) > 0
    _check(bool((ends[last] == sizes[tensor[last]]).all()), "a tensor's last values are missing")
    _check(int(begins.sum()) == int((sizes > 0).sum()), "a tensor has no values")
