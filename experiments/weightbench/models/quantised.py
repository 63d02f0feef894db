"""The low-precision checkpoint of a model, made by our quantisers when it is read.

Quantised is what the common practice (LLM.int8() and QLoRA in transformers and bitsandbytes) quantises, the
weights of linear layers: two-dimensional tensors ``X.weight`` in float16, bfloat16 or float32. Left as they
are: embeddings and the output head (a part of the name has ``embed`` or ``embd`` in it, or the layer is
called ``wte``, ``wpe``, ``shared``, ``relative_attention_bias``, ``lm_head`` or, at the top, ``cls`` or
``output``), and whatever else is not such a weight: norms, biases, convolutions, stacked experts.

- ``"int8"``: ``X.weight`` becomes int8 codes of the same shape, ``X.SCB`` float32 (rows,) is added, the
  largest magnitude of each row. A row is an index of the stored tensor's first axis.
- ``"nf4"``: ``X.weight`` becomes uint8 (⌈n / 2⌉, 1), two codes to a byte, the first in the high half;
  ``X.weight.absmax`` float32 (⌈n / 64⌉,) is added.

Names and shapes are those that bitsandbytes writes; its ``quant_state`` and ``weight_format`` entries, which
say how to load the codes, are not made. Source: `weightcodecs.quantise`, which says what is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from weightcodecs.formats import get_format
from weightcodecs.quantised import BLOCK, Quantised, quantisable

from .computed import ComputedModel
from .errors import ModelError, UnknownModelError
from .model import Array, Model, Origin, TensorInfo

__all__ = ["PRECISIONS", "Precision", "QuantisedModel", "is_linear", "quantised"]

Precision = Literal["int8", "nf4"]
PRECISIONS: tuple[Precision, ...] = ("int8", "nf4")
VERSION = 1
"""Raised when codes, scales, or the choice of tensors change: then it is another model."""

PIECE = 1 << 20  # values quantised at once, so that temporary arrays stay small
_NOTES = {"int8": "row-wise absmax INT8", "nf4": "NF4 in blocks of 64"}
_NOT_LINEAR = ("wte", "wpe", "shared", "relative_attention_bias", "lm_head")
_NOT_LINEAR_AT_TOP = ("cls", "output")


def quantised(model: Model, precision: Precision) -> Model:
    """Return the low-precision version of a checkpoint: codes and scales for its linear weights.

    Nothing is computed before it is read, and then no more than `PIECE` values or one row at a time beside
    the result. Its files are the safetensors files that it would be. It has no `directory`: what it holds
    are not the weights that the configuration describes.

    Raises:
        UnknownModelError: no such precision.
        ModelError: nothing to quantise, or a tensor has the name that scales would get.
    """
    if precision not in PRECISIONS:
        raise UnknownModelError("precision", precision, PRECISIONS)
    return QuantisedModel(model, precision)


def is_linear(info: TensorInfo) -> bool:
    """Whether a tensor is, by its name and shape, the weight of a linear layer; see the module."""
    if len(info.shape) != 2 or not info.nbytes or quantisable(get_format(info.format)):
        return False
    *layers, last = info.name.split(".")
    if last != "weight" or not layers:
        return False
    if layers[-1] in _NOT_LINEAR or layers[0] in _NOT_LINEAR_AT_TOP:
        return False
    return not any("embed" in layer or "embd" in layer for layer in layers)


@dataclass(frozen=True, slots=True)
class _Part:
    """A computed tensor: codes (or scales) of a source tensor, `values` of it for each element."""

    source: str
    scales: bool
    values: int
    group: int  # values that must be quantised together


class QuantisedModel(ComputedModel):
    """See `quantised`."""

    def __init__(self, model: Model, precision: Precision) -> None:
        self._inner, self._precision = model, precision
        self._quantise = _quantiser(precision)
        self._parts: dict[str, _Part] = {}
        contents: dict[str, list[tuple[str, TensorInfo]]] = {}
        for file in model.files:
            name = str(PurePosixPath(file.name).with_suffix(".safetensors"))
            if name in contents:
                raise ModelError(f"{model.name}: two of its files would be called {name}; rename one of them")
            keys = [extent.tensor for extent in file.extents if extent.tensor is not None]
            contents[name] = [made for key in keys for made in self._made(key)]
        if not self._parts:
            raise ModelError(f"{model.name} has no linear weights to quantise (X.weight with two dimensions)")
        note = "; ".join(filter(None, (model.note, f"{_NOTES[precision]}, made by our quantiser")))
        origin = Origin(f"{model.name}-{precision}", note, None, model.base, model.family)
        super().__init__(origin, contents, model.ties)

    def revision(self) -> str:
        """Return the SHA-256 of the model's own revision, the precision and the quantiser's version."""
        identity = f"quantised-{VERSION}\0{self._inner.revision()}\0{self._precision}"
        return "sha256:" + hashlib.sha256(identity.encode()).hexdigest()

    def read(self, name: str) -> Array:
        """Return a tensor; one that stays as it is is a view of the original model's."""
        return super().read(name) if name in self._parts else self._inner.read(name)

    def drop(self, name: str) -> None:
        """Give back what the original model holds of the tensor."""
        self._inner.drop(self._parts[name].source if name in self._parts else name)

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return codes or scales, quantising only the rows or blocks that they lie in."""
        part = self._parts.get(name)
        if part is None:
            return self._inner.elements(name, start, stop)
        source = self._inner.tensors[part.source]
        count, group = prod(source.shape), part.group
        result = np.empty(stop - start, get_format(self.tensors[name].format).dtype)
        step = max(PIECE // group, 1) * group
        first = start * part.values // group * group
        end = min(stop * part.values, count)
        for at in range(first, end if start < stop else first, step):
            last = min(at + step, -(-end // group) * group, count)
            values = self._inner.elements(part.source, at, last)
            made = self._quantise(values.reshape(-1, group) if self._precision == "int8" else values)
            flat = made.scales if part.scales else made.codes.reshape(-1)
            assert flat is not None
            base = at // part.values
            lower, upper = max(start, base), min(stop, base + flat.size)
            result[lower - start : upper - start] = flat[lower - base : upper - base]
        return result

    def _made(self, key: str) -> list[tuple[str, TensorInfo]]:
        """Return what a source tensor becomes: itself, or codes and scales."""
        info = self._inner.tensors[key]
        if not is_linear(info):
            return [(key, info)]
        count = prod(info.shape)
        if self._precision == "int8":
            group, width, ending = info.shape[1], 1, ".SCB"
            codes = replace(info, format="int8", nbytes=count)
            stem, named = key.removesuffix(".weight"), info.name.removesuffix(".weight")
        else:
            group, width, ending = BLOCK, 2, ".absmax"
            packed = -(-count // 2)
            codes = replace(info, format="uint8", shape=(packed, 1), nbytes=packed)
            stem, named = key, info.name
        if stem + ending in self._inner.tensors:
            raise ModelError(f"{self._inner.name} has a tensor {stem + ending!r} already; is it quantised?")
        groups = -(-count // group)
        scales = TensorInfo(named + ending, "float32", (groups,), 4 * groups)
        self._parts[key] = _Part(key, scales=False, values=width, group=group)
        self._parts[stem + ending] = _Part(key, scales=True, values=group, group=group)
        return [(key, codes), (stem + ending, scales)]


def _quantiser(precision: Precision) -> Callable[[Array], Quantised]:
    from weightcodecs.quantise import quantise_int8, quantise_nf4  # loads Numba

    return quantise_int8 if precision == "int8" else quantise_nf4
