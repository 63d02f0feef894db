"""Models whose tensors lie in files on disk: read-only memory maps, and views of them."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weightcodecs.formats import get_format

from .content import file_sha256, remember_sha256, remembered_sha256
from .errors import MalformedFileError, ModelNotFoundError
from .model import Array, Extent, Model, ModelFile, Origin, TensorInfo, empty, read_only

__all__ = ["MappedFile", "MappedModel", "WeightFile", "map_file"]


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file in memory, read-only. It must not be cut short while it is mapped.

    `status` is the file's when it was mapped.
    """

    name: str
    path: Path
    nbytes: int
    data: mmap.mmap
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A mapped file, the tensors that its header names with offsets from its start, and its ties."""

    mapped: MappedFile
    tensors: Sequence[TensorInfo]
    ties: Mapping[str, str] = field(default_factory=dict)


def map_file(path: Path, name: str | None = None) -> MappedFile:
    """Map a file; raises `ModelNotFoundError` if there is none, `MalformedFileError` if it is empty."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelNotFoundError(f"{path} is not a file; give a folder or a weight file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            nbytes = status.st_size
            if nbytes == 0:
                raise MalformedFileError(path, "it is empty")
            data = mmap.mmap(file.fileno(), nbytes, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{path} cannot be read ({error})") from error
    return MappedFile(name or path.name, path, nbytes, data, status)


class MappedModel(Model):
    """Tensors in memory-mapped files; `read` gives views, and copies only what is not aligned in its file."""

    def __init__(self, origin: Origin, parts: Sequence[WeightFile], pinned: str | None = None) -> None:
        """Lay the parts' tensors out; `pinned` is the revision if the source knows it.

        Raises:
            MalformedFileError: tensors overlap or leave their file.
        """
        tensors: dict[str, TensorInfo] = {}
        ties: dict[str, str] = {}
        self._where: dict[str, MappedFile] = {}
        files = []
        for part in parts:
            file, taken = part.mapped, {*tensors, *ties}
            names = [*(info.name for info in part.tensors), *part.ties]
            key = {name: f"{file.name}:{name}" if name in taken else name for name in names}
            if clash := taken & set(key.values()):
                raise MalformedFileError(file.path, f"tensor name {min(clash)!r} is there twice")
            ordered = sorted(part.tensors, key=lambda t: (t.offset, t.nbytes))
            tensors |= {key[info.name]: info for info in ordered}
            ties |= {key[name]: key[same] for name, same in part.ties.items()}
            self._where |= {key[info.name]: file for info in ordered}
            files.append(ModelFile(file.name, file.nbytes, _lay_out(file, ordered, key)))
        super().__init__(origin, tensors, tuple(files), ties)
        self._mapped = {part.mapped.name: part.mapped for part in parts}
        self._pinned = pinned

    def revision(self) -> str:
        """Return the pinned revision, or the SHA-256 over the files' names, sizes and contents."""
        if self._pinned is None:
            digest = hashlib.sha256()
            for file in sorted(self._mapped.values(), key=lambda f: f.name):
                digest.update(f"{file.name}\0{file.nbytes}\0{file_sha256(file.path)}\n".encode())
            self._pinned = f"sha256:{digest.hexdigest()}"
        return self._pinned

    def known_sha256(self) -> Mapping[str, str]:
        """Return the SHA-256 of every file: read once, then remembered in the cache directory."""
        return {file.name: file_sha256(file.path) for file in self._mapped.values()}

    def remembered_sha256(self) -> Mapping[str, str]:
        """Return the SHA-256 of the files that are in the cache directory; nothing is read."""
        found = {f.name: remembered_sha256(f.path, f.status) for f in self._mapped.values()}
        return {name: digest for name, digest in found.items() if digest is not None}

    def learn_sha256(self, digests: Mapping[str, str]) -> None:
        """Remember the SHA-256 of files in the cache directory."""
        for name, digest in digests.items():
            file = self._mapped[name]
            remember_sha256(file.path, file.status, digest)

    def read(self, name: str) -> Array:
        """Return a view of the tensor in its file (a copy if it is not aligned to its elements there)."""
        info = self.info(name)
        dtype = get_format(info.format).dtype
        if info.nbytes == 0:
            return empty(info, dtype)
        flat: np.ndarray[Any, Any] = np.frombuffer(
            self._where[name].data, dtype, math.prod(info.shape), info.offset
        )
        if not flat.flags.aligned:
            flat = read_only(flat.copy())
        return flat.reshape(info.shape)

    def read_range(self, file: str, offset: int, nbytes: int) -> memoryview:
        """Return a view of bytes of a file."""
        self.file(file, offset, nbytes)
        return memoryview(self._mapped[file].data)[offset : offset + nbytes]

    def drop(self, name: str) -> None:
        """Unmap the pages of a tensor; they stay in the page cache of the system."""
        info = self.info(name)
        if info.nbytes == 0 or not hasattr(mmap, "MADV_DONTNEED"):
            return
        start = info.offset // mmap.PAGESIZE * mmap.PAGESIZE
        self._where[name].data.madvise(mmap.MADV_DONTNEED, start, info.offset + info.nbytes - start)


def _lay_out(file: MappedFile, ordered: Sequence[TensorInfo], key: Mapping[str, str]) -> tuple[Extent, ...]:
    extents: list[Extent] = []
    end = 0
    for info in ordered:
        if info.offset < end:
            raise MalformedFileError(file.path, f"tensor {info.name!r} overlaps what stands before it")
        if info.offset > end:
            extents.append(Extent(end, info.offset - end, None))
        end = info.offset + info.nbytes
        extents.append(Extent(info.offset, info.nbytes, key[info.name]))
    if end > file.nbytes:
        raise MalformedFileError(file.path, f"its tensors end at byte {end}, the file at {file.nbytes}")
    if end < file.nbytes:
        extents.append(Extent(end, file.nbytes - end, None))
    return tuple(extents)
