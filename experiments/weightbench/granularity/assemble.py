"""The way back: from the values of units to tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

import numpy as np

from weightbench.models.model import Array, TensorInfo
from weightcodecs.formats import get_format

from .unit import Unit

__all__ = ["assemble"]


def assemble(
    tensors: Mapping[str, TensorInfo], parts: Iterable[tuple[Unit, Array]]
) -> Iterator[tuple[str, Array]]:
    """Yield tensors by name, each as soon as its last value has come; the empty ones first.

    Args:
        tensors: `Model.tensors`.
        parts: units, each with its values (n,) or of its shape, as `Unit.restore` returns them.

    Raises:
        ValueError: values are missing, come twice or out of order, or do not fit their unit.
    """
    sizes = {name: prod(info.shape) for name, info in tensors.items()}
    for name, info in tensors.items():
        if sizes[name] == 0:
            yield name, np.empty(info.shape, get_format(info.format).dtype)
    done = {name: 0 for name, size in sizes.items() if size}  # how many values of each tensor have come
    begun: dict[str, Array] = {}
    for unit, values in parts:
        dtype = get_format(unit.format).dtype
        if values.size != unit.count or values.dtype != dtype:
            raise ValueError(
                f"unit {unit.key!r} takes {unit.count} values of {dtype}, not {values.size} of {values.dtype}"
            )
        flat, at = values.reshape(-1), 0
        for piece in unit.pieces:
            name, info = piece.tensor, tensors[piece.tensor]
            taken, at = flat[at : at + piece.count], at + piece.count
            if done.get(name) != piece.first or piece.first + piece.count > sizes[name]:
                raise ValueError(f"unit {unit.key!r} does not go on where the values of {name!r} had ended")
            if piece.count == sizes[name]:
                tensor = taken
            else:
                if piece.first == 0:
                    begun[name] = np.empty(sizes[name], dtype)
                tensor = begun[name]
                tensor[piece.first : piece.first + piece.count] = taken
            done[name] += piece.count
            if done[name] == sizes[name]:
                del done[name]
                begun.pop(name, None)
                yield name, tensor.reshape(info.shape)
    if done:
        raise ValueError(f"values of {len(done)} tensors are missing, such as {min(done)!r}")
