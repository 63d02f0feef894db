"""Adding a model: cut, looked up, coded and written, with reading, coding and writing overlapped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import weightcodecs
from weightbench.archive import Sizes, StoredFile, UnitRecord, refused_formats
from weightbench.archive.atomic import atomic_file
from weightbench.archive.hashing import FileDigests
from weightbench.dedup import content_key
from weightbench.granularity import Granularity, Piece, Unit, units
from weightbench.lineage import Span
from weightbench.models.model import Array, Model
from weightbench.systems import Coder
from weightcodecs import Blob, Codec, get_format
from weightcodecs.blob import byte_view, parse_description
from weightcodecs.errors import ConfigError
from weightcodecs.identity import Identity

from .added import Added
from .base_objects import AGAINST, Base, BaseObjects
from .errors import DepotError
from .folder import Folder
from .ingest import Ingest
from .manifest import Manifest, ManifestFile, ManifestUnit, write_manifest
from .objects import ObjectId, ObjectSpan, Part
from .pack_writing import NewPacks
from .pipeline import Budget, in_order
from .repeated_files import RepeatedFile, repeated_files, taken_over, worth_hashing

__all__ = ["IN_DEPOT", "Progress", "Settings", "add_model"]

IN_DEPOT = "(in the depot)"
"""What `UnitRecord.repeats` says of a unit that another model has."""

Progress = Callable[[int, int], None]

# Pages of the memory map are given back after this many bytes.
DROP_BYTES = 64 << 20
# Values, coded bytes and what a codec needs in between, for each byte of values.
IN_FLIGHT = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is added; see `Depot.add`."""

    dedup: bool
    threads: int
    memory_bytes: int
    overlap: bool


@dataclass(slots=True)
class Job:
    """A unit that has been read and looked up, and then coded."""

    unit: Unit
    key: bytes
    share: int
    array: Array | None
    side: bytes | None
    coder: Coder
    refused: str | None
    repeats: int | None = None
    found: ObjectId | None = None
    same_side: bool = False
    reference: Array | None = None
    spans: tuple[ObjectSpan, ...] = ()
    base_tensors: tuple[str, ...] = ()
    threads: int = 1
    blob: Blob | None = None
    seconds: float = 0.0


def add_model(
    folder: Folder,
    model: Model,
    coder: Coder,
    granularity: Granularity,
    base: Base | None,
    settings: Settings,
    progress: Progress | None,
    on_unit: Callable[[UnitRecord], None] | None,
) -> Added:
    """Add a model; see `Depot.add`. The caller is the one writer and has pruned the folder."""
    begun = time.perf_counter()
    with NewPacks(folder) as packs:
        adding = Adding(folder, packs, model, coder, granularity, base, settings)
        done = adding.begin()
        total = sum(info.nbytes for info in model.tensors.values())
        budget = Budget(settings.memory_bytes)
        jobs = in_order(
            adding.jobs(budget), adding.encode, settings.threads, budget, overlap=settings.overlap
        )
        with closing(jobs):
            for job in jobs:
                record = adding.write(job)
                budget.give_back(job.share)
                done += job.unit.nbytes
                if on_unit:
                    on_unit(record)
                if progress:
                    progress(done, total)
        manifest = adding.finish()
    # The packs are complete; with the manifest the model is there, all of it at once.
    path = folder.manifest_path(model.name)
    try:
        with atomic_file(path) as out:
            write_manifest(out, manifest)
    except BaseException:
        if not path.exists():
            packs.discard()
        raise
    folder.refresh()
    return adding.told(packs.nbytes + path.stat().st_size, time.perf_counter() - begun)


class Adding:
    """The state of one `add_model`. What `jobs` uses belongs to the reading thread until it has ended."""

    def __init__(
        self,
        folder: Folder,
        packs: NewPacks,
        model: Model,
        coder: Coder,
        granularity: Granularity,
        base: Base | None,
        settings: Settings,
    ) -> None:
        self._folder, self._model, self._coder, self._granularity = folder, model, coder, granularity
        self._settings, self._dedup = settings, settings.dedup
        if coder.needs_reference and base is None:
            raise ConfigError(f"{coder.name} codes against a base; give one")
        if base is not None and isinstance(coder, Codec) and not coder.needs_reference:
            raise ConfigError(f"{coder.name} takes no base")
        self._base = None if base is None else BaseObjects(folder, base)
        self._ingest = Ingest(folder, packs, settings.dedup)
        self._refused = refused_formats(model, coder)
        self._repeated: list[RepeatedFile] = []
        self._digests = FileDigests(model, {})
        self._seen: dict[bytes, list[tuple[Unit, int]]] = {}
        self._units: list[ManifestUnit] = []
        self._told: list[UnitRecord] = []
        self._read: set[tuple[Model, str]] = set()
        self._read_bytes = 0

    def begin(self) -> int:
        """Look for whole files that are there already; return the bytes of their tensors."""
        with self._ingest.timed("hash"):
            known = dict(self._model.known_sha256())
            if self._dedup:
                known |= worth_hashing(self._folder, self._model, known)
                self._repeated = repeated_files(self._folder, self._model, known)
            self._digests = FileDigests(self._model, known)
        return sum(self._model.tensors[name].nbytes for name in self._taken_tensors())

    def jobs(self, budget: Budget) -> Iterator[Job]:
        """Read the units one after the other, and look whether they are there already."""
        taken = self._taken_tensors()
        only = self._model.tensors.keys() - taken if taken else None
        for number, unit in enumerate(units(self._model, self._granularity, only)):
            wanted = self._offered(unit)
            share = budget.take(IN_FLIGHT * unit.nbytes + (unit.nbytes if wanted else 0))
            yield self._job(number, unit, share, wanted)

    def encode(self, job: Job) -> Job:
        """Code a unit; nothing but the job is touched."""
        if job.array is not None:
            begun = time.perf_counter()
            job.blob = job.coder.encode(job.array, reference=job.reference, threads=job.threads)
            job.seconds = time.perf_counter() - begun
        return job

    def write(self, job: Job) -> UnitRecord:
        """Store a coded unit, or the reference to the one that is there."""
        unit, ingest = job.unit, self._ingest
        repeats, nbytes, against = None, 0, False
        name = job.coder.name
        if job.repeats is not None:
            earlier = self._units[job.repeats]
            id, repeats = earlier.object, self._told[job.repeats].key
            name, against = self._told[job.repeats].codec, self._told[job.repeats].against_base
        elif job.found is not None:
            id, repeats = job.found, IN_DEPOT
            against = bool(self._folder.find(id)[1].spans)
        else:
            assert job.blob is not None
            info = parse_description(job.blob)
            name, against = info.codec, info.reference is not None
            if against and not job.spans:
                raise DepotError(
                    f"{job.coder.name} coded {unit.key!r} against something that it was not given"
                )
            exact = self._is_exact(unit.format)
            ingest.spent["encode"] += job.seconds
            id, nbytes = ingest.add_blob(job.key, job.blob, exact, job.spans if against else ())
            repeats = None if nbytes else IN_DEPOT
        side, side_bytes = None, 0
        if job.side is not None:
            if job.same_side:
                assert job.repeats is not None
                side = self._units[job.repeats].side
            else:
                side, side_bytes = ingest.add_side(job.side)
        self._units.append(ManifestUnit(unit.format, id, Part.WHOLE, side, unit.count, _placed(unit.pieces)))
        self._told.append(
            UnitRecord(
                unit.key,
                unit.format,
                unit.nbytes,
                nbytes + side_bytes,
                side_bytes,
                job.seconds,
                name,
                job.refused,
                repeats,
                against,
            )
        )
        job.array = job.reference = job.blob = None
        self._give_back(job)
        return self._told[-1]

    def finish(self) -> Manifest:
        """Store the literal bytes of the files, and return the manifest."""
        model, ingest = self._model, self._ingest
        with ingest.timed("hash"):
            digests = self._digests.finish()
        repeated = {r.file.name: r for r in self._repeated}
        formats = dict.fromkeys(info.format for info in model.tensors.values() if info.nbytes)
        bounds = {f: weightcodecs.EXACT if f in self._refused else self._bound(f) for f in formats}
        files: dict[str, ManifestFile] = {}
        for file, digest in zip(model.files, digests, strict=True):
            if file.name not in repeated:
                held = {model.tensors[e.tensor].format for e in file.extents if e.tensor and e.nbytes}
                exact = all(bounds[format].lossless for format in held)
                files[file.name] = ManifestFile(
                    StoredFile(file, digest, exact), ingest.add_literals(model, file)
                )
        own = tuple(self._units)
        for again in sorted(self._repeated, key=lambda r: r.source is None):
            source = again.source
            of_files = tuple(files.values()) if source is None else source.files
            of_units = tuple(self._units) if source is None else source.units
            files[again.file.name], more = taken_over(again, of_files, of_units)
            own += more
        return Manifest(
            model.name,
            self._about(),
            bounds,
            model.tensors,
            model.ties,
            tuple(files[file.name] for file in model.files),
            own,
        )

    def told(self, nbytes: int, seconds: float) -> Added:
        """Return what became of the model, by which the depot grew by so many bytes."""
        ingest = self._ingest
        rest = nbytes - ingest.payload - ingest.side - ingest.literals
        return Added(
            self._model.name,
            self._model.nbytes,
            Sizes(ingest.payload, ingest.side, ingest.literals, rest, nbytes),
            tuple(self._told),
            tuple(repeated.file.name for repeated in self._repeated),
            ingest.objects,
            seconds,
            dict(ingest.spent),
        )

    # -- reading -------------------------------------------------------------------------------------------

    def _offered(self, unit: Unit) -> tuple[tuple[Span, ...], tuple[ObjectSpan, ...]] | None:
        """Return what a unit may be coded against: elements of the base, and where these are stored."""
        if self._base is None or unit.format in self._refused:
            return None
        spans = self._base.base.values.spans(unit)
        objects = None if spans is None else self._base.resolve(spans)
        return None if spans is None or objects is None else (spans, objects)

    def _job(
        self,
        number: int,
        unit: Unit,
        share: int,
        wanted: tuple[tuple[Span, ...], tuple[ObjectSpan, ...]] | None,
    ) -> Job:
        ingest = self._ingest
        with ingest.timed("read"):
            array = unit.array()
            side = unit.references()
            key = content_key(array)  # reads every page
        if side is None:
            with ingest.timed("hash"):
                self._digests.feed(unit.pieces, array)
        coder, refused = self._coder_for(unit, wanted is not None)
        job = Job(unit, key, share, array, side, coder, refused)
        with ingest.timed("read"):
            if self._dedup and self._is_there(job, number):
                job.array = None
                return job
            if wanted is not None and self._base is not None:
                job.reference = self._base.base.values.reference(unit)
                job.spans = wanted[1]
                job.base_tensors = tuple(span.tensor for span in wanted[0] if span.tensor is not None)
        # A unit that takes half of the memory goes alone: its threads can only be within the codec.
        alone = 2 * share > self._settings.memory_bytes or not self._settings.overlap
        job.threads = self._settings.threads if alone else 1
        return job

    def _is_there(self, job: Job, number: int) -> bool:
        assert job.array is not None
        seen = self._seen.setdefault(job.key, [])
        for earlier, place in seen:
            if byte_view(_flat(earlier.array())) == byte_view(_flat(job.array)):
                job.repeats = place
                job.same_side = job.side is not None and job.side == earlier.references()
                return True
        job.found = self._ingest.find(job.key, job.array)
        seen.append((job.unit, number))
        return job.found is not None

    def _coder_for(self, unit: Unit, has_base: bool) -> tuple[Coder, str | None]:
        if unit.format in self._refused:
            return Identity(), self._refused[unit.format]
        if self._coder.needs_reference and not has_base:
            return Identity(), "no base to code it against"
        return self._coder, None

    # -- within ----------------------------------------------------------------------------------------------

    def _taken_tensors(self) -> set[str]:
        return {e.tensor for repeated in self._repeated for e in repeated.file.extents if e.tensor}

    def _is_exact(self, format: str) -> bool:
        return format in self._refused or self._bound(format).lossless

    def _bound(self, format: str) -> weightcodecs.ErrorBound:
        return self._coder.error_bound(get_format(format))

    def _give_back(self, job: Job) -> None:
        """Unmap what was read, now and then."""
        self._read |= {(self._model, piece.tensor) for piece in job.unit.pieces}
        if self._base is not None:
            self._read |= {(self._base.base.values.model, name) for name in job.base_tensors}
        self._read_bytes += job.unit.nbytes
        if self._read_bytes >= DROP_BYTES:
            for model, name in self._read:
                model.drop(name)
            self._read, self._read_bytes = set(), 0

    def _about(self) -> dict[str, Any]:
        return {
            "model": self._model.name,
            "revision": self._model.revision(),
            "base": self._model.base,
            AGAINST: None if self._base is None else self._base.base.name,
            "codec": self._coder.name,
            "codec_version": self._coder.version,
            "config": self._coder.config(),
            "granularity": dataclasses.asdict(self._granularity),
            "dedup": self._dedup,
        }


def _flat(array: Array) -> Array:
    return array.reshape(-1)


def _placed(pieces: tuple[Piece, ...]) -> tuple[tuple[Piece, int], ...]:
    placed, at = [], 0
    for piece in pieces:
        placed.append((piece, at))
        at += piece.count
    return tuple(placed)
