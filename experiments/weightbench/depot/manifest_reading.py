"""Reading a manifest: everything in it is checked before anything is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from weightbench.archive import CorruptArchiveError
from weightbench.archive.checked import map_checked, read_index
from weightbench.archive.index import LITERAL_BYTES
from weightbench.archive.index_cells import (
    LARGEST,
    is_count,
    is_digest,
    is_file_name,
    is_flag,
    is_text,
    rows,
    sound,
)
from weightbench.archive.index_parts import (
    Numbers,
    StoredFile,
    check_cover,
    parse_bounds,
    parse_files,
    parse_ties,
    split_index,
)
from weightbench.archive.layout import HEAD_BYTES
from weightbench.granularity import SEGMENT, Piece
from weightbench.models.model import TensorInfo
from weightcodecs.formats import format_with_code

from .errors import CorruptDepotError
from .manifest import COLUMNS, MANIFEST, Manifest, ManifestFile, ManifestUnit
from .names import manifest_file
from .objects import ObjectId, Part
from .pack import sound_ids

__all__ = ["parse_manifest", "read_manifest"]

ENTRIES = ("name", "requires", "about", "bounds", "tensors", "ties", "files")


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in a file.

    Raises `CorruptDepotError` if it is damaged or another model's, `ArchiveError` if it cannot be opened.
    """
    try:
        with map_checked(path, MANIFEST) as data:
            raw, end = read_index(path, data, MANIFEST)
    except CorruptArchiveError as error:
        raise CorruptDepotError(str(error)) from error
    try:
        sound(end == HEAD_BYTES, "there is something before it")
        manifest = parse_manifest(raw)
        sound(manifest_file(manifest.name) == path.name, f"it is that of model {manifest.name!r}")
    except CorruptArchiveError as error:
        raise CorruptDepotError(f"{path}: {error}") from error
    return manifest


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest in `data`; `CorruptArchiveError` if anything is out of range or contradicts itself.

    Nothing is allocated that is not in proportion to `data`.
    """
    text, columns, tail = split_index(data, ENTRIES, COLUMNS)
    name, about = text["name"], text["about"]
    sound(is_text(name) and name != "" and _is_text_to_write(name), "its name")
    requires = text["requires"]
    sound(
        requires is None or (is_text(requires) and requires != "" and _is_text_to_write(requires)),
        "what it requires",
    )
    sound(isinstance(about, dict), "it does not say what it is about")
    told = rows(text["files"], is_file_name, is_digest, is_flag, is_count, is_count)
    tensors, files = parse_files(text["tensors"], [row[:4] for row in told], columns)
    sound(len(tail) == 16 * columns["object_format"].size, "its digests")
    ids = sound_ids(columns["object_format"], columns["object_ordinal"], tail)
    sound(len(set(ids)) == len(ids), "it names an object twice")
    return Manifest(
        name,
        about,
        parse_bounds(text["bounds"]),
        tensors,
        parse_ties(text["ties"], tensors),
        _files(files, [row[4] for row in told], columns["literal_object"], ids),
        _units(columns, tensors, ids),
        requires,
    )


def _is_text_to_write(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _files(
    files: tuple[StoredFile, ...], counts: list[int], objects: Numbers, ids: list[ObjectId]
) -> tuple[ManifestFile, ...]:
    sound(bool((objects < len(ids)).all()), "literal bytes lack their object")
    found, at = [], 0
    for stored, count in zip(files, counts, strict=True):
        nbytes = sum(e.nbytes for e in stored.file.extents if e.tensor is None)
        sound(count == -(-nbytes // LITERAL_BYTES), "literal bytes do not fit their number of objects")
        sound(at + count <= objects.size, "literal bytes lack objects")
        found.append(ManifestFile(stored, tuple(ids[i] for i in objects[at : at + count].tolist())))
        at += count
    sound(at == objects.size, "there are more literal objects than files need")
    return tuple(found)


def _units(
    columns: Mapping[str, Numbers], tensors: Mapping[str, TensorInfo], ids: list[ObjectId]
) -> tuple[ManifestUnit, ...]:
    sound(bool((columns["unit_object"] < len(ids)).all()), "a unit's object is not there")
    sound(bool((columns["unit_side"] <= len(ids)).all()), "a unit's references are not there")
    sound(bool((columns["unit_part"] <= max(Part)).all()), "a unit's part")
    check_cover(columns, tensors.values())
    pieces = _pieces(columns, list(tensors))
    units, at = [], 0
    cells = ("unit_format", "unit_object", "unit_part", "unit_side", "unit_count", "unit_pieces")
    for code, number, part, side, count, number_of in zip(
        *(columns[name].tolist() for name in cells), strict=True
    ):
        format, own, end = format_with_code(code), [], 0
        for piece, skipped in pieces[at : at + number_of]:
            sound(end + skipped < LARGEST, "a piece's place in its unit")
            own.append((piece, end + skipped))
            end += skipped + piece.count
        at += number_of
        if format is None or any(tensors[piece.tensor].format != format.name for piece, _ in own):
            raise CorruptArchiveError("the index is not sound: a unit's number format")
        sound(end <= count, "a piece leaves its unit")
        sound(not side or count <= SEGMENT, "a unit has more references than a segment may have")
        beside = ids[side - 1] if side else None
        units.append(ManifestUnit(format.name, ids[number], Part(part), beside, count, tuple(own)))
    return tuple(units)


def _pieces(columns: Mapping[str, Numbers], names: list[str]) -> list[tuple[Piece, int]]:
    cells = ("piece_tensor", "piece_first", "piece_count", "piece_skipped")
    return [
        (Piece(names[tensor], first, count), skipped)
        for tensor, first, count, skipped in zip(*(columns[name].tolist() for name in cells), strict=True)
    ]
