"""Mapped files of ours: the index, and the bytes of records, checked before anybody uses them."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

import xxhash
import zstandard

from .atomic import reported
from .errors import CorruptArchiveError
from .index import Record
from .layout import FOOTER_BYTES, HEAD_BYTES, FileKind, check_head, parse_footer

__all__ = ["CheckedRecords", "map_checked", "read_index"]

DROP_BYTES = 64 << 20


def map_checked(path: Path, kind: FileKind) -> mmap.mmap:
    """Map a file; `CorruptArchiveError` if it is too short for its kind, `ArchiveError` if it cannot be."""
    with reported(f"cannot open {path}"), path.open("rb") as file:
        size = file.seek(0, 2)
        if size < HEAD_BYTES + FOOTER_BYTES:
            raise CorruptArchiveError(f"{path}: {size} bytes are too few for {kind.noun}; it was cut short")
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def read_index(path: Path, data: mmap.mmap, kind: FileKind) -> tuple[bytes, int]:
    """Return the index of a mapped file, and where it begins.

    Raises `CorruptArchiveError` if head, footer or index are not those that were written. What the index
    says has not been checked.
    """
    check_head(data[:HEAD_BYTES], path, kind)
    footer = parse_footer(data[len(data) - FOOTER_BYTES :], len(data), path, kind)
    stored = data[footer.offset : footer.offset + footer.stored]
    if xxhash.xxh3_128_digest(stored) != footer.digest:
        raise CorruptArchiveError(f"{path}: the index was altered")
    if footer.nbytes == footer.stored:
        return stored, footer.offset
    try:
        if zstandard.frame_content_size(stored) != footer.nbytes:
            raise CorruptArchiveError(f"{path}: the index is not as long as the footer says")
        raw = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptArchiveError(f"{path}: the index cannot be unpacked: {error}") from None
    return raw, footer.offset


class CheckedRecords:
    """Records of a mapped file."""

    def __init__(
        self,
        path: Path,
        data: mmap.mmap,
        records: Sequence[Record],
        end: int,
        use_of: Callable[[Record], str],
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Read `records`, behind which the index begins at byte `end`.

        Args:
            use_of: names a record for messages.
            on_read: called with the number of bytes of the file that are about to be used.
        """
        self._path, self._data, self._records, self._end = path, data, records, end
        self._use_of, self._on_read = use_of, on_read
        self._touched = 0

    def read(self, record: Record) -> memoryview:
        """Return the bytes of a record; `CorruptArchiveError` if they are not those that were written."""
        data = self.unchecked(record)
        self.used(record.nbytes)
        if xxhash.xxh3_64_intdigest(data) != record.checksum:
            raise CorruptArchiveError(
                f"{self._path}: {self._use_of(record)} was altered (at or behind byte {record.offset})"
            )
        return data

    def unchecked(self, record: Record) -> memoryview:
        """Return the bytes of a record, reading none of them: for blobs whose parts have checksums.

        The view stays valid, but pages are given back now and then and read again when they are touched.
        """
        self._drop_pages(record.nbytes)
        return memoryview(self._data)[record.offset : record.offset + record.nbytes]

    def used(self, nbytes: int) -> None:
        """Say that so many bytes are about to be used: for whoever uses a part of an unchecked record."""
        if self._on_read is not None:
            self._on_read(nbytes)

    def verify(self) -> None:
        """Check all records, and that there are only zeros between them."""
        end = HEAD_BYTES
        for record in self._records:
            self._verify_gap(end, record.offset)
            self.read(record)
            end = record.offset + record.nbytes
        self._verify_gap(end, self._end)

    def _drop_pages(self, nbytes: int) -> None:
        """Unmap what was read so far, now and then, or an archive would count as memory as it is read."""
        self._touched += nbytes
        if self._touched >= DROP_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._data.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def _verify_gap(self, start: int, end: int) -> None:
        if any(self._data[start:end]):
            raise CorruptArchiveError(f"{self._path}: altered between records, at byte {start}")
