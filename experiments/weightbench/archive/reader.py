"""Reading an archive: any tensor alone, all files again, and whether every byte is as it was written."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np

import weightcodecs
from weightbench.granularity import Piece, expand
from weightbench.models.errors import UnknownTensorError
from weightbench.models.model import Array, TensorInfo
from weightcodecs import BlobInfo, get_format
from weightcodecs.blob import byte_view, parse_description
from weightcodecs.errors import CorruptBlobError, WrongReferenceError

from .atomic import reported
from .cache import UnitCache
from .checked import CheckedRecords, named, read_index
from .errors import ArchiveError, CorruptArchiveError
from .index import Record, StoredFile, StoredUnit, UnitReference
from .layout import FOOTER_BYTES, HEAD
from .literals import LiteralBytes
from .summary import Sizes
from .unpacking import UnpackedFile, targets, unpack_file

__all__ = ["ArchiveReader", "Base", "open_archive"]

Base = Callable[[UnitReference], Array]

CACHE_BYTES = 128 << 20


def open_archive(
    path: Path | str, base: Base | None = None, *, threads: int = 1, cache_bytes: int = CACHE_BYTES
) -> ArchiveReader:
    """Open an archive; its index is checked wholly, no unit is read.

    Args:
        path: the archive. It must not be cut short while it is open; being replaced does no harm.
        base: returns a tensor that a unit was coded against; only archives of delta codecs need it.
        threads: handed to the codecs.
        cache_bytes: limit of the decoded units that are kept because they hold several tensors; one larger
            unit is kept beside them.

    Raises:
        CorruptArchiveError: not an archive, cut short or altered.
        ArchiveError: the file cannot be opened.
    """
    path = Path(path)
    with reported(f"cannot open {path}"), path.open("rb") as file:
        size = file.seek(0, 2)
        if size < len(HEAD) + FOOTER_BYTES:
            raise CorruptArchiveError(f"{path}: {size} bytes are too few for an archive; it was cut short")
        data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return ArchiveReader(path, data, base, threads, cache_bytes)


class ArchiveReader:
    """An open archive; `open_archive` makes it."""

    def __init__(
        self, path: Path, data: mmap.mmap, base: Base | None, threads: int, cache_bytes: int
    ) -> None:
        self.path = path
        self._nbytes, self._base, self._threads = len(data), base, threads
        self.index = read_index(path, data)
        self._records = CheckedRecords(path, data, self.index)
        self._cache = UnitCache(cache_bytes)
        self._literals_before: dict[str, int] = {}
        literals = 0
        for stored in self.index.files:
            self._literals_before[stored.file.name] = literals
            literals += _literal_bytes(stored)
        self._literals = LiteralBytes(self._literal_records(), literals, self._records)
        self._places: dict[str, list[tuple[int, int, Piece]]] = {name: [] for name in self.index.tensors}
        for number, unit in enumerate(self.index.units):
            at = 0
            for piece in unit.pieces:
                self._places[piece.tensor].append((number, at, piece))
                at += piece.count
        for places in self._places.values():
            places.sort(key=lambda place: place[2].first)

    def tensors(self) -> Mapping[str, TensorInfo]:
        """Return what is known of the tensors, in file order."""
        return MappingProxyType(dict(self.index.tensors))

    def sizes(self) -> Sizes:
        """Return the bytes of the archive by what they are."""
        index, total = self.index, self._nbytes
        side = sum(index.records[unit.side].nbytes for unit in index.units if unit.side is not None)
        literals = sum(record.nbytes for record in self._literal_records())
        return Sizes(index.payload, side, literals, total - index.payload - side - literals, total)

    def read_unit(self, number: int) -> Array:
        """Return the values (n,) of a unit of `index.units`, read-only; decoded now.

        Raises:
            CorruptArchiveError: its bytes are not those that were written.
            WrongReferenceError: it was coded against a base that was not given, or is another one.
        """
        unit = self.index.units[number]
        blob = self._records.read(self.index.records[unit.blob])
        try:
            info = parse_description(blob)  # the record's own checksum has just been checked
            self._check_blob(unit, info)
            reference = None if unit.reference is None else self._reference(unit, info)
            decoded = weightcodecs.decode(blob, reference=reference, threads=self._threads)
            if unit.side is None:
                values = decoded.reshape(-1)
            else:
                values = expand(decoded, self._records.read(self.index.records[unit.side]), unit.count)
        except CorruptBlobError as error:
            raise CorruptArchiveError(f"{self.path}: unit {number} ({named(unit)}): {error}") from error
        values.flags.writeable = False
        return values

    def read_tensor(self, name: str) -> Array:
        """Return a tensor, read-only; only the units that hold it are decoded.

        Raises `UnknownTensorError`, and as `read_unit` does.
        """
        info = self.index.tensors.get(name)
        if info is None:
            if name in self.index.ties:
                owner = self.index.ties[name]
                raise ArchiveError(
                    f"{self.path}: tensor {name!r} shares the bytes of {owner!r}; read that one"
                )
            raise UnknownTensorError(str(self.path), name, self.index.tensors)
        places = self._places[name]
        if len(places) == 1:
            number, at, piece = places[0]
            return self._values(number)[at : at + piece.count].reshape(info.shape)
        flat: Array | None = None
        for number, at, piece in places:
            taken = self._values(number)[at : at + piece.count]
            # Not before the first unit is sound: a damaged archive shall not make us allocate.
            flat = np.empty(prod(info.shape), get_format(info.format).dtype) if flat is None else flat
            flat[piece.first : piece.first + piece.count] = taken
        if flat is None:
            flat = np.empty(0, get_format(info.format).dtype)
        flat.flags.writeable = False
        return flat.reshape(info.shape)

    def file_bytes(self, stored: StoredFile) -> Iterator[memoryview]:
        """Yield the bytes of one of `index.files` in order, a tensor or a run of literal bytes at a time."""
        at = self._literals_before[stored.file.name]
        for extent in stored.file.extents:
            if extent.tensor is None:
                yield from self._literals.read(at, extent.nbytes)
                at += extent.nbytes
            elif extent.nbytes:
                values = np.ascontiguousarray(self.read_tensor(extent.tensor)).reshape(-1)
                yield byte_view(values)

    def unpack(self, directory: Path | str) -> tuple[UnpackedFile, ...]:
        """Restore the weight files into a folder.

        Files whose units were all coded losslessly come back byte for byte, or not at all: their SHA-256
        must be the original's. For the files of a bounded codec there is no digest to compare with: the
        checksums of their coded bytes are checked, and `UnpackedFile` says that they differ.

        Raises:
            CorruptArchiveError: the archive is damaged; the file in question does not appear.
            ArchiveError: a file is there already, or the disk is full; `errno` has the number.
        """
        files = self.index.files
        paths = targets(Path(directory), files)
        return tuple(
            unpack_file(path, stored, self.file_bytes(stored), self.check_digest)
            for path, stored in zip(paths, files, strict=True)
        )

    def verify(self, *, deep: bool = False) -> None:
        """Check every byte of the archive against its checksum; `deep`: decode everything, too.

        Opening has checked head, index and footer; this checks the records and what is between them. Deep,
        the SHA-256 of every file that shall come back bit by bit is compared with the original's.

        Raises:
            CorruptArchiveError: something is not as it was written; the message names it.
        """
        self._records.verify()
        if not deep:
            return
        blobs = {unit.blob for unit in self.index.units}
        payload = sum(
            len(weightcodecs.payload(self._records.read(self.index.records[blob]))) for blob in blobs
        )
        if payload != self.index.payload:
            raise CorruptArchiveError(f"{self.path}: it holds {payload} coded bytes, not as many as it says")
        for stored in self.index.files:
            digest = hashlib.sha256()
            for run in self.file_bytes(stored):
                digest.update(run)
            self.check_digest(stored, digest.hexdigest())

    def check_digest(self, stored: StoredFile, sha256: str) -> None:
        """Raise `CorruptArchiveError` if a restored file should be the original and is not."""
        if stored.exact and sha256 != stored.sha256:
            raise CorruptArchiveError(
                f"{self.path}: file {stored.file.name!r} does not come back as it was: its SHA-256 is "
                f"{sha256}, the original's {stored.sha256}"
            )

    # -- within ------------------------------------------------------------------------------------------

    def _check_blob(self, unit: StoredUnit, info: BlobInfo) -> None:
        """Check that a blob holds what the index says, before anything is allocated for it."""
        fits = info.count == unit.count if unit.side is None else 1 <= info.count <= unit.count
        if info.format.name != unit.format or not fits:
            raise CorruptBlobError(
                f"holds {info.count} values of {info.format.name}, not {unit.count} of {unit.format}"
            )

    def _reference(self, unit: StoredUnit, info: BlobInfo) -> Array:
        assert unit.reference is not None
        if self._base is None:
            raise WrongReferenceError(
                f"{self.path}: {named(unit)} was coded against {unit.reference.tensor!r} of model "
                f"{unit.reference.model!r}; open the archive with base="
            )
        flat = self._base(unit.reference).reshape(-1)
        taken = flat[unit.reference.first : unit.reference.first + unit.count]
        if taken.size != unit.count:
            raise WrongReferenceError(f"{self.path}: the base of {named(unit)} has too few elements")
        return taken.reshape(info.shape)

    def _values(self, number: int) -> Array:
        unit = self.index.units[number]
        if len({piece.tensor for piece in unit.pieces}) == 1:
            return self.read_unit(number)
        nbytes = unit.count * get_format(unit.format).nbytes
        return self._cache.get(number, nbytes, lambda: self.read_unit(number))

    def _literal_records(self) -> tuple[Record, ...]:
        return self.index.records[len(self.index.records) - self.index.literals :]


def _literal_bytes(stored: StoredFile) -> int:
    return sum(extent.nbytes for extent in stored.file.extents if extent.tensor is None)
