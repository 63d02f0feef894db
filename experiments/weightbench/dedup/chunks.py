"""The chunks of many models, as `granularity.units` cuts them, without an object for each of millions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from weightbench.granularity import Granularity
from weightbench.models.model import Array, Model
from weightcodecs import FloatFormat, get_format
from weightcodecs.blob import byte_view

from .contents import Place

__all__ = ["Chunks", "TensorChunks"]


@dataclass(frozen=True, slots=True)
class TensorChunks:
    """The chunks of one tensor.

    Attributes:
        format: of its elements.
        values: the tensor, flat.
        ends: int64, where each chunk ends, in elements.
        places: of each chunk: model, tensor, first element, end.
    """

    format: FloatFormat
    values: Array
    ends: NDArray[np.int64]
    places: list[Place]


class Chunks:
    """The chunks of models, in order; memory holds those of one tensor."""

    def __init__(self, models: Sequence[Model], level: Granularity) -> None:
        self.models, self.level = models, level
        self._names = [list(model.tensors) for model in models]

    def __iter__(self) -> Iterator[TensorChunks]:
        """Yield the chunks tensor by tensor."""
        for m, model in enumerate(self.models):
            for t, (name, info) in enumerate(model.tensors.items()):
                if not prod(info.shape):
                    continue
                format = get_format(info.format)
                values = np.ascontiguousarray(model.read(name)).reshape(-1)
                ends = self._ends(values, format)
                starts = [0, *ends[:-1].tolist()]
                places: list[Place] = [(m, t, *span) for span in zip(starts, ends.tolist(), strict=True)]
                yield TensorChunks(format, values, ends, places)
                del values
                model.drop(name)

    def warm_up(self) -> None:
        """Compile what cuts, so that no time is spent on it later."""
        self._ends(np.frombuffer(bytes(1024), np.uint8), get_format("uint8"))

    def read(self, place: Place) -> Array:
        """Return the values of a chunk."""
        m, t, first, end = place
        return np.ascontiguousarray(self.models[m].elements(self._names[m][t], first, end))

    def read_bytes(self, place: Place) -> memoryview:
        """Return the bytes of a chunk."""
        return byte_view(self.read(place))

    def _ends(self, values: Array, format: FloatFormat) -> NDArray[np.int64]:
        width = format.nbytes
        if self.level.chunking == "content":
            from weightcodecs.kernels.gear import cut_points  # loads Numba, which other cuts do without

            data = np.frombuffer(byte_view(values), np.uint8)
            return cut_points(data, width, self.level.chunk_bytes) // width
        step = max(self.level.chunk_bytes // width, 1)
        return np.array([*range(step, values.size, step), values.size], np.int64)
