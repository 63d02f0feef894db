"""The parts that the index of an archive and the manifests of a depot share, written and read back.

::

    u32      length of the JSON text
    JSON     an object; its "counts" are those of the columns
    columns  packed (see `columns`)
    tail     words that do not pack: checksums, digests

Nothing is allocated that is not in proportion to the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightbench.models.model import Extent, ModelFile, TensorInfo
from weightcodecs import FORMATS, ErrorBound

from .columns import pack_column, unpack_column
from .errors import CorruptArchiveError
from .index_cells import (
    LARGEST,
    is_count,
    is_digest,
    is_file_name,
    is_flag,
    is_format,
    is_shape,
    is_text,
    rows,
    sound,
    whole,
)

__all__ = [
    "Numbers",
    "StoredFile",
    "bounds_text",
    "check_cover",
    "extent_columns",
    "join_index",
    "parse_bounds",
    "parse_files",
    "parse_ties",
    "split_index",
    "tensors_text",
]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A weight file: its layout, the SHA-256 of the original, and whether every bit comes back."""

    file: ModelFile
    sha256: str
    exact: bool


def join_index(
    text: Mapping[str, Any], columns: Mapping[str, Sequence[int]], counts: Mapping[str, str], tail: bytes
) -> bytes:
    """Return an index as bytes; `counts` names the columns in order, each with the name of its count."""
    said = {**text, "counts": {of: len(columns[column]) for column, of in counts.items()}}
    head = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    packed = [pack_column(np.array(columns[name], np.uint64)) for name in counts]
    return b"".join([len(head).to_bytes(4, "little"), head, *packed, tail])


def split_index(
    data: bytes, entries: Collection[str], column_counts: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Numbers], memoryview]:
    """Return text, columns and what stands behind the columns; see `join_index`.

    Args:
        data: an index.
        entries: the names that its text has, all of them and "counts".
        column_counts: each column with the name of its count.
    """
    length = int.from_bytes(data[:4], "little")
    sound(len(data) >= 4 + length, "it is cut short")
    try:
        text = json.loads(data[4 : 4 + length].decode())
    except (ValueError, RecursionError) as error:
        raise CorruptArchiveError(f"the index is not sound: {error}") from None
    sound(
        isinstance(text, dict) and set(text) == {*entries, "counts"}, "its entries are not those of an index"
    )
    counts = text["counts"]
    sound(isinstance(counts, dict) and set(counts) == set(column_counts.values()), "its counts")
    view, at = memoryview(data), 4 + length
    words = sum(whole(counts[of]) for of in column_counts.values())
    sound(at + 8 * words <= len(data), "its columns are not as long as it says")
    columns = {}
    for name, of in column_counts.items():
        column = unpack_column(view[at : at + 8 * counts[of]])
        sound(column.size == 0 or int(column.max()) < LARGEST, f"column {name}")
        columns[name] = column.astype(np.int64)
        at += 8 * counts[of]
    return text, columns, view[at:]


def bounds_text(bounds: Mapping[str, ErrorBound]) -> dict[str, list[str]]:
    """Return error bounds as JSON has them."""
    return {
        f: [b.absolute.hex(), b.relative.hex(), *([b.of_max.hex()] if b.of_max else [])]
        for f, b in bounds.items()
    }


def parse_bounds(value: Any) -> dict[str, ErrorBound]:
    """Return what `bounds_text` wrote."""
    sound(isinstance(value, dict) and set(value) <= set(FORMATS), "its error bounds")
    bounds = {}
    for row, format in zip(
        rows([*value.values()], is_text, is_text, is_text, optional=1), value, strict=True
    ):
        try:
            bound = ErrorBound(*map(float.fromhex, row))
        except (ValueError, OverflowError):
            raise CorruptArchiveError("the index is not sound: an error bound") from None
        sound(min(bound.absolute, bound.relative, bound.of_max) >= 0, "an error bound")
        bounds[format] = bound
    return bounds


def tensors_text(tensors: Mapping[str, TensorInfo]) -> list[list[Any]]:
    """Return tensors as JSON has them: with the name in the file where it is not the key."""
    return [
        [key, info.format, list(info.shape), *([info.name] if info.name != key else [])]
        for key, info in tensors.items()
    ]


def extent_columns(tensors: Iterable[str], files: Iterable[ModelFile]) -> dict[str, list[int]]:
    """Return the columns of the files' extents; a tensor is its number + 1, literal bytes are 0."""
    number = {name: i for i, name in enumerate(tensors)}
    extents = [extent for file in files for extent in file.extents]
    return {
        "extent_nbytes": [extent.nbytes for extent in extents],
        "extent_tensor": [0 if extent.tensor is None else number[extent.tensor] + 1 for extent in extents],
    }


def parse_files(
    tensor_rows: Any, file_rows: list[list[Any]], columns: dict[str, Numbers]
) -> tuple[dict[str, TensorInfo], tuple[StoredFile, ...]]:
    """Return tensors and files, which say the same about each other.

    `file_rows` are lists [name, SHA-256, whether every bit comes back, number of extents], unchecked.
    """
    told = rows(tensor_rows, is_text, is_format, is_shape, is_text, optional=1)
    found = [(row[0], row[1], tuple(row[2]), row[-1] if len(row) > 3 else row[0]) for row in told]
    sizes = []
    for _, format, shape, _ in found:
        sound(prod(n for n in shape if n) * FORMATS[format].nbytes < LARGEST, "a tensor is too large")
        sizes.append(prod(shape) * FORMATS[format].nbytes)
    offsets: dict[int, int] = {}
    files, at = [], 0
    extent_nbytes, extent_tensor = columns["extent_nbytes"].tolist(), columns["extent_tensor"].tolist()
    for name, digest, exact, count in rows(file_rows, is_file_name, is_digest, is_flag, is_count):
        extents, end = [], 0
        sound(at + count <= len(extent_nbytes), "a file has more extents than there are")
        for nbytes, tensor in zip(
            extent_nbytes[at : at + count], extent_tensor[at : at + count], strict=True
        ):
            if tensor:
                sound(tensor <= len(found) and tensor - 1 not in offsets, "a tensor is not in one place")
                sound(nbytes == sizes[tensor - 1], "a tensor's size in its file")
                offsets[tensor - 1] = end
            extents.append(Extent(end, nbytes, found[tensor - 1][0] if tensor else None))
            end += nbytes
        at += count
        sound(end < LARGEST, "a file is too large")
        files.append(StoredFile(ModelFile(name, end, tuple(extents)), digest, exact))
    sound(at == len(extent_nbytes) and len(offsets) == len(found), "its extents do not hold its tensors")
    tensors = {
        key: TensorInfo(name, format, shape, sizes[i], offsets[i])
        for i, (key, format, shape, name) in enumerate(found)
    }
    sound(len(tensors) == len(found), "two tensors have one name")
    sound(len({stored.file.name for stored in files}) == len(files), "two files have one name")
    return tensors, tuple(files)


def parse_ties(value: Any, tensors: Collection[str]) -> dict[str, str]:
    """Return `Model.ties`."""
    sound(isinstance(value, dict) and all(is_text(v) and v in tensors for v in value.values()), "ties")
    return dict(value)


def check_cover(columns: Mapping[str, Numbers], tensors: Collection[TensorInfo]) -> None:
    """Check that the pieces of each tensor follow each other from its first element to its last."""
    pieces = columns["unit_pieces"]
    # Counts first, each against a limit, so that no sum below can overflow.
    total = columns["piece_tensor"].size
    sound(bool(((pieces > 0) & (pieces <= total)).all()), "a unit has no pieces, or too many")
    sound(int(pieces.sum()) == total, "its units' pieces are not as many as there are")
    sizes = np.array([prod(info.shape) for info in tensors], np.int64)
    tensor, first, count = columns["piece_tensor"], columns["piece_first"], columns["piece_count"]
    sound(bool((tensor < len(tensors)).all()), "a piece's tensor is not there")
    order = np.lexsort((first, tensor))
    tensor, first, count = tensor[order], first[order], count[order]
    ends = first + count
    sound(bool(((count > 0) & (ends <= sizes[tensor])).all()), "a piece leaves its tensor")
    begins = np.diff(tensor, prepend=-1) > 0
    sound(bool((first == np.where(begins, 0, np.roll(ends, 1))).all()), "pieces of a tensor do not join")
    last = np.diff(tensor, append=len(tensors)) > 0
    sound(bool((ends[last] == sizes[tensor[last]]).all()), "a tensor's last values are missing")
    sound(int(begins.sum()) == int((sizes > 0).sum()), "a tensor has no values")
