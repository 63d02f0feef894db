"""Tensors and files out of stored units: what an archive and a model of a depot have in common."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np

from weightbench.granularity import Piece
from weightbench.models.errors import UnknownTensorError
from weightbench.models.model import Array, TensorInfo
from weightcodecs import get_format
from weightcodecs.blob import byte_view

from .cache import UnitCache
from .errors import ArchiveError, CorruptArchiveError
from .index_parts import StoredFile
from .unpacking import UnpackedFile, targets, unpack_file

__all__ = ["CACHE_BYTES", "Place", "StoredTensors"]

CACHE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of a tensor is: in the values of which unit, from which one on."""

    unit: int
    at: int
    piece: Piece


class StoredTensors(ABC):
    """Reads any tensor alone, and restores the files.

    Attributes:
        files: the weight files.
        ties: as in `Model.ties`.
    """

    def __init__(
        self,
        where: str,
        tensors: Mapping[str, TensorInfo],
        ties: Mapping[str, str],
        files: Sequence[StoredFile],
        places: Mapping[str, Sequence[Place]],
        shared: Mapping[int, int],
        cache_bytes: int,
    ) -> None:
        """Read from units.

        Args:
            where: what messages call it.
            tensors: as in `Model.tensors`.
            ties: as in `Model.ties`.
            files: the weight files.
            places: of each tensor, in the order of its elements.
            shared: the bytes of each unit that holds more than one tensor, which is kept for the others.
            cache_bytes: limit of the units that are kept.
        """
        self.files, self.ties = tuple(files), MappingProxyType(dict(ties))
        self._where, self._tensors, self._places = where, MappingProxyType(dict(tensors)), places
        self._shared, self._cache = shared, UnitCache(cache_bytes)

    @abstractmethod
    def read_unit(self, number: int) -> Array:
        """Return the values (n,) of a unit, read-only; decoded now."""

    @abstractmethod
    def literal_bytes(self, file: str, offset: int, nbytes: int) -> Iterator[memoryview]:
        """Yield literal bytes of a file: `nbytes` from `offset` on, counting literal bytes only."""

    def tensors(self) -> Mapping[str, TensorInfo]:
        """Return what is known of the tensors, in file order."""
        return self._tensors

    def read_tensor(self, name: str) -> Array:
        """Return a tensor, read-only; only the units that hold it are decoded.

        Raises `UnknownTensorError`, and as `read_unit` does.
        """
        info = self._tensors.get(name)
        if info is None:
            if name in self.ties:
                raise ArchiveError(
                    f"{self._where}: tensor {name!r} shares the bytes of {self.ties[name]!r}; read that one"
                )
            raise UnknownTensorError(self._where, name, self._tensors)
        places = self._places[name]
        if len(places) == 1:
            return self._piece(places[0]).reshape(info.shape)
        flat: Array | None = None
        for place in places:
            taken = self._piece(place)
            # Not before the first unit is sound: a damaged archive shall not make us allocate.
            flat = np.empty(prod(info.shape), get_format(info.format).dtype) if flat is None else flat
            flat[place.piece.first : place.piece.first + place.piece.count] = taken
        if flat is None:
            flat = np.empty(0, get_format(info.format).dtype)
        flat.flags.writeable = False
        return flat.reshape(info.shape)

    def file_bytes(self, stored: StoredFile) -> Iterator[memoryview]:
        """Yield the bytes of one of `files` in order, a piece of a tensor or of literal bytes at a time."""
        literals = 0
        for extent in stored.file.extents:
            if extent.tensor is None:
                yield from self.literal_bytes(stored.file.name, literals, extent.nbytes)
                literals += extent.nbytes
            else:
                for place in self._places[extent.tensor]:
                    yield byte_view(np.ascontiguousarray(self._piece(place)))

    def unpack(self, directory: Path | str) -> tuple[UnpackedFile, ...]:
        """Restore the weight files into a folder.

        Files whose units were all coded losslessly come back byte for byte, or not at all: their SHA-256
        must be the original's. For the files of a bounded codec there is no digest to compare with: the
        checksums of their coded bytes are checked, and `UnpackedFile` says that they differ.

        Raises:
            CorruptArchiveError: something is damaged; the file in question does not appear.
            ArchiveError: a file is there already, or the disk is full; `errno` has the number.
        """
        paths = targets(Path(directory), self.files)
        return tuple(
            unpack_file(path, stored, self.file_bytes(stored), self.check_digest)
            for path, stored in zip(paths, self.files, strict=True)
        )

    def verify_files(self) -> None:
        """Decode everything; every file that shall come back bit by bit must have the original's SHA-256."""
        for stored in self.files:
            digest = hashlib.sha256()
            for run in self.file_bytes(stored):
                digest.update(run)
            self.check_digest(stored, digest.hexdigest())

    def check_digest(self, stored: StoredFile, sha256: str) -> None:
        """Raise `CorruptArchiveError` if a restored file should be the original and is not."""
        if stored.exact and sha256 != stored.sha256:
            raise CorruptArchiveError(
                f"{self._where}: file {stored.file.name!r} does not come back as it was: its SHA-256 is "
                f"{sha256}, the original's {stored.sha256}"
            )

    def _piece(self, place: Place) -> Array:
        number = place.unit
        nbytes = self._shared.get(number)
        if nbytes is None:
            values = self.read_unit(number)
        else:
            values = self._cache.get(number, nbytes, lambda: self.read_unit(number))
        return values[place.at : place.at + place.piece.count]
