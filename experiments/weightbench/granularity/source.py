"""Values of any pieces of a model's tensors: views of the memory map where one run of bytes holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightbench.models.mapped import MappedModel
from weightbench.models.model import Array, Model
from weightcodecs.formats import get_format

__all__ = ["Piece", "TensorSource"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The elements [first, first + count) of a tensor in C order."""

    tensor: str
    first: int
    count: int


class TensorSource:
    """Reads pieces of a model's tensors."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._file_of = {e.tensor: file.name for file in model.files for e in file.extents if e.tensor}

    def read(self, format: str, pieces: Sequence[Piece]) -> Array:
        """Return the values of `pieces` (all of one format) one after the other: (n,), read-only.

        It is a view of the memory map if the bytes of all pieces follow each other in one mapped file,
        aligned to their elements; otherwise a copy: of tensors apart from each other or in several files, of
        unaligned ones, and of models whose tensors are computed.
        """
        dtype = get_format(format).dtype
        if isinstance(self.model, MappedModel):
            place = self._place(pieces, dtype.itemsize)
            if place is not None:
                data = self.model.read_range(*place)
                flat = np.frombuffer(data, dtype)
                return flat if flat.flags.aligned else _read_only(flat.copy())
        if len(pieces) == 1:
            return _read_only(self._elements(pieces[0]))
        out = np.empty(sum(piece.count for piece in pieces), dtype)
        at = 0
        for piece in pieces:
            out[at : at + piece.count] = self._elements(piece)
            at += piece.count
        return _read_only(out)

    def _elements(self, piece: Piece) -> Array:
        return self.model.elements(piece.tensor, piece.first, piece.first + piece.count)

    def _place(self, pieces: Sequence[Piece], width: int) -> tuple[str, int, int] | None:
        """Return file, offset and size of the one run of bytes that holds the pieces, or None."""
        file = self._file_of.get(pieces[0].tensor)
        if file is None:
            return None
        start = end = self.model.tensors[pieces[0].tensor].offset + pieces[0].first * width
        for piece in pieces:
            begin = self.model.tensors[piece.tensor].offset + piece.first * width
            if begin != end or self._file_of.get(piece.tensor) != file:
                return None
            end += piece.count * width
        return file, start, end - start


def _read_only(values: Array) -> Array:
    view = values.view()
    view.flags.writeable = False
    return view
