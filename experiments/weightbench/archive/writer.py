"""Writing a model into an archive, one unit in memory at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import weightcodecs
from weightbench.dedup import SeenUnits
from weightbench.granularity import Granularity, Unit, units
from weightbench.models.model import Array, Model
from weightcodecs import Codec, get_format
from weightcodecs.errors import ConfigError
from weightcodecs.identity import Identity

from .atomic import AtomicFile, atomic_file
from .hashing import FileDigests
from .index import Index, StoredFile, StoredUnit, UnitReference
from .records import RecordWriter, write_literals
from .summary import ArchiveSummary, Sizes, UnitRecord

__all__ = ["Against", "refused_formats", "write_archive"]

Against = Callable[[Unit], tuple[UnitReference, Array] | None]

# Pages of the memory map are given back after this many bytes, so that a model larger than memory can be
# read.
DROP_BYTES = 64 << 20


def refused_formats(model: Model, codec: Codec) -> dict[str, str]:
    """Return the formats of the model's tensors that the codec does not take, each with the reason."""
    formats = dict.fromkeys(info.format for info in model.tensors.values() if info.nbytes)
    reasons = {format: codec.unsupported(get_format(format)) for format in formats}
    return {format: reason for format, reason in reasons.items() if reason is not None}


def write_archive(
    path: Path | str,
    model: Model,
    codec: Codec,
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
    if codec.needs_reference != (against is not None):
        raise ConfigError(
            f"{codec.name} codes against a base, which a model alone has not; use a workload with one"
            if codec.needs_reference
            else f"{codec.name} takes no base"
        )
    path = Path(path)
    with atomic_file(path) as out:
        writing = _Writing(out, model, codec, granularity, threads, against, known_sha256 or {})
        summary = writing.write(path, dedup, progress, on_unit)
    return summary


class _Writing:
    """One run of `write_archive`."""

    def __init__(
        self,
        out: AtomicFile,
        model: Model,
        codec: Codec,
        granularity: Granularity,
        threads: int,
        against: Against | None,
        known_sha256: Mapping[str, str],
    ) -> None:
        self.out, self.records = out, RecordWriter(out)
        self.model, self.codec, self.granularity = model, codec, granularity
        self.threads, self.against = threads, against
        self.refused = refused_formats(model, codec)
        self.stored: list[StoredUnit] = []
        self.told: list[UnitRecord] = []
        self.digests = FileDigests(model, known_sha256)
        self.payload = self.side = 0
        self.hashing = 0.0

    def write(
        self,
        path: Path,
        dedup: bool,
        progress: Callable[[int, int], None] | None,
        on_unit: Callable[[UnitRecord], None] | None,
    ) -> ArchiveSummary:
        begun = time.perf_counter()
        seen = SeenUnits() if dedup else None
        total = sum(info.nbytes for info in self.model.tensors.values())
        done = 0
        read: set[str] = set()
        read_bytes = 0
        for unit in units(self.model, self.granularity):
            self._add(unit, seen)
            done += unit.nbytes
            read |= {piece.tensor for piece in unit.pieces}
            read_bytes += unit.nbytes
            if read_bytes >= DROP_BYTES:
                for name in read:
                    self.model.drop(name)
                read, read_bytes = set(), 0
            if on_unit:
                on_unit(self.told[-1])
            if progress:
                progress(done, total)
        sizes = self._finish(dedup)
        seconds = time.perf_counter() - begun
        return ArchiveSummary(path, self.model.nbytes, sizes, tuple(self.told), seconds, self.hashing)

    def _add(self, unit: Unit, seen: SeenUnits | None) -> None:
        array = unit.array()
        side = unit.references()
        if side is None:
            begun = time.perf_counter()
            self.digests.feed(unit.pieces, array)
            self.hashing += time.perf_counter() - begun
        codec, refused, base = self._codec_for(unit)
        # A delta is only as equal as its base, so dedup looks at units that stand alone.
        earlier = seen.find_or_add(unit, array, len(self.told)) if seen and base is None else None
        reference = None
        if earlier is not None:
            blob, nbytes, seconds = self.stored[earlier].blob, 0, 0.0
        else:
            array_of_base = None
            if base is not None:
                reference, array_of_base = base
            begun = time.perf_counter()
            coded = codec.encode(array, reference=array_of_base, threads=self.threads)
            seconds = time.perf_counter() - begun
            blob, nbytes = self.records.add(coded), len(coded)
            self.payload += len(weightcodecs.payload(coded))
        beside = None if side is None else self.records.add(side)
        self.side += len(side or b"")
        self.stored.append(StoredUnit(unit.format, unit.pieces, unit.count, blob, beside, reference))
        self.told.append(
            UnitRecord(
                unit.key,
                unit.format,
                unit.nbytes,
                nbytes + len(side or b""),
                len(side or b""),
                seconds,
                codec.name,
                refused,
                None if earlier is None else self.told[earlier].key,
            )
        )

    def _codec_for(self, unit: Unit) -> tuple[Codec, str | None, tuple[UnitReference, Array] | None]:
        """Return what codes a unit, why it is not the codec asked for, and the base that it codes against."""
        if unit.format in self.refused:
            return Identity(), self.refused[unit.format], None
        if self.against is None:
            return self.codec, None, None
        base = self.against(unit)
        return (self.codec, None, base) if base else (Identity(), "no base to code it against", None)

    def _finish(self, dedup: bool) -> Sizes:
        begun = time.perf_counter()
        digests = self.digests.finish()
        self.hashing += time.perf_counter() - begun
        before = len(self.records.sizes)
        literals = write_literals(self.records, self.model)
        literal_bytes = sum(self.records.sizes[before:])
        formats = dict.fromkeys(unit.format for unit in self.stored)
        bounds = {f: weightcodecs.EXACT if f in self.refused else self._bound(f) for f in formats}
        files = []
        for file, digest in zip(self.model.files, digests, strict=True):
            held = {self.model.tensors[e.tensor].format for e in file.extents if e.tensor and e.nbytes}
            files.append(StoredFile(file, digest, all(bounds[format].lossless for format in held)))
        index = Index(
            about=self._about(dedup),
            bounds=bounds,
            tensors=self.model.tensors,
            ties=self.model.ties,
            files=tuple(files),
            units=tuple(self.stored),
            records=self.records.placed(),
            literals=literals,
            payload=self.payload,
        )
        self.records.finish(index)
        total = self.out.nbytes
        rest = total - self.payload - self.side - literal_bytes
        return Sizes(self.payload, self.side, literal_bytes, rest, total)

    def _bound(self, format: str) -> weightcodecs.ErrorBound:
        return self.codec.error_bound(get_format(format))

    def _about(self, dedup: bool) -> dict[str, object]:
        return {
            "model": self.model.name,
            "revision": self.model.revision(),
            "base": self.model.base,
            "codec": self.codec.name,
            "codec_version": self.codec.version,
            "config": self.codec.config(),
            "granularity": dataclasses.asdict(self.granularity),
            "dedup": dedup,
        }
