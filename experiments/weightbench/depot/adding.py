"""Adding a model: cut, looked up, coded and written, with reading, coding and writing overlapped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from weightbench.models.model import Model
from weightbench.systems import Coder
from weightcodecs import Codec, get_format
from weightcodecs.blob import parse_description
from weightcodecs.errors import ConfigError
from weightcodecs.identity import Identity

from .added import Added
from .base_objects import AGAINST, Base, BaseObjects
from .errors import DepotError
from .folder import Folder
from .ingest import Ingest, same_bytes
from .jobs import Job, Kept
from .manifest import Manifest, ManifestFile, ManifestUnit
from .manifest_writing import write_manifest
from .objects import ObjectSpan, Part
from .pack_writing import NewPacks
from .pipeline import Budget, in_order
from .repeated_files import RepeatedFile, repeated_files, taken_over, worth_hashing

__all__ = ["IN_DEPOT", "Adding", "Progress", "Settings", "add_model", "put_manifests"]

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
        ingest = Ingest(folder, packs, settings.dedup)
        adding = Adding(folder, ingest, model, coder, granularity, base, settings)
        done = adding.begin()
        total = sum(info.nbytes for info in model.tensors.values())
        budget = Budget(settings.memory_bytes)
        jobs = in_order(adding.jobs(budget), Job.encode, settings.threads, budget, overlap=settings.overlap)
        if progress and done:
            progress(done, total)
        with closing(jobs):
            for job in jobs:
                record = adding.write(job)
                budget.give_back(job.share)
                done += job.kept.unit.nbytes
                if on_unit:
                    on_unit(record)
                if progress:
                    progress(done, total)
        manifest = adding.finish()
    (manifest_bytes,) = put_manifests(folder, [manifest], packs)
    folder.refresh()
    return adding.told(packs.nbytes + manifest_bytes, time.perf_counter() - begun)


def put_manifests(folder: Folder, manifests: Sequence[Manifest], packs: NewPacks) -> list[int]:
    """Write the manifests of models whose packs are complete, and with them add these; return their sizes."""
    paths = [folder.manifest_path(manifest.name) for manifest in manifests]
    try:
        for path, manifest in zip(paths, manifests, strict=True):
            with atomic_file(path) as out:
                write_manifest(out, manifest)
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        packs.discard()
        raise
    return [path.stat().st_size for path in paths]


class Adding:
    """A model that is being added. `jobs` runs in the reading thread, everything else in the caller's.

    Attributes:
        model: the model.
    """

    def __init__(
        self,
        folder: Folder,
        ingest: Ingest,
        model: Model,
        coder: Coder,
        granularity: Granularity,
        base: Base | None,
        settings: Settings,
    ) -> None:
        self.model = model
        self._folder, self._coder, self._granularity = folder, coder, granularity
        self._settings, self._dedup = settings, settings.dedup
        if coder.needs_reference and base is None:
            raise ConfigError(f"{coder.name} codes against a base; give one")
        if base is not None and isinstance(coder, Codec) and not coder.needs_reference:
            raise ConfigError(f"{coder.name} takes no base")
        self._base = None if base is None else BaseObjects(folder, base)
        self._ingest = ingest
        self._refused = refused_formats(model, coder)
        self._repeated: list[RepeatedFile] = []
        self._digests = FileDigests(model, {})
        self._units: list[ManifestUnit] = []
        self._told: list[UnitRecord] = []
        self._read: set[tuple[Model, str]] = set()
        self._read_bytes = 0

    def begin(self) -> int:
        """Look for whole files that are there already; return the bytes of their tensors."""
        with self._ingest.timed("hash"):
            # What is not known is computed from what is read anyway, unless another file has its size.
            known = dict(self.model.remembered_sha256())
            if self._dedup:
                known |= worth_hashing(self._folder, self.model, known)
                self._repeated = repeated_files(self._folder, self.model, known)
            self._digests = FileDigests(self.model, known)
        return sum(self.model.tensors[name].nbytes for name in self.taken_tensors())

    def taken_tensors(self) -> frozenset[str]:
        """Return the tensors of files that are there already."""
        return frozenset(e.tensor for again in self._repeated for e in again.file.extents if e.tensor)

    def jobs(self, budget: Budget, without: frozenset[str] = frozenset()) -> Iterator[Job]:
        """Read the units one after the other, and look whether they are there already.

        Tensors in `without` are left out.
        """
        without |= self.taken_tensors()
        only = self.model.tensors.keys() - without if without else None
        for unit in units(self.model, self._granularity, only):
            wanted = self._offered(unit)
            share = budget.take(IN_FLIGHT * unit.nbytes + (unit.nbytes if wanted else 0))
            yield self._job(unit, share, wanted)

    def write(self, job: Job) -> UnitRecord:
        """Store a coded unit, or the reference to the one that is there."""
        unit, ingest = job.kept.unit, self._ingest
        repeats, nbytes, against = None, 0, False
        name = job.coder.name
        if job.repeats is not None:
            same, told = job.repeats.own, job.repeats.told
            assert same is not None  # jobs are written in their order
            assert told is not None
            id, repeats, name, against = same.object, told.key, told.codec, told.against_base
        elif job.found is not None:
            id, repeats = job.found, IN_DEPOT
            against = bool(self._folder.find(id)[1].spans)
        else:
            assert job.blob is not None
            info = parse_description(job.blob)
            name, against = info.codec, info.reference is not None
            if against and not job.spans:
                raise DepotError(f"{job.coder.name} coded {unit.key!r} against what it was not given")
            exact = self._is_exact(unit.format)
            ingest.spent["encode"] += job.seconds
            id, nbytes = ingest.add_blob(job.key, job.blob, exact, job.spans if against else ())
            repeats = None if nbytes else IN_DEPOT
        side, side_bytes = None, 0
        if job.side is not None:
            if job.same_side:
                assert job.repeats is not None
                assert job.repeats.own is not None
                side = job.repeats.own.side
            else:
                side, side_bytes = ingest.add_side(job.side)
        job.kept.own = ManifestUnit(unit.format, id, Part.WHOLE, side, unit.count, _placed(unit.pieces))
        job.kept.told = UnitRecord(
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
        self.note(job.kept.own, job.kept.told)
        job.blob = None
        read = [(self.model, piece.tensor) for piece in unit.pieces]
        if self._base is not None:
            read += [(self._base.base.values.model, name) for name in job.base_tensors]
        self.give_back(read, unit.nbytes)
        return self._told[-1]

    def note(self, unit: ManifestUnit, told: UnitRecord) -> None:
        """Take a unit into the manifest whose object is stored."""
        self._units.append(unit)
        self._told.append(told)

    def finish(self, requires: str | None = None, **about: Any) -> Manifest:
        """Store the literal bytes of the files, and return the manifest; `about` says more of it."""
        model, ingest = self.model, self._ingest
        with ingest.timed("hash"):
            digests = self._digests.finish()
        names = [file.name for file in model.files]
        model.learn_sha256(dict(zip(names, digests, strict=True)))
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
            {**self._about(), **about},
            bounds,
            model.tensors,
            model.ties,
            tuple(files[file.name] for file in model.files),
            own,
            requires,
        )

    def told(self, nbytes: int, seconds: float) -> Added:
        """Return what became of the model; the depot grew by `nbytes`."""
        ingest = self._ingest
        rest = nbytes - ingest.payload - ingest.side - ingest.literals
        return Added(
            self.model.name,
            self.model.nbytes,
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
        job = Job(Kept(unit), key, share, array, side, coder, refused)
        with ingest.timed("read"):
            if self._dedup and self._is_there(job):
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

    def _is_there(self, job: Job) -> bool:
        assert job.array is not None
        seen = self._ingest.seen.setdefault(job.key, [])
        for earlier in seen:
            if same_bytes(earlier.unit.array(), job.array):
                job.repeats = earlier
                job.same_side = job.side is not None and job.side == earlier.unit.references()
                return True
        job.found = self._ingest.find(job.key, job.array)
        seen.append(job.kept)
        return job.found is not None

    def _coder_for(self, unit: Unit, has_base: bool) -> tuple[Coder, str | None]:
        if unit.format in self._refused:
            return Identity(), self._refused[unit.format]
        if self._coder.needs_reference and not has_base:
            return Identity(), "no base to code it against"
        return self._coder, None

    # -- within ----------------------------------------------------------------------------------------------

    def _is_exact(self, format: str) -> bool:
        return format in self._refused or self._bound(format).lossless

    def _bound(self, format: str) -> weightcodecs.ErrorBound:
        return self._coder.error_bound(get_format(format))

    def give_back(self, read: Iterable[tuple[Model, str]], nbytes: int) -> None:
        """Take note of tensors that were read, `nbytes` of them; unmap what was read, now and then."""
        self._read |= set(read)
        self._read_bytes += nbytes
        if self._read_bytes >= DROP_BYTES:
            for model, name in self._read:
                model.drop(name)
            self._read, self._read_bytes = set(), 0

    def _about(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "revision": self.model.revision(),
            "base": self.model.base,
            AGAINST: None if self._base is None else self._base.base.name,
            "codec": self._coder.name,
            "codec_version": self._coder.version,
            "config": self._coder.config(),
            "granularity": dataclasses.asdict(self._granularity),
            "dedup": self._dedup,
        }


def _placed(pieces: tuple[Piece, ...]) -> tuple[tuple[Piece, int], ...]:
    placed, at = [], 0
    for piece in pieces:
        placed.append((piece, at))
        at += piece.count
    return tuple(placed)
