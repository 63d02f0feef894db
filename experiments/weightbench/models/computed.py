"""Models whose tensors are computed when asked for, and the safetensors files that they would be."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from weightcodecs.formats import get_format

from .model import Array, Extent, Model, ModelFile, Origin, TensorInfo, empty, read_only
from .safetensors_header import arrange, to_safetensors_header

__all__ = ["ComputedModel"]

METADATA = {"format": "pt"}  # what transformers expects in a file that it loads


class ComputedModel(Model):
    """Tensors made on demand. Its files exist only as headers in memory and bytes made when they are read."""

    def __init__(
        self,
        origin: Origin,
        contents: Mapping[str, Sequence[tuple[str, TensorInfo]]],
        ties: Mapping[str, str] | None = None,
    ) -> None:
        """Lay out the files.

        Args:
            origin: where the model comes from.
            contents: for each file, keys of `Model.tensors` with names and shapes (offsets are ignored).
            ties: see `Model`.
        """
        tensors: dict[str, TensorInfo] = {}
        files: list[ModelFile] = []
        self._headers: dict[str, bytes] = {}
        for file, named in contents.items():
            keys = {info.name: key for key, info in named}
            ordered = arrange(info for _, info in named)
            header = to_safetensors_header(ordered, METADATA)
            extents = [Extent(0, len(header), None)]
            end = len(header)
            for info in ordered:
                tensors[keys[info.name]] = replace(info, offset=end)
                extents.append(Extent(end, info.nbytes, keys[info.name]))
                end += info.nbytes
            self._headers[file] = header
            files.append(ModelFile(file, end, tuple(extents)))
        super().__init__(origin, tensors, tuple(files), ties)

    @abc.abstractmethod
    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return the elements [start, stop) of a tensor, computing no more than is needed for them."""

    def read(self, name: str) -> Array:
        """Return a tensor; it is computed now and not kept."""
        info = self.info(name)
        if info.nbytes == 0:
            return empty(info, get_format(info.format).dtype)
        values = self.elements(name, 0, math.prod(info.shape)).reshape(info.shape)
        return read_only(values) if values.flags.writeable else values

    def read_range(self, file: str, offset: int, nbytes: int) -> memoryview:
        """Return bytes of the file that this would be, computing no more than the elements they touch."""
        found, end = self.file(file, offset, nbytes), offset + nbytes
        pieces = []
        for extent in found.extents:
            first, last = max(offset, extent.offset), min(end, extent.offset + extent.nbytes)
            if first < last:
                pieces.append(self._bytes(file, extent, first - extent.offset, last - extent.offset))
        return memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces)).toreadonly()

    def _bytes(self, file: str, extent: Extent, start: int, stop: int) -> memoryview:
        if extent.tensor is None:
            return memoryview(self._headers[file])[start:stop]
        width = get_format(self.tensors[extent.tensor].format).nbytes
        first = start // width
        values = np.ascontiguousarray(self.elements(extent.tensor, first, -(-stop // width)))
        return values.view(np.uint8).data[start - first * width : stop - first * width]
