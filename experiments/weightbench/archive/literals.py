"""The literal bytes of the files (headers, gaps), which stand in records of their own behind the units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import weightcodecs
from weightcodecs.blob import byte_view
from weightcodecs.errors import CorruptBlobError

from .errors import CorruptArchiveError
from .index import LITERAL_BYTES

__all__ = ["LiteralBytes"]

R = TypeVar("R")


class LiteralBytes(Generic[R]):
    """One run of bytes, cut into records of `LITERAL_BYTES`; one of them is in memory at a time."""

    def __init__(self, records: Sequence[R], nbytes: int, read: Callable[[R], memoryview]) -> None:
        """Read from `records`, which hold `nbytes` bytes when decoded; `read` gives the blob of one."""
        self._records, self._nbytes, self._read = records, nbytes, read
        self._held: tuple[int, memoryview] | None = None

    def read(self, offset: int, nbytes: int) -> Iterator[memoryview]:
        """Yield the bytes [offset, offset + nbytes); raises `CorruptArchiveError`."""
        end = offset + nbytes
        while offset < end:
            number, first = divmod(offset, LITERAL_BYTES)
            run = self._record(number)[first : first + end - offset]
            offset += len(run)
            yield run

    def _record(self, number: int) -> memoryview:
        if self._held is None or self._held[0] != number:
            self._held = number, self._decode(number)
        return self._held[1]

    def _decode(self, number: int) -> memoryview:
        blob = self._read(self._records[number])
        size = min(LITERAL_BYTES, self._nbytes - number * LITERAL_BYTES)
        try:
            info = weightcodecs.inspect(blob)
            if info.format.name != "uint8" or info.shape != (size,):
                raise CorruptBlobError(f"holds {info.format.name}{list(info.shape)}, not {size} bytes")
            return byte_view(weightcodecs.decode(blob))
        except CorruptBlobError as error:
            raise CorruptArchiveError(f"literal bytes of the files: {error}") from error
