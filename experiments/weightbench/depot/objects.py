"""Objects: coded units, each stored once in a pack, however many models hold it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import xxhash

from weightbench.archive.index import Record

__all__ = ["Kind", "ObjectId", "ObjectSpan", "Part", "StoredObject", "bytes_key"]


class Kind(IntEnum):
    """What an object is."""

    UNIT = 0
    """The blob of a unit."""
    LITERALS = 1
    """The blob of literal bytes of files (headers, gaps)."""
    SIDE = 2
    """Plain bytes: references of parameter granularity."""
    PAIR = 3
    """The blob of a pair codec."""


class Part(IntEnum):
    """Which array of an object is meant."""

    WHOLE = 0
    HIGH = 1
    LOW = 2
    SCALES = 3


class ObjectId(NamedTuple):
    """What an object is called, wherever it is stored.

    Attributes:
        format: the code of its number format; 0 for plain bytes.
        digest: XXH3-128 of the values that it was made from.
        ordinal: counts the objects with these two in common: they were stored apart on purpose (no dedup),
            are coded against different bases or with an error, or are different values of one digest.
    """

    format: int
    digest: bytes
    ordinal: int

    @property
    def key(self) -> bytes:
        """Return what equal contents have in common, as `content_key` gives it."""
        return bytes((self.format,)) + self.digest


@dataclass(frozen=True, slots=True)
class ObjectSpan:
    """A run of a reference array: elements of an object's array, or zeros (None)."""

    object: ObjectId | None
    part: Part
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a pack.

    Attributes:
        id: see `ObjectId`.
        kind: what it is.
        exact: whether decoding gives the very values that its id is the digest of.
        overhead: bytes of its record that are not coded bytes: the blob's description.
        spans: what it is coded against; empty if it stands alone. Their objects stand alone.
        record: where in its pack it is.
    """

    id: ObjectId
    kind: Kind
    exact: bool
    overhead: int
    spans: tuple[ObjectSpan, ...]
    record: Record


def bytes_key(data: bytes | memoryview) -> bytes:
    """Return the key of plain bytes."""
    return b"\0" + xxhash.xxh3_128_digest(data)
