"""Writing a model into an archive, one unit in memory at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import weightcodecs
from weightbench.dedup import SeenUnits
from weightbench.granularity import Granularity, Unit, units
from weightbench.models.model import Array, Model
from weightbench.systems import Coder
from weightcodecs import Blob, get_format
from weightcodecs.blob import parse_description
from weightcodecs.errors import ConfigError
from weightcodecs.identity import Identity

from .atomic import AtomicFile, atomic_file
from .hashing import FileDigests
from .index import Index, StoredFile, StoredUnit, UnitReference, index_bytes
from .index_reading import parse_index
from .records import RecordWriter, write_literals
from .summary import ArchiveSummary, Sizes, UnitRecord

__all__ = ["Against", "ArchiveWriting", "archive_writing", "refused_formats", "write_archive"]

Against = Callable[[Unit], tuple[UnitReference, Array] | None]

# Pages of the memory map are given back after this many bytes, so that a model larger than memory can be
# read.
DROP_BYTES = 64 << 20


def refused_formats(model: Model, codec: Coder) -> dict[str, str]:
    """Return the formats of the model's tensors that the codec does not take, each with the reason."""
    formats = dict.fromkeys(info.format for info in model.tensors.values() if info.nbytes)
    reasons = {format: codec.unsupported(get_format(format)) for format in formats}
    return {format: reason for format, reason in reasons.items() if reason is not None}


def write_archive(
    path: Path | str,
    model: Model,
    codec: Coder,
    granularity: Granularity,
    *,
    dedup: bool = False,
    threads: int = 1,
    against: Against | None = None,
    known_sha256: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_unit: Callable[[UnitRecord], None] | None = None,
) -> ArchiveSummary:
    """Code a model into an archive at `path`, which appears whole or not at all and replaces what was there.

    Units of formats that the codec does not take are stored raw and named in the summary; `refused_formats`
    tells beforehand which ones.

    Args:
        path: the archive; its folder must exist.
        model: what to store.
        codec: codes each unit.
        granularity: how the model is cut into units.
        dedup: whether units with equal bytes share one blob (found by hash, then compared).
        threads: handed to the codec.
        against: delta codecs only: gives what to code a unit against, an array of the unit's shape and where
            it comes from; None for a unit that has no base, which is then stored raw.
        known_sha256: digests of files, by name, that need not be computed (a model's source remembers them).
            A wrong one makes unpacking fail, never give wrong data.
        progress: is told raw bytes done and in all, after each unit.
        on_unit: is told of each unit.

    Raises:
        ArchiveError: the disk is full or the path not writable; `errno` has the number. `path` is as it was.
        ConfigError: a delta codec without `against`, or `against` without a delta codec.
    """
    begun = time.perf_counter()
    total = sum(info.nbytes for info in model.tensors.values())
    done = 0
    with archive_writing(
        path,
        model,
        codec,
        granularity,
        dedup=dedup,
        threads=threads,
        against=against,
        known_sha256=known_sha256,
    ) as writing:
        for unit in units(model, granularity):
            record = writing.add(unit)
            done += unit.nbytes
            if on_unit:
                on_unit(record)
            if progress:
                progress(done, total)
    summary = writing.summary
    assert summary is not None  # the block has ended well
    return dataclasses.replace(summary, seconds=time.perf_counter() - begun)


@contextmanager
def archive_writing(
    path: Path | str,
    model: Model,
    codec: Coder,
    granularity: Granularity,
    *,
    dedup: bool = False,
    threads: int = 1,
    against: Against | None = None,
    known_sha256: Mapping[str, str] | None = None,
) -> Iterator[ArchiveWriting]:
    """Give an archive to add units to; it appears at `path` when the block ends well, and not otherwise.

    For callers that code the units themselves: `write_archive` does both. All of `units(model, granularity)`
    must be added, in their order. Arguments and errors as for `write_archive`.
    """
    if codec.needs_reference != (against is not None):
        raise ConfigError(
            f"{codec.name} codes against a base, which a model alone has not; use a workload with one"
            if codec.needs_reference
            else f"{codec.name} takes no base"
        )
    path = Path(path)
    with atomic_file(path) as out:
        writing = ArchiveWriting(
            out, path, model, codec, granularity, dedup, threads, against, known_sha256 or {}
        )
        yield writing
        writing.finish()


class ArchiveWriting:
    """An archive that is being written; `archive_writing` makes it.

    Attributes:
        summary: of the finished archive; None before that.
        spent: wall seconds so far of "encode", "hash" (SHA-256 of the original files) and "write".
    """

    def __init__(
        self,
        out: AtomicFile,
        path: Path,
        model: Model,
        codec: Coder,
        granularity: Granularity,
        dedup: bool,
        threads: int,
        against: Against | None,
        known_sha256: Mapping[str, str],
    ) -> None:
        self.summary: ArchiveSummary | None = None
        self.spent = {"encode": 0.0, "hash": 0.0, "write": 0.0}
        self._begun = time.perf_counter()
        self._out, self._path, self._records = out, path, RecordWriter(out)
        self._model, self._codec, self._granularity, self._dedup = model, codec, granularity, dedup
        self._threads, self._against = threads, against
        self._refused = refused_formats(model, codec)
        self._seen = SeenUnits() if dedup else None
        self._stored: list[StoredUnit] = []
        self._told: list[UnitRecord] = []
        self._digests = FileDigests(model, known_sha256)
        self._payload = self._side = 0
        self._read: set[str] = set()
        self._read_bytes = 0

    def add(self, unit: Unit, coded: Blob | None = None) -> UnitRecord:
        """Append a unit.

        Args:
            unit: the next of `units(model, granularity)`.
            coded: its blob if it has been coded already, by this codec and without a base; it must be what
                `unit.array()` gives. A unit of a format that the codec refuses has none.
        """
        array = None if coded is not None and self._hashed(unit) and not self._seen else unit.array()
        side = unit.references()
        if side is None and array is not None:
            with self._timed("hash"):
                self._digests.feed(unit.pieces, array)
        codec, refused, base = self._codec_for(unit)
        # A delta is only as equal as its base, so dedup looks at units that stand alone.
        earlier = None
        if self._seen and base is None and array is not None:
            earlier = self._seen.find_or_add(unit, array, len(self._told))
        reference, seconds, nbytes, coded_by = None, 0.0, 0, codec.name
        if earlier is not None:
            blob = self._stored[earlier].blob
        else:
            if coded is None:
                assert array is not None
                array_of_base = None
                if base is not None:
                    reference, array_of_base = base
                begun = time.perf_counter()
                coded = codec.encode(array, reference=array_of_base, threads=self._threads)
                seconds = time.perf_counter() - begun
                self.spent["encode"] += seconds
            with self._timed("write"):
                blob, nbytes = self._records.add(coded), len(coded)
            # The description alone: its checksum was made a moment ago, and the record has one, too.
            info = parse_description(coded)
            self._payload += len(info.payload)
            coded_by = info.codec
        beside = None if side is None else self._records.add(side)
        self._side += len(side or b"")
        self._stored.append(StoredUnit(unit.format, unit.pieces, unit.count, blob, beside, reference))
        self._told.append(
            UnitRecord(
                unit.key,
                unit.format,
                unit.nbytes,
                nbytes + len(side or b""),
                len(side or b""),
                seconds,
                coded_by,
                refused,
                None if earlier is None else self._told[earlier].key,
            )
        )
        self._give_back(unit)
        return self._told[-1]

    def _hashed(self, unit: Unit) -> bool:
        """Whether the digests of all files that hold the unit are known: none needs its values."""
        return self._digests.none_needs(unit.pieces)

    def _give_back(self, unit: Unit) -> None:
        self._read |= {piece.tensor for piece in unit.pieces}
        self._read_bytes += unit.nbytes
        if self._read_bytes >= DROP_BYTES:
            for name in self._read:
                self._model.drop(name)
            self._read, self._read_bytes = set(), 0

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.spent[what] += time.perf_counter() - begun

    def _codec_for(self, unit: Unit) -> tuple[Coder, str | None, tuple[UnitReference, Array] | None]:
        """Return what codes a unit, why it is not the codec asked for, and the base that it codes against."""
        if unit.format in self._refused:
            return Identity(), self._refused[unit.format], None
        if self._against is None:
            return self._codec, None, None
        base = self._against(unit)
        return (self._codec, None, base) if base else (Identity(), "no base to code it against", None)

    def finish(self) -> None:
        """Append literal bytes, index and footer."""
        with self._timed("hash"):
            digests = self._digests.finish()
        before = len(self._records.sizes)
        literals = write_literals(self._records, self._model)
        literal_bytes = sum(self._records.sizes[before:])
        formats = dict.fromkeys(unit.format for unit in self._stored)
        bounds = {f: weightcodecs.EXACT if f in self._refused else self._bound(f) for f in formats}
        files = []
        for file, digest in zip(self._model.files, digests, strict=True):
            held = {self._model.tensors[e.tensor].format for e in file.extents if e.tensor and e.nbytes}
            files.append(StoredFile(file, digest, all(bounds[format].lossless for format in held)))
        index = Index(
            about=self._about(),
            bounds=bounds,
            tensors=self._model.tensors,
            ties=self._model.ties,
            files=tuple(files),
            units=tuple(self._stored),
            records=self._records.placed(),
            literals=literals,
            payload=self._payload,
        )
        raw = index_bytes(index)
        parse_index(raw, self._records.end())  # what cannot be opened is not written
        self._records.finish(raw)
        total = self._out.nbytes
        rest = total - self._payload - self._side - literal_bytes
        self.summary = ArchiveSummary(
            self._path,
            self._model.nbytes,
            Sizes(self._payload, self._side, literal_bytes, rest, total),
            tuple(self._told),
            time.perf_counter() - self._begun,
            self.spent["hash"],
        )

    def _bound(self, format: str) -> weightcodecs.ErrorBound:
        return self._codec.error_bound(get_format(format))

    def _about(self) -> dict[str, object]:
        return {
            "model": self._model.name,
            "revision": self._model.revision(),
            "base": self._model.base,
            "codec": self._codec.name,
            "codec_version": self._codec.version,
            "config": self._codec.config(),
            "granularity": dataclasses.asdict(self._granularity),
            "dedup": self._dedup,
        }
