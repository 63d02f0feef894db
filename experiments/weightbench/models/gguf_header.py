"""The header of GGUF files, parsed with every count and size checked against the file before it is used.

Source: the GGUF specification, versions 2 and 3, little-endian. The reader of the `gguf` package is not used
for this: it trusts counts and offsets. Arrays in the metadata (vocabularies) are skipped, not read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from weightcodecs.formats import get_format

from .errors import MalformedFileError, UnsupportedModelError
from .model import TensorInfo

__all__ = ["GgufHeader", "GgufTensor", "parse_gguf"]

DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4  # ggml's own limit
MAX_NESTING = 4
MAX_ELEMENTS = 2**62
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
PLAIN_TYPES = {
    0: "float32",
    1: "float16",
    24: "int8",
    25: "int16",
    26: "int32",
    27: "int64",
    28: "float64",
    30: "bfloat16",
}

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor of a GGUF file: its stored bytes (`info`), ggml type, and logical shape, rows first."""

    info: TensorInfo
    ggml_type: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Scalars and texts of the metadata, and the tensors in the order of the header."""

    metadata: dict[str, Scalar]
    tensors: tuple[GgufTensor, ...]


class _Cursor:
    """Reads forward through a file, never past its end."""

    def __init__(self, data: Any, nbytes: int, file: object) -> None:
        self.data, self.nbytes, self.file, self.position = data, nbytes, file, 0

    def take(self, layout: str) -> Any:
        size = struct.calcsize(layout)
        self.need(size)
        (value,) = struct.unpack_from(layout, self.data, self.position)
        self.position += size
        return value

    def need(self, nbytes: int) -> None:
        if nbytes > self.nbytes - self.position:
            raise MalformedFileError(self.file, f"its header runs past the end at byte {self.position}")

    def text(self) -> str:
        size = self.take("<Q")
        self.need(size)
        raw = bytes(self.data[self.position : self.position + size])
        self.position += size
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedFileError(self.file, "a text in its header is not UTF-8") from None

    def skip_array(self, depth: int = 0) -> None:
        if depth == MAX_NESTING:
            raise MalformedFileError(self.file, "arrays in its metadata are nested too deeply")
        kind, count = self.take("<I"), self.take("<Q")
        if kind in SCALARS:
            size = count * struct.calcsize("<" + SCALARS[kind])
            self.need(size)
            self.position += size
            return
        if kind not in (STRING, ARRAY):
            raise MalformedFileError(self.file, f"its metadata has a value of unknown type {kind}")
        self.need(count * (8 if kind == STRING else 12))  # the least that so many elements take
        for _ in range(count):
            if kind == ARRAY:
                self.skip_array(depth + 1)
            else:
                size = self.take("<Q")
                self.need(size)
                self.position += size


def parse_gguf(data: Any, nbytes: int, file: object) -> GgufHeader:
    """Return metadata and tensors of a GGUF file.

    Args:
        data: the file (bytes or mmap); only its header is touched.
        nbytes: the size of the file.
        file: what error messages call it.

    Raises:
        MalformedFileError: the header breaks a rule of the format.
        UnsupportedModelError: big-endian, version 1, or a tensor type that is not known.
    """
    cursor = _Cursor(data, nbytes, file)
    if cursor.take("<I") != 0x46554747:
        raise MalformedFileError(file, "it does not start with 'GGUF'")
    version = cursor.take("<I")
    if version not in (2, 3):
        raise UnsupportedModelError(
            f"{file}: GGUF version {version} (or big-endian); convert it to version 3"
        )
    tensor_count, pair_count = cursor.take("<Q"), cursor.take("<Q")
    cursor.need(24 * tensor_count + 13 * pair_count)  # the least that so many entries take
    metadata = _metadata(cursor, pair_count)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise MalformedFileError(file, f"its alignment {alignment!r} is not a power of two")
    entries = [_entry(cursor) for _ in range(tensor_count)]
    if len({name for name, *_ in entries}) != tensor_count:
        raise MalformedFileError(file, "two of its tensors have the same name")
    start = -(-cursor.position // alignment) * alignment
    return GgufHeader(metadata, tuple(_tensor(cursor, start, alignment, *entry) for entry in entries))


def _metadata(cursor: _Cursor, count: int) -> dict[str, Scalar]:
    metadata: dict[str, Scalar] = {}
    seen: set[str] = set()
    for _ in range(count):
        key, kind = cursor.text(), cursor.take("<I")
        if key in seen:
            raise MalformedFileError(cursor.file, f"its metadata has {key!r} twice")
        seen.add(key)
        if kind == ARRAY:
            cursor.skip_array()
        elif kind == STRING:
            metadata[key] = cursor.text()
        elif kind in SCALARS:
            metadata[key] = cursor.take("<" + SCALARS[kind])
        else:
            raise MalformedFileError(cursor.file, f"its metadata {key!r} has the unknown type {kind}")
    return metadata


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, rank = cursor.text(), cursor.take("<I")
    if rank > MAX_DIMENSIONS:
        raise MalformedFileError(cursor.file, f"tensor {name!r} has {rank} dimensions")
    shape = tuple(cursor.take("<Q") for _ in range(rank))[::-1]  # ggml lists the fastest dimension first
    return name, shape, cursor.take("<I"), cursor.take("<Q")


def _tensor(
    cursor: _Cursor, start: int, alignment: int, name: str, shape: tuple[int, ...], kind: int, offset: int
) -> GgufTensor:
    def refuse(why: str) -> MalformedFileError:
        return MalformedFileError(cursor.file, f"tensor {name!r}: {why}")

    if math.prod(size for size in shape if size) > MAX_ELEMENTS:
        raise refuse("its shape is too large for any array")
    elements = math.prod(shape)
    block, block_bytes = _block(kind, name, cursor.file)
    if (shape[-1] if shape else 1) % block:
        raise refuse(f"its rows are not a multiple of {block} values, the block of its type")
    nbytes = elements // block * block_bytes
    if offset % alignment:
        raise refuse(f"its offset {offset} is not a multiple of the alignment {alignment}")
    if start + offset + nbytes > cursor.nbytes:
        raise refuse("its bytes lie outside of the file")
    stored = (PLAIN_TYPES[kind], shape) if kind in PLAIN_TYPES else ("uint8", (nbytes,))
    return GgufTensor(TensorInfo(name, *stored, nbytes, start + offset), kind, shape)


def _block(kind: int, name: str, file: object) -> tuple[int, int]:
    """Return values and bytes of one block of a ggml type."""
    if kind in PLAIN_TYPES:
        return 1, get_format(PLAIN_TYPES[kind]).nbytes
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # only quantised files need the package

    try:
        values, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise UnsupportedModelError(
            f"{file}: tensor {name!r} has ggml type {kind}, which the installed gguf package does not know; "
            "upgrade it: pip install -U gguf"
        ) from None
    return int(values), int(nbytes)
