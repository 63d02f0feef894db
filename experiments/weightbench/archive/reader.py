"""Reading an archive: any tensor alone, all files again, and whether every byte is as it was written."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import weightcodecs
from weightbench.granularity import expand
from weightbench.models.model import Array
from weightcodecs import BlobInfo, get_format
from weightcodecs.blob import parse_description
from weightcodecs.errors import CorruptBlobError, WrongReferenceError

from .checked import CheckedRecords, map_checked, read_index
from .errors import CorruptArchiveError
from .index import Index, Record, StoredUnit, UnitReference
from .index_reading import parse_index
from .layout import ARCHIVE, HEAD_BYTES
from .literals import LiteralBytes
from .stored_tensors import CACHE_BYTES, Place, StoredTensors
from .summary import Sizes

__all__ = ["ArchiveReader", "Base", "open_archive"]

Base = Callable[[UnitReference], Array]


def open_archive(
    path: Path | str,
    base: Base | None = None,
    *,
    threads: int = 1,
    cache_bytes: int = CACHE_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> ArchiveReader:
    """Open an archive; its index is checked wholly, no unit is read.

    Args:
        path: the archive. It must not be cut short while it is open; being replaced does no harm.
        base: returns a tensor that a unit was coded against; only archives of delta codecs need it.
        threads: handed to the codecs.
        cache_bytes: limit of the decoded units that are kept because they hold several tensors; one larger
            unit is kept beside them.
        on_read: called with the number of bytes of the file that are about to be used, each time: to count
            them, or to wait as a slow disk would (`weightbench.measure.Throttle`).

    Raises:
        CorruptArchiveError: not an archive, cut short or altered.
        ArchiveError: the file cannot be opened.
    """
    path = Path(path)
    return ArchiveReader(path, map_checked(path, ARCHIVE), base, threads, cache_bytes, on_read)


class ArchiveReader(StoredTensors):
    """An open archive; `open_archive` makes it."""

    def __init__(
        self,
        path: Path,
        data: mmap.mmap,
        base: Base | None,
        threads: int,
        cache_bytes: int,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        self.path = path
        self._nbytes, self._base, self._threads = len(data), base, threads
        raw, end = read_index(path, data, ARCHIVE)
        try:
            self.index = parse_index(raw, end)
        except CorruptArchiveError as error:
            raise CorruptArchiveError(f"{path}: {error}") from error
        self._records = CheckedRecords(
            path, data, self.index.records, self.index.end, partial(_use_of, self.index), on_read
        )
        self._records.used(HEAD_BYTES + len(data) - end)
        self._literals_before: dict[str, int] = {}
        literals = 0
        for stored in self.index.files:
            self._literals_before[stored.file.name] = literals
            literals += sum(extent.nbytes for extent in stored.file.extents if extent.tensor is None)
        self._literals = LiteralBytes(self._literal_records(), literals, self._records.read)
        places, shared = _placed(self.index)
        super().__init__(
            str(path), self.index.tensors, self.index.ties, self.index.files, places, shared, cache_bytes
        )

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
            raise CorruptArchiveError(f"{self.path}: unit {number} ({_named(unit)}): {error}") from error
        values.flags.writeable = False
        return values

    def literal_bytes(self, file: str, offset: int, nbytes: int) -> Iterator[memoryview]:
        """Yield literal bytes of a file, counting literal bytes only."""
        yield from self._literals.read(self._literals_before[file] + offset, nbytes)

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
        self.verify_files()

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
                f"{self.path}: {_named(unit)} was coded against {unit.reference.tensor!r} of model "
                f"{unit.reference.model!r}; open the archive with base="
            )
        flat = self._base(unit.reference).reshape(-1)
        taken = flat[unit.reference.first : unit.reference.first + unit.count]
        if taken.size != unit.count:
            raise WrongReferenceError(f"{self.path}: the base of {_named(unit)} has too few elements")
        return taken.reshape(info.shape)

    def _literal_records(self) -> tuple[Record, ...]:
        return self.index.records[len(self.index.records) - self.index.literals :]


def _placed(index: Index) -> tuple[dict[str, list[Place]], dict[int, int]]:
    """Return the places of each tensor, and the bytes of the units that hold more than one."""
    places: dict[str, list[Place]] = {name: [] for name in index.tensors}
    shared = {}
    for number, unit in enumerate(index.units):
        at = 0
        for piece in unit.pieces:
            places[piece.tensor].append(Place(number, at, piece))
            at += piece.count
        if len({piece.tensor for piece in unit.pieces}) > 1:
            shared[number] = unit.count * get_format(unit.format).nbytes
    for own in places.values():
        own.sort(key=lambda place: place.piece.first)
    return places, shared


def _use_of(index: Index, record: Record) -> str:
    for unit in index.units:
        if record == index.records[unit.blob]:
            return f"the blob of {_named(unit)}"
        if unit.side is not None and record == index.records[unit.side]:
            return f"the references of {_named(unit)}"
    return "a record of the files' literal bytes"


def _named(unit: StoredUnit) -> str:
    """Return which tensors a unit holds, for messages."""
    first, *more = dict.fromkeys(piece.tensor for piece in unit.pieces)
    return f"tensor {first!r}" + (f" and {len(more)} more" if more else "")
