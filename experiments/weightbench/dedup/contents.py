"""Contents seen before, found by hash and then compared, in little memory: millions of chunks are usual."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import xxhash

__all__ = ["Contents"]

Place = tuple[int, ...]


class Contents:
    """An index of contents. It holds hashes and places, never the bytes, which `read` gives again.

    Attributes:
        entries: how many different contents it has seen.
        collisions: how often two contents had the same hash; both are kept.
    """

    def __init__(self, read: Callable[[Place], memoryview], width: int) -> None:
        """Make an empty index.

        Args:
            read: returns the bytes at a place.
            width: how many whole numbers a place has.
        """
        self.entries = self.collisions = 0
        self._read, self._width = read, width
        self._entry: dict[bytes, int] = {}
        self._places = array("q")

    def find_or_add(self, kind: bytes, data: memoryview, place: Place) -> int | None:
        """Return the number of an earlier entry of this kind and these bytes, or remember them.

        Args:
            kind: contents of different kinds are never the same.
            data: the bytes.
            place: where `read` finds them again.
        """
        key = kind + xxhash.xxh3_128_digest(data)
        while (found := self._entry.get(key)) is not None:
            if self._read(self.place(found)) == data:
                return found
            self.collisions += 1
            key += b"+"
        self._entry[key] = self.entries
        self._places.extend(place)
        self.entries += 1
        return None

    def place(self, entry: int) -> Place:
        """Return where the first of equal contents stands."""
        return tuple(self._places[entry * self._width : (entry + 1) * self._width])
