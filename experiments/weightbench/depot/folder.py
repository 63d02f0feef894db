"""The files of a depot: which packs and manifests there are, what they hold, and where an object is."""

from __future__ import annotations

import copy
import errno
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from weightbench.archive import ArchiveError
from weightbench.archive.atomic import reported
from weightbench.archive.checked import CheckedRecords, map_checked
from weightbench.archive.index import Record
from weightbench.archive.layout import HEAD_BYTES

from .errors import CorruptDepotError, NoSuchModelError
from .manifest import Manifest
from .manifest_reading import read_manifest
from .names import MANIFEST_SUFFIX, manifest_file
from .objects import ObjectId, StoredObject
from .pack import PACK, read_pack

__all__ = ["Folder", "Pack"]

PACKS, MODELS = "packs", "models"
_PACK_NAME = re.compile(r"([0-9]{8,16})\.wbp")
Stamp = tuple[int, int, int]


class Pack:
    """A pack: its objects, and its bytes as soon as they are asked for; from then on it may be deleted."""

    def __init__(self, path: Path, stamp: Stamp, on_read: Callable[[int], None] | None = None) -> None:
        """Read the index. `stamp` is the file's; `on_read`: see `CheckedRecords`."""
        self.path, self.stamp, self._on_read = path, stamp, on_read
        self.objects, self._end = read_pack(path)
        self._records: CheckedRecords | None = None

    @property
    def serial(self) -> int:
        """The number in its name."""
        return int(self.path.stem)

    def map(self) -> CheckedRecords:
        """Return its bytes; raises `ArchiveError` if the file has gone and was not mapped before."""
        if self._records is None:
            data = map_checked(self.path, PACK)
            records = [stored.record for stored in self.objects]
            # Not a method of ours: a map in a cycle of references would stay open until that is found.
            use_of = partial(_use_of, self.objects)
            self._records = CheckedRecords(self.path, data, records, self._end, use_of, self._on_read)
            self._records.used(HEAD_BYTES + len(data) - self._end)
        return self._records

    def unmap(self) -> None:
        """Close the file: an open map takes one of the files that a process may have open."""
        self._records = None

    def opened(self) -> Pack:
        """Return the pack with a map of its own, which stays when this one is unmapped."""
        other = copy.copy(self)
        other._records = None
        other.map()
        return other


def _use_of(objects: tuple[StoredObject, ...], record: Record) -> str:
    return f"object {next(i for i, stored in enumerate(objects) if stored.record == record)}"


@dataclass(frozen=True, slots=True)
class FileUse:
    """What remains of a manifest that is not in use: its objects, its files by content, what it requires."""

    objects: frozenset[ObjectId]
    sha256: frozenset[str]
    file_sizes: frozenset[int]
    requires: str | None


class Folder:
    """The folder of a depot, as it was found when `refresh` was called last.

    Attributes:
        path: the folder.
        on_read: told of bytes of packs that are about to be used, see `CheckedRecords`.
        packs: by file name.
        models: what is used of the models, by the file name of the manifest.
        incomplete: manifests that do not count, because the model that they require is not there.
    """

    def __init__(self, path: Path, on_read: Callable[[int], None] | None = None) -> None:
        self.path, self.on_read = path, on_read
        self.packs: dict[str, Pack] = {}
        self.models: dict[str, FileUse] = {}
        self.names: dict[str, str] = {}
        self.incomplete: list[Path] = []
        self._stamps: dict[Path, Stamp] = {}
        self._where: dict[ObjectId, tuple[Pack, StoredObject]] = {}
        self._by_key: dict[bytes, list[ObjectId]] = {}

    # -- what there is -------------------------------------------------------------------------------------

    def pack_path(self, serial: int) -> Path:
        """Return the place of a pack."""
        return self.path / PACKS / f"{serial:08d}.wbp"

    def manifest_path(self, name: str) -> Path:
        """Return the place of a model's manifest."""
        return self.path / MODELS / manifest_file(name)

    def next_serial(self) -> int:
        """Return the number of the next pack."""
        return max((pack.serial for pack in self.packs.values()), default=0) + 1

    def refresh(self) -> None:
        """Look again; what has not changed is not read again.

        Raises:
            CorruptDepotError: a pack or a manifest is damaged.
        """
        self._retrying(self._look)

    def refresh_packs(self) -> None:
        """Look for packs alone, for the sake of one model: damaged packs are as if they were missing."""
        self._retrying(partial(self._look_for_packs, lenient=True))

    def state(self) -> frozenset[tuple[Path, Stamp]]:
        """Return what tells whether somebody has changed the depot."""
        found = set()
        for path in (*self._pack_files(), *self.manifest_files()):
            with suppress(ArchiveError):  # deleted since it was listed
                found.add((path, _stamp(path)))
        return frozenset(found)

    def manifest(self, name: str) -> Manifest:
        """Return a model's manifest; raises `NoSuchModelError` or `CorruptDepotError`."""
        try:
            manifest = read_manifest(self.manifest_path(name))
            if not self.counts(manifest):
                # If the other was deleted since we looked, this one has been written again before that.
                manifest = read_manifest(self.manifest_path(name))
            if self.counts(manifest):
                return manifest
            raise NoSuchModelError(self.path, name, self.names.values())
        except ArchiveError as error:
            if error.errno != errno.ENOENT:
                raise
            with suppress(CorruptDepotError):
                self.refresh()
            raise NoSuchModelError(self.path, name, self.names.values()) from None

    def listed(self) -> tuple[str, ...]:
        """Return the names of the models; sorted."""
        self.refresh()
        return tuple(sorted(self.names.values()))

    def manifest_files(self) -> list[Path]:
        """Return the manifests there are now, sorted."""
        return self._listing(MODELS, lambda name: name.endswith(MANIFEST_SUFFIX) and name[0] != ".")

    def counts(self, manifest: Manifest) -> bool:
        """Whether the model that it requires, if any, is there."""
        return manifest.requires is None or self.manifest_path(manifest.requires).exists()

    def leftovers(self) -> Iterator[Path]:
        """Yield what writers that were killed have left: files that have not got their name yet."""
        for sub in (PACKS, MODELS):
            yield from self._listing(sub, lambda name: name[0] == "." and name.endswith(".tmp"))

    def unmap(self) -> None:
        """Close all packs; they are opened again when they are needed."""
        for pack in self.packs.values():
            pack.unmap()

    # -- where objects are ---------------------------------------------------------------------------------

    def find(self, id: ObjectId) -> tuple[Pack, StoredObject]:
        """Return the pack that holds an object; `CorruptDepotError` if there is none."""
        try:
            return self._where[id]
        except KeyError:
            raise CorruptDepotError(f"{self.path}: an object that a model needs is in no pack") from None

    def holds(self, id: ObjectId) -> bool:
        """Whether a pack holds an object."""
        return id in self._where

    def with_key(self, key: bytes) -> list[ObjectId]:
        """Return the objects with a key, by ordinal."""
        return self._by_key.get(key, [])

    def index_objects(self) -> None:
        """Take note of where all objects are; of one that is in two packs, the later pack."""
        self._where = {o.id: (pack, o) for _, pack in sorted(self.packs.items()) for o in pack.objects}
        self._by_key = {}
        for id in sorted(self._where):
            self._by_key.setdefault(id.key, []).append(id)

    # -- within ----------------------------------------------------------------------------------------------

    def _retrying(self, look: Callable[[], None]) -> None:
        for _ in range(100):
            try:
                look()
                return
            except ArchiveError as error:
                if error.errno != errno.ENOENT:  # else a writer deleted it after we had listed it
                    raise
        raise ArchiveError(f"{self.path} changes faster than it can be read")

    def _look(self) -> None:
        models: dict[str, FileUse] = {}
        names: dict[str, str] = {}
        stamps: dict[Path, Stamp] = {}
        incomplete = []
        for path in self.manifest_files():
            stamps[path] = _stamp(path)
            if path.name in self.models and self._stamps.get(path) == stamps[path]:
                models[path.name], names[path.name] = self.models[path.name], self.names[path.name]
            else:
                manifest = read_manifest(path)
                if self.counts(manifest):
                    models[path.name], names[path.name] = _use(manifest), manifest.name
                else:
                    incomplete.append(path)
        self._look_for_packs()
        self.models, self.names, self._stamps, self.incomplete = models, names, stamps, incomplete

    def _look_for_packs(self, lenient: bool = False) -> None:
        packs: dict[str, Pack] = {}
        for path in self._pack_files():
            stamp = _stamp(path)
            known = self.packs.get(path.name)
            if known is not None and known.stamp == stamp:
                packs[path.name] = known
                continue
            try:
                packs[path.name] = Pack(path, stamp, self.on_read)
            except CorruptDepotError:
                if not lenient:
                    raise
        if {*packs.values()} != {*self.packs.values()}:
            self.packs = packs
            self.index_objects()

    def _pack_files(self) -> list[Path]:
        return self._listing(PACKS, lambda name: _PACK_NAME.fullmatch(name) is not None)

    def _listing(self, sub: str, wanted: Callable[[str], bool]) -> list[Path]:
        with reported(f"cannot read {self.path / sub}"):
            return sorted(path for path in (self.path / sub).iterdir() if wanted(path.name))


def _use(manifest: Manifest) -> FileUse:
    exact = [file.stored for file in manifest.files if file.stored.exact]
    return FileUse(
        frozenset(manifest.objects()),
        frozenset(stored.sha256 for stored in exact),
        frozenset(stored.file.nbytes for stored in exact),
        manifest.requires,
    )


def _stamp(path: Path) -> Stamp:
    with reported(f"cannot read {path}"):
        status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
