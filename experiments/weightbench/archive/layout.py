"""Where things stand in an archive: the fixed parts at both ends. Numbers are little-endian.

::

    head     magic b"WBA1" · version u16 (1) · zero u16
    records  each starts at a multiple of 8 bytes, zero bytes between them:
             blobs of weightcodecs, packed references (parameter granularity), literal bytes of the files
    index    see `index`; a zstd frame, or as it is where that is as small
    footer   index offset u64 · index stored bytes u64 · index bytes u64 · XXH3-128 of the index as stored
             XXH3-64 of the footer so far u64 · magic b"WBA1" · version u16 · zero u16

The index holds a checksum of every record, so every byte of the file is covered. Format: ours.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import xxhash

from .errors import CorruptArchiveError

__all__ = [
    "ARCHIVE",
    "FOOTER_BYTES",
    "HEAD",
    "HEAD_BYTES",
    "FileKind",
    "Footer",
    "aligned",
    "check_head",
    "pack_footer",
    "parse_footer",
]

VERSION = 1
_END = struct.Struct("<4sHH")
HEAD_BYTES = _END.size
_FIELDS = struct.Struct("<QQQ16s")
_CHECK = struct.Struct("<Q")
FOOTER_BYTES = _FIELDS.size + _CHECK.size + _END.size
ALIGNMENT = 8
# Text and columns shrink by far less than this; an index that says otherwise is not unpacked.
MAX_INDEX_EXPANSION = 1024


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file with this layout: its magic (4 bytes), and what messages call it.

    Archives are one; a depot's packs and manifests are others.
    """

    magic: bytes
    noun: str

    @property
    def head(self) -> bytes:
        """Return the first bytes of such a file, which are its last ones, too."""
        return _END.pack(self.magic, VERSION, 0)


ARCHIVE = FileKind(b"WBA1", "an archive")
HEAD = ARCHIVE.head


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the index is, and its digest."""

    offset: int
    stored: int
    nbytes: int
    digest: bytes


def aligned(offset: int) -> int:
    """Return the first place for a record at or behind `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def pack_footer(footer: Footer, kind: FileKind = ARCHIVE) -> bytes:
    """Return the bytes of a footer."""
    fields = _FIELDS.pack(footer.offset, footer.stored, footer.nbytes, footer.digest)
    return fields + _CHECK.pack(xxhash.xxh3_64_intdigest(fields)) + kind.head


def check_head(head: bytes, name: object, kind: FileKind = ARCHIVE) -> None:
    """Raise `CorruptArchiveError` if a file does not begin as those of its kind and this version do."""
    if len(head) == HEAD_BYTES and head[:4] == kind.magic and _END.unpack(head)[1] != VERSION:
        raise CorruptArchiveError(
            f"{name}: {kind.noun} of version {_END.unpack(head)[1]}; this program reads version {VERSION}"
        )
    if head != kind.head:
        raise CorruptArchiveError(f"{name}: not {kind.noun}: it does not begin as ours do")


def parse_footer(data: bytes, size: int, name: object, kind: FileKind = ARCHIVE) -> Footer:
    """Return the footer in the last bytes of a file of `size` bytes; raises `CorruptArchiveError`."""
    if len(data) != FOOTER_BYTES or data[-_END.size :] != kind.head:
        raise CorruptArchiveError(
            f"{name}: does not end as {kind.noun} does; it was cut short or is not ours"
        )
    offset, stored, nbytes, digest = _FIELDS.unpack_from(data)
    if _CHECK.unpack_from(data, _FIELDS.size)[0] != xxhash.xxh3_64_intdigest(data[: _FIELDS.size]):
        raise CorruptArchiveError(f"{name}: the footer's checksum does not match; it was altered")
    if offset < HEAD_BYTES or offset + stored + FOOTER_BYTES != size:
        raise CorruptArchiveError(f"{name}: the index does not lie where the footer says")
    if nbytes < stored or nbytes > stored * MAX_INDEX_EXPANSION:
        raise CorruptArchiveError(f"{name}: the index claims {nbytes} bytes out of {stored}")
    return Footer(offset, stored, nbytes, digest)
