"""The bytes of records, checked against the index before anybody uses them."""

from __future__ import annotations

import mmap
from pathlib import Path

import xxhash
import zstandard

from .errors import CorruptArchiveError
from .index import Index, Record, StoredUnit
from .index_reading import parse_index
from .layout import FOOTER_BYTES, HEAD, check_head, parse_footer

__all__ = ["CheckedRecords", "named", "read_index"]

DROP_BYTES = 64 << 20


def read_index(path: Path, data: mmap.mmap) -> Index:
    """Return the index of a mapped archive; `CorruptArchiveError` if head, footer or index are not sound."""
    check_head(data[: len(HEAD)], path)
    footer = parse_footer(data[len(data) - FOOTER_BYTES :], len(data), path)
    stored = data[footer.offset : footer.offset + footer.stored]
    if xxhash.xxh3_128_digest(stored) != footer.digest:
        raise CorruptArchiveError(f"{path}: the index was altered")
    raw = stored
    if footer.nbytes != footer.stored:
        try:
            if zstandard.frame_content_size(stored) != footer.nbytes:
                raise CorruptArchiveError(f"{path}: the index is not as long as the footer says")
            raw = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CorruptArchiveError(f"{path}: the index cannot be unpacked: {error}") from None
    try:
        return parse_index(raw, footer.offset)
    except CorruptArchiveError as error:
        raise CorruptArchiveError(f"{path}: {error}") from error


class CheckedRecords:
    """Records of a mapped archive."""

    def __init__(self, path: Path, data: mmap.mmap, index: Index) -> None:
        self._path, self._data, self._index = path, data, index
        self._touched = 0

    def read(self, record: Record) -> memoryview:
        """Return the bytes of a record; `CorruptArchiveError` if they are not those that were written."""
        self._drop_pages(record.nbytes)
        data = memoryview(self._data)[record.offset : record.offset + record.nbytes]
        if xxhash.xxh3_64_intdigest(data) != record.checksum:
            raise CorruptArchiveError(
                f"{self._path}: {self._use_of(record)} was altered (at or behind byte {record.offset})"
            )
        return data

    def verify(self) -> None:
        """Check all records, and that there are only zeros between them."""
        end = len(HEAD)
        for record in self._index.records:
            self._verify_gap(end, record.offset)
            self.read(record)
            end = record.offset + record.nbytes
        self._verify_gap(end, self._index.end)

    def _drop_pages(self, nbytes: int) -> None:
        """Unmap what was read so far, now and then, or an archive would count as memory as it is read."""
        self._touched += nbytes
        if self._touched >= DROP_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._data.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def _verify_gap(self, start: int, end: int) -> None:
        if any(self._data[start:end]):
            raise CorruptArchiveError(f"{self._path}: altered between records, at byte {start}")

    def _use_of(self, record: Record) -> str:
        for unit in self._index.units:
            if record == self._index.records[unit.blob]:
                return f"the blob of {named(unit)}"
            if unit.side is not None and record == self._index.records[unit.side]:
                return f"the references of {named(unit)}"
        return "a record of the files' literal bytes"


def named(unit: StoredUnit) -> str:
    """Return which tensors a unit holds, for messages."""
    first, *more = dict.fromkeys(piece.tensor for piece in unit.pieces)
    return f"tensor {first!r}" + (f" and {len(more)} more" if more else "")
