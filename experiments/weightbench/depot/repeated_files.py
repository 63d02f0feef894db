"""Whole files that a depot holds already: found by SHA-256, and taken over from the other manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from weightbench.archive import StoredFile
from weightbench.archive.hashing import file_digest
from weightbench.granularity import Piece
from weightbench.models.model import Model, ModelFile, TensorInfo

from .folder import Folder
from .manifest import Manifest, ManifestFile, ManifestUnit
from .manifest_reading import read_manifest

__all__ = ["RepeatedFile", "repeated_files", "taken_over", "worth_hashing"]


@dataclass(frozen=True, slots=True)
class RepeatedFile:
    """A file of a model and the equal one; `source` is None if that is a file of the same model."""

    file: ModelFile
    sha256: str
    source: Manifest | None
    equal: str


def worth_hashing(folder: Folder, model: Model, known: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of the files that can be equal to another one, because one is of their size.

    Those in `known` are not read.
    """
    sizes = Counter(file.nbytes for file in model.files)
    stored = {size for use in folder.models.values() for size in use.file_sizes}
    return {
        file.name: known.get(file.name) or file_digest(model, file)
        for file in model.files
        if file.nbytes in stored or sizes[file.nbytes] > 1
    }


def repeated_files(folder: Folder, model: Model, digests: Mapping[str, str]) -> list[RepeatedFile]:
    """Return the files that are in the depot, byte for byte, or twice in the model.

    `digests` are those of `worth_hashing`. Files that were stored with an error are not found.
    """
    found: list[RepeatedFile] = []
    first: dict[str, ModelFile] = {}
    for file in model.files:
        digest = digests.get(file.name)
        if digest is None:
            continue
        if digest in first:
            equal = first[digest]
            if _same_layout(model.tensors, file, model.tensors, equal):
                found.append(RepeatedFile(file, digest, None, equal.name))
            continue
        repeated = _in_depot(folder, model, file, digest)
        if repeated is None:
            first[digest] = file
        else:
            found.append(repeated)
    return found


def taken_over(
    repeated: RepeatedFile, source_files: tuple[ManifestFile, ...], source_units: tuple[ManifestUnit, ...]
) -> tuple[ManifestFile, tuple[ManifestUnit, ...]]:
    """Return file and units of a manifest for a repeated file, out of the manifest that has the equal one."""
    equal = next(file for file in source_files if file.stored.file.name == repeated.equal)
    own = {
        theirs.tensor: ours.tensor
        for theirs, ours in zip(equal.stored.file.extents, repeated.file.extents, strict=True)
        if theirs.tensor is not None and ours.tensor is not None
    }
    units = []
    for unit in source_units:
        pieces = tuple(
            (Piece(own[piece.tensor], piece.first, piece.count), at)
            for piece, at in unit.pieces
            if piece.tensor in own
        )
        if pieces:
            units.append(ManifestUnit(unit.format, unit.object, unit.part, unit.side, unit.count, pieces))
    file = ManifestFile(StoredFile(repeated.file, repeated.sha256, equal.stored.exact), equal.literals)
    return file, tuple(units)


def _in_depot(folder: Folder, model: Model, file: ModelFile, digest: str) -> RepeatedFile | None:
    for path in folder.manifest_files():
        use = folder.models.get(path.name)
        if use is None or digest not in use.sha256:
            continue
        manifest = read_manifest(path)
        for other in manifest.files:
            same = other.stored.exact and other.stored.sha256 == digest
            if same and _same_layout(model.tensors, file, manifest.tensors, other.stored.file):
                return RepeatedFile(file, digest, manifest, other.stored.file.name)
    return None


def _same_layout(
    tensors: Mapping[str, TensorInfo],
    file: ModelFile,
    other_tensors: Mapping[str, TensorInfo],
    other: ModelFile,
) -> bool:
    """Whether two files were cut into the same tensors; equal bytes can be read in different ways."""
    if len(file.extents) != len(other.extents):
        return False
    for ours, theirs in zip(file.extents, other.extents, strict=True):
        if ours.nbytes != theirs.nbytes or (ours.tensor is None) != (theirs.tensor is None):
            return False
        if (
            ours.tensor is not None
            and theirs.tensor is not None
            and tensors[ours.tensor].format != other_tensors[theirs.tensor].format
        ):
            return False
    return True
