"""A model in another float format, cast tensor by tensor when it is read."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from weightcodecs.formats import FORMATS, get_format

from .computed import ComputedModel
from .errors import CastOverflowError, ModelError, UnknownModelError
from .model import Array, Model, Origin, TensorInfo
from .rounding import Overflow, lost_values, round_to, saturated

__all__ = ["CastModel", "cast"]

BLOCK = 1 << 20  # elements cast at once, so that temporary arrays stay small
FLOATS = tuple(name for name, fmt in FORMATS.items() if fmt.is_float)
POLICIES = ("refuse", "saturate", "ieee")


def cast(model: Model, dtype: str, *, overflow: Overflow = "refuse") -> Model:
    """Return a view of `model` whose float tensors have the format `dtype`; integers and bools stay.

    Values are rounded to nearest even. Ranges differ: ``overflow="refuse"`` raises `CastOverflowError` when a
    tensor is read that has a value beyond the format's; ``"saturate"`` gives the format's largest value;
    ``"ieee"`` gives what IEEE arithmetic gives, an infinity (NaN where the format has none). Its files are
    the safetensors files that it would be. A model that has nothing to cast is returned as it is.

    Raises:
        UnknownModelError: `dtype` or `overflow` is not one of those above.
        CastOverflowError: when reading, see above.
    """
    if dtype not in FLOATS:
        raise UnknownModelError("dtype", dtype, FLOATS)
    if overflow not in POLICIES:
        raise UnknownModelError("overflow policy", overflow, POLICIES)
    if all(not get_format(t.format).is_float or t.format == dtype for t in model.tensors.values()):
        return model
    return CastModel(model, dtype, overflow)


class CastModel(ComputedModel):
    """See `cast`."""

    def __init__(self, model: Model, dtype: str, overflow: Overflow) -> None:
        self._inner, self._dtype, self._overflow = model, dtype, overflow
        contents: dict[str, list[tuple[str, TensorInfo]]] = {}
        for file in model.files:
            name = str(PurePosixPath(file.name).with_suffix(".safetensors"))
            if name in contents:
                raise ModelError(f"{model.name}: two of its files would be called {name}; rename one of them")
            keys = [extent.tensor for extent in file.extents if extent.tensor is not None]
            contents[name] = [(key, _retyped(model.tensors[key], dtype)) for key in keys]
        # The weights in `directory` are not these; its configuration and tokenizer still are.
        origin = Origin(model.name, model.note, model.directory, model.base, model.family)
        super().__init__(origin, contents, model.ties)

    def revision(self) -> str:
        """Return the SHA-256 of the model's own revision and the cast."""
        identity = f"cast-1\0{self._inner.revision()}\0{self._dtype}\0{self._overflow}"
        return "sha256:" + hashlib.sha256(identity.encode()).hexdigest()

    def read(self, name: str) -> Array:
        """Return a tensor; one that needs no cast is a view of the original model's."""
        if self.info(name).format == self._inner.tensors[name].format:
            return self._inner.read(name)
        return super().read(name)

    def drop(self, name: str) -> None:
        """Give back what the original model holds of the tensor."""
        self._inner.drop(name)

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return cast elements, block by block: the original is never held in full beside them."""
        if self.tensors[name].format == self._inner.tensors[name].format:
            return self._inner.elements(name, start, stop)
        result = np.empty(stop - start, get_format(self._dtype).dtype)
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            block = self._inner.elements(name, first, last)
            result[first - start : last - start] = self._cast_block(name, block)
        return result

    def _cast_block(self, name: str, block: Array) -> Array:
        values = round_to(block, self._dtype)
        if self._overflow == "ieee" or not (lost := lost_values(block, values)).any():
            return values
        if self._overflow == "saturate":
            return saturated(block, values, lost)
        example = float(block[lost][0])
        raise CastOverflowError(
            f"{self.name}: tensor {name!r} has values beyond {self._dtype} (such as {example:g}); choose a "
            "wider dtype, or say what shall become of them: overflow=saturate or overflow=ieee"
        )


def _retyped(info: TensorInfo, dtype: str) -> TensorInfo:
    if not get_format(info.format).is_float:
        return info
    return replace(info, format=dtype, nbytes=math.prod(info.shape) * get_format(dtype).nbytes)
