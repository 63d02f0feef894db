"""Writing records, an index and a footer: an archive's, or those of a depot's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import xxhash
import zstandard

from weightbench.models.model import Model, ModelFile
from weightcodecs import Blob, get_codec

from .atomic import AtomicFile
from .index import LITERAL_BYTES, Record, place_records
from .layout import ARCHIVE, MAX_INDEX_EXPANSION, FileKind, Footer, aligned, pack_footer

__all__ = ["RecordWriter", "literal_blob", "literal_runs", "write_literals"]

INDEX_LEVEL = 9
LITERAL_LEVEL = 9


class RecordWriter:
    """Appends records to a file and remembers what the index needs of them."""

    def __init__(self, out: AtomicFile, kind: FileKind = ARCHIVE) -> None:
        self._out, self._kind = out, kind
        self.sizes: list[int] = []
        self.checksums: list[int] = []
        out.write(kind.head)

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

    def end(self) -> int:
        """Align, and return where the index will begin."""
        self._align()
        return self._out.nbytes

    def finish(self, index: bytes) -> None:
        """Append an index (see `index_bytes`) and the footer."""
        self._align()
        stored = zstandard.ZstdCompressor(level=INDEX_LEVEL).compress(index)
        if not len(stored) < len(index) <= len(stored) * MAX_INDEX_EXPANSION:
            stored = index
        footer = Footer(self._out.nbytes, len(stored), len(index), xxhash.xxh3_128_digest(stored))
        self._out.write(stored)
        self._out.write(pack_footer(footer, self._kind))

    def _align(self) -> None:
        self._out.write(bytes(aligned(self._out.nbytes) - self._out.nbytes))


def literal_runs(model: Model, files: Iterable[ModelFile]) -> Iterator[bytes]:
    """Yield the literal bytes of files one after the other, cut into runs of `LITERAL_BYTES`."""
    held = bytearray()
    for file in files:
        for extent in file.extents:
            for start in range(0, extent.nbytes if extent.tensor is None else 0, LITERAL_BYTES):
                size = min(LITERAL_BYTES, extent.nbytes - start)
                held += model.read_range(file.name, extent.offset + start, size)
                if len(held) >= LITERAL_BYTES:
                    yield bytes(held[:LITERAL_BYTES])
                    del held[:LITERAL_BYTES]
    if held:
        yield bytes(held)


def literal_blob(data: bytes) -> Blob:
    """Return a run of literal bytes, coded."""
    return get_codec("zstd", level=LITERAL_LEVEL).encode(np.frombuffer(data, np.uint8))


def write_literals(records: RecordWriter, model: Model) -> int:
    """Append the literal bytes of all files, `LITERAL_BYTES` a record; return the number of records."""
    count = 0
    for run in literal_runs(model, model.files):
        records.add(literal_blob(run))
        count += 1
    return count
