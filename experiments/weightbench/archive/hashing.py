"""SHA-256 of a model's files, fed with values that were read anyway as long as they come in file order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from weightbench.granularity import Piece, TensorSource
from weightbench.models.model import Array, Model, ModelFile
from weightcodecs.blob import byte_view
from weightcodecs.formats import get_format

__all__ = ["FileDigests", "file_digest"]

READ_BYTES = 8 << 20


def file_digest(model: Model, file: ModelFile) -> str:
    """Return the SHA-256 of a file of a model, reading all of it."""
    return _FileDigest(TensorSource(model), file).finish()


class FileDigests:
    """The digests of all files of a model; only values that did not come in file order are read again."""

    def __init__(self, model: Model, known: Mapping[str, str]) -> None:
        """`known` are digests by file name that need not be computed."""
        source = TensorSource(model)
        self._known, self._names = known, [file.name for file in model.files]
        self._files = {f.name: _FileDigest(source, f) for f in model.files if f.name not in known}
        self._of = {e.tensor: d for d in self._files.values() for e in d.file.extents if e.tensor}

    def none_needs(self, pieces: Iterable[Piece]) -> bool:
        """Whether no digest hangs on the values of pieces, because their files' are known."""
        return all(piece.tensor not in self._of for piece in pieces)

    def feed(self, pieces: Iterable[Piece], values: Array) -> None:
        """Take note of the values (n,) of pieces."""
        flat, at = values.reshape(-1), 0
        for piece in pieces:
            if piece.tensor in self._of:
                self._of[piece.tensor].feed(piece, flat[at : at + piece.count])
            at += piece.count

    def finish(self) -> list[str]:
        """Return the digests in the order of `Model.files`; what was not fed is read."""
        return [self._known.get(name) or self._files[name].finish() for name in self._names]


class _FileDigest:
    def __init__(self, source: TensorSource, file: ModelFile) -> None:
        self.file = file
        self._source, self._model = source, source.model
        self._sha = hashlib.sha256()
        self._extent = 0  # where it stands: the extent, and elements of its tensor that are done
        self._done = 0

    def feed(self, piece: Piece, values: Array) -> None:
        self._skip_to_values()
        if self._extent == len(self.file.extents):
            return
        extent = self.file.extents[self._extent]
        if extent.tensor == piece.tensor and self._done == piece.first:
            self._take(extent.nbytes, values)

    def finish(self) -> str:
        self._skip_to_values()
        while self._extent < len(self.file.extents):
            extent = self.file.extents[self._extent]
            assert extent.tensor is not None
            format = get_format(self._model.tensors[extent.tensor].format)
            stop = min(self._done + READ_BYTES // format.nbytes, extent.nbytes // format.nbytes)
            piece = Piece(extent.tensor, self._done, stop - self._done)
            self._take(extent.nbytes, self._source.read(format.name, (piece,)))
            if self._done == 0:  # the tensor is through
                self._model.drop(extent.tensor)
            self._skip_to_values()
        return self._sha.hexdigest()

    def _take(self, nbytes: int, values: Array) -> None:
        self._sha.update(byte_view(values.reshape(-1)))
        self._done += values.size
        if self._done * values.itemsize == nbytes:
            self._extent, self._done = self._extent + 1, 0

    def _skip_to_values(self) -> None:
        while self._extent < len(self.file.extents):
            extent = self.file.extents[self._extent]
            if extent.nbytes and extent.tensor is not None:
                return
            for start in range(0, extent.nbytes, READ_BYTES):
                size = min(READ_BYTES, extent.nbytes - start)
                self._sha.update(self._model.read_range(self.file.name, extent.offset + start, size))
            self._extent += 1
