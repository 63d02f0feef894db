"""A model: a lazy, named set of tensors and the weight files that they make up."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UnknownTensorError

__all__ = ["Array", "Extent", "Model", "ModelFile", "Origin", "TensorInfo"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What is known of a tensor before reading it.

    Attributes:
        name: its name in the file.
        format: a name of `weightcodecs.formats`. Opaque types (GGUF's quantised blocks, 4- and 6-bit floats,
            scales, complex numbers) are ``"uint8"``, one-dimensional: their bytes as stored.
        shape: its dimensions.
        nbytes: its size.
        offset: where its bytes start in its `ModelFile`; -1 where it is not in a file.
    """

    name: str
    format: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of a file: those of a tensor, or literal ones (header, gap, padding; `tensor` is None).

    `tensor` is a key of `Model.tensors`. Empty tensors have an extent of no bytes.
    """

    offset: int
    nbytes: int
    tensor: str | None


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One weight file; its extents cover [0, nbytes) in order, without gap or overlap."""

    name: str
    nbytes: int
    extents: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from.

    Attributes:
        name: what the user typed, or the source's name.
        note: a caveat that must stand next to the model's numbers, or "".
        directory: a folder in Hugging Face layout (config.json, tokenizer) for evaluation, or None.
        base: the model that it was fine-tuned from, or None.
        family: what it is grouped under; its base's name, or its own, unless told otherwise.
    """

    name: str
    note: str = ""
    directory: Path | None = None
    base: str | None = None
    family: str = ""


class Model(abc.ABC):
    """A lazy set of named tensors.

    Attributes:
        name, note, directory, base, family: see `Origin`.
        tensors: in file order. If two files hold the same name, the later one's key is ``"<file>:<name>"``.
        files: the weight files; for generated and cast models the safetensors files that they would be.
        ties: tensors that share the bytes of another one (the value); they are not in `tensors`.
    """

    def __init__(
        self,
        origin: Origin,
        tensors: Mapping[str, TensorInfo],
        files: tuple[ModelFile, ...],
        ties: Mapping[str, str] | None = None,
    ) -> None:
        self.name = origin.name
        self.note = origin.note
        self.directory = origin.directory
        self.base = origin.base
        self.family = origin.family or origin.base or origin.name
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(dict(tensors))
        self.files = files
        self.ties: Mapping[str, str] = MappingProxyType(dict(ties or {}))
        self._files_by_name = {file.name: file for file in files}

    @property
    def nbytes(self) -> int:
        """Sum of the sizes of the files: what "raw" means."""
        return sum(file.nbytes for file in self.files)

    @abc.abstractmethod
    def revision(self) -> str:
        """Return the identity of the content; two models with the same revision hold the same bytes."""

    @abc.abstractmethod
    def read(self, name: str) -> Array:
        """Return a tensor as a read-only array of its shape and format: a view of the map where possible.

        Raises `UnknownTensorError`.
        """

    @abc.abstractmethod
    def read_range(self, file: str, offset: int, nbytes: int) -> memoryview:
        """Return `nbytes` bytes of a file from `offset`; raises `ValueError` outside of the file."""

    def known_sha256(self) -> Mapping[str, str]:
        """Return the SHA-256 of whole files, by name, where they are known without reading them again."""
        return {}

    def remembered_sha256(self) -> Mapping[str, str]:
        """Return those of `known_sha256` that cost no reading at all."""
        return {}

    def learn_sha256(self, digests: Mapping[str, str]) -> None:  # noqa: B027 - there may be nothing to gain
        """Take note of the SHA-256 of whole files, by name, that somebody computed from what he read here."""

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return the elements [start, stop) of a tensor in C order, one-dimensional, of its format."""
        return self.read(name).reshape(-1)[start:stop]

    def drop(self, name: str) -> None:  # noqa: B027 - a model without a memory map has nothing to give back
        """Give back the memory that reading a tensor took; arrays of it stay valid and are read again."""

    def info(self, name: str) -> TensorInfo:
        """Return what is known of a tensor; raises `UnknownTensorError`."""
        try:
            return self.tensors[name]
        except KeyError:
            raise UnknownTensorError(self.name, name, self.tensors) from None

    def file(self, name: str, offset: int = 0, nbytes: int = 0) -> ModelFile:
        """Return a file; raises `ValueError` if there is none, or the range is not inside of it."""
        found = self._files_by_name.get(name)
        if found is None:
            raise ValueError(
                f"model {self.name!r} has no file {name!r}; it has {sorted(self._files_by_name)}"
            )
        if offset < 0 or nbytes < 0 or offset + nbytes > found.nbytes:
            raise ValueError(f"{name}: [{offset}, {offset + nbytes}) is outside of its {found.nbytes} bytes")
        return found


def read_only(array: Array) -> Array:
    """Mark an array of ours as not writable and return it."""
    array.flags.writeable = False
    return array


def empty(info: TensorInfo, dtype: np.dtype[Any]) -> Array:
    """Return the read-only array of a tensor that has no elements."""
    return read_only(np.empty(info.shape, dtype))
