"""A depot: a folder that keeps a set of models, and every object that they share once."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from weightbench.archive import ArchiveError, CorruptArchiveError, UnitRecord
from weightbench.archive.atomic import atomic_file, reported, sync_folder
from weightbench.archive.stored_tensors import CACHE_BYTES
from weightbench.granularity import Granularity
from weightbench.models.model import Model
from weightbench.pairing import PairOf
from weightbench.systems import Coder
from weightcodecs import PairCodec

from .added import Added, DepotSizes
from .adding import Progress, Settings, add_model
from .base_objects import Base
from .errors import CorruptDepotError, DepotError, NoSuchModelError
from .folder import MODELS, PACKS, Folder
from .lock import writing
from .manifest_reading import read_manifest
from .manifest_writing import write_manifest
from .objects import Kind
from .pair_adding import add_pair
from .pruning import prune
from .stored_model import StoredModel, objects_of

__all__ = ["MEMORY_BYTES", "Depot", "create_depot", "open_depot"]

MEMORY_BYTES = 512 << 20
_TRIES = 20


def create_depot(path: Path | str) -> Depot:
    """Make an empty depot, a folder; raises `DepotError` if there is something already."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DepotError(f"{path} exists and is not an empty folder", errno.EEXIST)
    with reported(f"cannot make {path}"):
        for sub in (PACKS, MODELS):
            (path / sub).mkdir(parents=True)
    return Depot(path)


def open_depot(
    path: Path | str, *, write: bool = False, on_read: Callable[[int], None] | None = None
) -> Depot:
    """Open a depot; no file of it is read yet.

    Args:
        path: the folder.
        write: whether to clear at once what killed writers have left; adding and deleting do so anyway.
        on_read: called with the number of bytes of packs and manifests that are about to be used by reading
            models, each time: to count them, or to wait as a slow disk would.

    Raises:
        DepotError: there is no depot.
        DepotLockedError: somebody is writing (`write` only).
        CorruptDepotError: a file of it is damaged, so that nobody knows what is needed (`write` only).
    """
    path = Path(path)
    if not ((path / PACKS).is_dir() and (path / MODELS).is_dir()):
        raise DepotError(f"{path} is not a depot: it has no folders {PACKS!r} and {MODELS!r}", errno.ENOENT)
    depot = Depot(path, on_read)
    if write:
        depot.prune()
    return depot


class Depot:
    """An open depot; `create_depot` and `open_depot` make it. Not for several threads at once.

    Any number of processes may read while one writes.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, on_read: Callable[[int], None] | None = None) -> None:
        self.path = path
        self._folder = Folder(path, on_read)

    def models(self) -> tuple[str, ...]:
        """Return the names of the models, sorted; raises `CorruptDepotError`."""
        return self._folder.listed()

    def add(
        self,
        model: Model,
        coder: Coder,
        granularity: Granularity,
        *,
        dedup: bool,
        base: Base | None = None,
        threads: int = 1,
        memory_bytes: int = MEMORY_BYTES,
        overlap: bool = True,
        progress: Progress | None = None,
        on_unit: Callable[[UnitRecord], None] | None = None,
    ) -> Added:
        """Add a model under its name, whole or not at all.

        Units of formats that the coder does not take are stored raw, with the reason in their record. The
        bytes that are written depend on what is there and what is given, and not on `threads`,
        `memory_bytes` or `overlap`.

        Args:
            model: what to store.
            coder: codes each unit.
            granularity: how the model is cut into units.
            dedup: whether files, units and literal bytes that are there already are stored again. Found by
                hash; units are compared byte by byte, files by SHA-256.
            base: what the units may be coded against. Nothing is needed for reading but the depot.
            threads: how many units are coded at once; reading and writing have threads of their own.
            memory_bytes: limit of the bytes in flight between reading and writing. A larger unit goes alone.
            overlap: False: read, code and write one after the other, in one thread.
            progress: is told raw bytes done and in all, after each unit.
            on_unit: is told of each unit.

        Raises:
            DepotError: a model of that name is there already; `errno` is ``EEXIST``.
            DepotLockedError: somebody else is writing.
            UnfitBaseError: the base cannot be coded against.
            NoSuchModelError: there is no such base.
            CorruptDepotError: something in the depot is damaged.
            ConfigError: coder and base do not go together.
            ArchiveError: the disk is full, …; `errno` has the number. The depot is as it was.
        """
        settings = _settings(dedup, threads, memory_bytes, overlap)
        with self._changing():
            self._require_new(model.name)
            return add_model(self._folder, model, coder, granularity, base, settings, progress, on_unit)

    def add_pair(
        self,
        high: Model,
        low: Model,
        pairs: Sequence[PairOf],
        codec: PairCodec,
        alone: Coder,
        *,
        dedup: bool,
        threads: int = 1,
        memory_bytes: int = MEMORY_BYTES,
        overlap: bool = True,
        progress: Progress | None = None,
        on_unit: Callable[[UnitRecord], None] | None = None,
    ) -> tuple[Added, Added]:
        """Add a checkpoint and its low-precision version, tensor by tensor.

        Each pair of tensors is one object, of which the low model reads the low part alone. A writer that is
        killed leaves both models or none.

        Args:
            high: the checkpoint.
            low: its low-precision version.
            pairs: which tensors are coded together (`weightbench.pairing.pair_tensors`). If one of them is
                in a file that is there already, the other is coded alone.
            codec: codes the pairs.
            alone: codes all other tensors.
            dedup, threads, memory_bytes, overlap, progress, on_unit: see `add`.

        Returns:
            What became of `high` and of `low`. The bytes of pairs count for `high`; of the tensors of `low`
            in a pair the record says that they repeat the one in `high`.

        Raises:
            ConfigError: the codec does not take these pairs.
            DepotError, …: as `add` does.
        """
        settings = _settings(dedup, threads, memory_bytes, overlap)
        if high.name == low.name:
            raise DepotError(f"both models are called {high.name!r}; give them names of their own")
        with self._changing():
            self._require_new(high.name)
            self._require_new(low.name)
            return add_pair(self._folder, high, low, pairs, codec, alone, settings, progress, on_unit)

    def open(
        self,
        name: str,
        *,
        threads: int = 1,
        cache_bytes: int = CACHE_BYTES,
        memory_bytes: int = MEMORY_BYTES,
    ) -> StoredModel:
        """Open a model; its manifest is checked wholly, no object is read. Others may be damaged.

        Args:
            name: the model.
            threads: how many units are decoded at once while files are restored.
            cache_bytes: limit of the decoded units that are kept because they hold several tensors.
            memory_bytes: limit of the bytes in flight between decoding and writing.

        Raises:
            NoSuchModelError: there is no such model; has the nearest names.
            CorruptDepotError: its manifest or a pack is damaged, or an object is missing.
        """
        for left in reversed(range(_TRIES)):
            manifest = self._folder.manifest(name)
            if self._folder.on_read is not None:
                with suppress(FileNotFoundError):  # deleted since it was read
                    self._folder.on_read(self._folder.manifest_path(name).stat().st_size)
            try:
                self._folder.refresh_packs()
                objects = objects_of(self._folder, manifest)
                return StoredModel(manifest, objects, threads, cache_bytes, memory_bytes)
            except ArchiveError as error:
                # A writer may have moved objects between one look and the next.
                if not left or (isinstance(error, CorruptDepotError) and left < _TRIES - 3):
                    raise
        raise AssertionError("unreachable")

    def delete(self, name: str) -> None:
        """Remove a model, and every object that no other model needs.

        The removal of its manifest is what counts; a writer that is killed thereafter leaves objects that
        the next one removes. Readers that have it open go on.

        Raises:
            NoSuchModelError: there is no such model; has the nearest names.
            DepotLockedError: somebody else is writing.
            CorruptDepotError: another file of the depot is damaged, so that nobody knows what is needed. The
                model is gone, its objects are not.
        """
        path = self._folder.manifest_path(name)
        with writing(self.path):
            if not path.exists():
                raise NoSuchModelError(self.path, name, self.models())
            self._release(name)
            with reported(f"cannot remove {path}"):
                path.unlink()
                sync_folder(path.parent)
            try:
                prune(self._folder)
            finally:
                self._folder.unmap()

    def prune(self) -> None:
        """Remove what killed writers have left; adding and deleting do so, too."""
        with self._changing():
            pass

    def verify(self, *, deep: bool = False) -> None:
        """Check every byte of every file against its checksum; `deep`: decode every model, too.

        Raises:
            CorruptDepotError: something is damaged or missing; the message names it.
        """
        for left in reversed(range(_TRIES)):
            folder = Folder(self.path)  # what was found earlier does not count
            before = folder.state()
            try:
                _verify(folder, deep)
                return
            except ArchiveError as error:
                if left and folder.state() != before:
                    continue  # a writer has moved what we looked for
                if isinstance(error, CorruptArchiveError) and not isinstance(error, CorruptDepotError):
                    raise CorruptDepotError(str(error)) from error
                raise

    def sizes(self) -> DepotSizes:
        """Return the bytes of the depot by what they are; raises `CorruptDepotError`."""
        for left in reversed(range(_TRIES)):
            before = self._folder.state()
            self._folder.refresh()
            sizes = _sizes(self._folder)
            if not left or self._folder.state() == before:  # else a writer was at work meanwhile
                break
        return sizes

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Be the one writer, after what earlier ones have left was removed."""
        with writing(self.path):
            try:
                prune(self._folder)
                yield
            finally:
                self._folder.unmap()

    def _release(self, name: str) -> None:
        """Write the manifests that require a model again, so that they count without it."""
        paths = self._folder.manifest_files()
        with suppress(CorruptDepotError):  # else nobody has looked at all of them
            self._folder.refresh()
            uses = self._folder.models
            paths = [path for path in paths if path.name in uses and uses[path.name].requires == name]
        for path in paths:
            with suppress(CorruptDepotError):  # damaged: it does not count in any case
                manifest = read_manifest(path)
                if manifest.requires == name:
                    with atomic_file(path) as out:
                        write_manifest(out, dataclasses.replace(manifest, requires=None))

    def _require_new(self, name: str) -> None:
        if self._folder.manifest_path(name).exists():
            raise DepotError(f"{self.path} has a model {name!r} already; delete it first", errno.EEXIST)


def _verify(folder: Folder, deep: bool) -> None:
    folder.refresh()
    for pack in folder.packs.values():
        pack.map().verify()
        pack.unmap()
    for path in folder.manifest_files():
        manifest = read_manifest(path)
        if not folder.counts(manifest):
            continue
        objects = objects_of(folder, manifest)
        if deep:
            StoredModel(manifest, objects, 1, CACHE_BYTES, MEMORY_BYTES).verify(deep=True)


def _settings(dedup: bool, threads: int, memory_bytes: int, overlap: bool) -> Settings:
    if threads < 1 or memory_bytes < 1:
        raise DepotError("threads and memory_bytes must be positive")
    return Settings(dedup, threads, memory_bytes, overlap)


def _sizes(folder: Folder) -> DepotSizes:
    payload = side = literals = objects = 0
    for pack in folder.packs.values():
        for stored in pack.objects:
            objects += 1
            if stored.kind == Kind.SIDE:
                side += stored.record.nbytes
            elif stored.kind == Kind.LITERALS:
                literals += stored.record.nbytes
            else:
                payload += stored.record.nbytes - stored.overhead
    total, disk = _on_disk(folder.path)
    rest = total - payload - side - literals
    models, packs = len(folder.models), len(folder.packs)
    return DepotSizes(payload, side, literals, rest, total, disk, models, objects, packs)


def _on_disk(path: Path) -> tuple[int, int]:
    """Return the sizes of all files, and the blocks that files and folders take."""
    total = disk = 0
    with reported(f"cannot read {path}"):
        for folder, _, files in os.walk(path):
            disk += Path(folder).stat().st_blocks * 512
            for name in files:
                with suppress(FileNotFoundError):  # deleted since it was listed
                    status = (Path(folder) / name).stat()
                    total += status.st_size
                    disk += status.st_blocks * 512
    return total, disk
