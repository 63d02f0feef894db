"""Writing the records of an archive, its index and its footer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash
import zstandard

from weightbench.models.model import Model
from weightcodecs import get_codec

from .atomic import AtomicFile
from .index import LITERAL_BYTES, Index, Record, index_bytes, place_records
from .index_reading import parse_index
from .layout import HEAD, MAX_INDEX_EXPANSION, Footer, aligned, pack_footer

__all__ = ["RecordWriter", "literal_pieces", "write_literals"]

INDEX_LEVEL = 9
LITERAL_LEVEL = 9


class RecordWriter:
    """Appends records to a file and remembers what the index needs of them."""

    def __init__(self, out: AtomicFile) -> None:
        self._out = out
        self.sizes: list[int] = []
        self.checksums: list[int] = []
        out.write(HEAD)

    def add(self, data: bytes | memoryview) -> int:
        """Append a record and return its number."""
        self._align()
        self._out.write(data)
        self.sizes.append(memoryview(data).nbytes)
        self.checksums.append(xxhash.xxh3_64_intdigest(data))
        return len(self.sizes) - 1

    def placed(self) -> tuple[Record, ...]:
        """Return the records so far."""
        return place_records(self.sizes, self.checksums)

    def finish(self, index: Index) -> None:
        """Append index and footer."""
        self._align()
        raw = index_bytes(index)
        parse_index(raw, self._out.nbytes)  # what cannot be opened is not written
        stored = zstandard.ZstdCompressor(level=INDEX_LEVEL).compress(raw)
        if not len(stored) < len(raw) <= len(stored) * MAX_INDEX_EXPANSION:
            stored = raw
        footer = Footer(self._out.nbytes, len(stored), len(raw), xxhash.xxh3_128_digest(stored))
        self._out.write(stored)
        self._out.write(pack_footer(footer))

    def _align(self) -> None:
        self._out.write(bytes(aligned(self._out.nbytes) - self._out.nbytes))


def literal_pieces(model: Model) -> Iterator[memoryview]:
    """Yield the literal bytes of all files one after the other, in runs of at most `LITERAL_BYTES`."""
    for file in model.files:
        for extent in file.extents:
            if extent.tensor is None:
                for start in range(0, extent.nbytes, LITERAL_BYTES):
                    size = min(LITERAL_BYTES, extent.nbytes - start)
                    yield model.read_range(file.name, extent.offset + start, size)


def write_literals(records: RecordWriter, model: Model) -> int:
    """Append the literal bytes of all files, `LITERAL_BYTES` a record; return the number of records."""
    held = bytearray()
    count = 0
    for piece in literal_pieces(model):
        held += piece
        if len(held) >= LITERAL_BYTES:
            _add_literals(records, bytes(held[:LITERAL_BYTES]))
            del held[:LITERAL_BYTES]
            count += 1
    if held:
        _add_literals(records, bytes(held))
        count += 1
    return count


def _add_literals(records: RecordWriter, data: bytes) -> None:
    records.add(get_codec("zstd", level=LITERAL_LEVEL).encode(np.frombuffer(data, np.uint8)))
