"""Files out of an archive again."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .atomic import atomic_file, reported
from .errors import ArchiveError
from .index_parts import StoredFile

__all__ = ["UnpackedFile", "targets", "unpack_file"]


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """A file that was restored.

    Attributes:
        path: where it is.
        nbytes: its size, which is the original's.
        sha256: of what was written.
        identical: whether it is the original, bit by bit. Else a bounded codec wrote its floats: the file is
            a valid one of the same layout; header, gaps and tensors that were passed through are exact.
    """

    path: Path
    nbytes: int
    sha256: str
    identical: bool


def targets(directory: Path, files: Iterable[StoredFile]) -> list[Path]:
    """Return where the files will be; `ArchiveError` if something is there already. Makes their folders."""
    paths = [directory / stored.file.name for stored in files]
    for path in paths:
        if path.exists() or path.is_symlink():
            raise ArchiveError(f"{path} exists; unpack to an empty folder", errno.EEXIST)
    with reported(f"cannot make {directory}"):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
    return paths


def unpack_file(
    path: Path, stored: StoredFile, runs: Iterable[memoryview], check: Callable[[StoredFile, str], None]
) -> UnpackedFile:
    """Write the bytes in `runs`; the file appears only if `check` finds nothing wrong with its SHA-256."""
    digest = hashlib.sha256()
    with atomic_file(path) as out:
        for run in runs:
            out.write(run)
            digest.update(run)
        check(stored, digest.hexdigest())
    return UnpackedFile(path, out.nbytes, digest.hexdigest(), digest.hexdigest() == stored.sha256)
