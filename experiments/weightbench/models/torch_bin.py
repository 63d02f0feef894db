"""PyTorch `.bin` files (the zip format of torch.save): where each tensor lies in the file.

torch unpickles the structure with ``weights_only=True`` onto the meta device, which allocates nothing and
reads no data; the bytes then come from our own memory map. Places and sizes are checked against the zip
directory. Older files, pickles without a zip around them, are refused.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import MalformedFileError, UnsafeFileError, UnsupportedModelError
from .mapped import MappedFile, WeightFile
from .model import TensorInfo

__all__ = ["open_torch_bin"]

FORMATS = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float8_e4m3fn": "float8_e4m3fn",
    "float8_e5m2": "float8_e5m2",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint64": "uint64",
    "uint32": "uint32",
    "uint16": "uint16",
    "uint8": "uint8",
    "bool": "bool",
}
MAX_NESTING = 8
ENCRYPTED = 1  # flag bit of a zip entry
LOCAL_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor's place; a strided one has no contiguous bytes of its own."""

    info: TensorInfo
    contiguous: bool


def open_torch_bin(file: MappedFile) -> WeightFile:
    """Return the tensors of a `.bin` file and which of them share their bytes.

    Nested dictionaries give dotted names; what is not a tensor stays in the literal bytes.

    Raises:
        UnsafeFileError: the file needs code to be run, or is a pickle without a zip around it.
        MalformedFileError: the zip is damaged, or a tensor does not lie inside of its record.
        UnsupportedModelError: a tensor that is strided, overlaps another one partly, or is sparse.
    """
    records = _records(file)
    state = _load(file.path)
    stored: dict[str, _Stored] = {}
    for name, tensor in _tensors(state, file.path):
        if name in stored:
            raise MalformedFileError(file.path, f"two of its tensors are called {name!r}")
        stored[name] = _place(name, tensor, records, file.path)
    return _separate(file, stored)


def _records(file: MappedFile) -> dict[int, int]:
    """Return start and size of every record of the zip, all of them stored without compression."""
    if bytes(file.data[:4]) != b"PK\x03\x04":
        raise UnsafeFileError(
            f"{file.path}: not the zip format of torch.save; older pickles are not opened because that runs "
            "their code. Convert it where you trust it: torch.load, then safetensors.torch.save_file"
        )
    records: dict[int, int] = {}
    try:
        with zipfile.ZipFile(file.path) as archive:
            entries = archive.infolist()
            if len({entry.filename for entry in entries}) != len(entries):
                raise MalformedFileError(file.path, "its zip directory names a record twice")
            for entry in entries:
                stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
                if not stored or entry.flag_bits & ENCRYPTED:
                    raise MalformedFileError(file.path, f"its record {entry.filename!r} is compressed")
                if not 0 <= entry.header_offset <= file.nbytes - LOCAL_HEADER.size:
                    raise MalformedFileError(file.path, "its zip directory points outside of the file")
                magic, name, extra = LOCAL_HEADER.unpack_from(file.data, entry.header_offset)
                start = entry.header_offset + LOCAL_HEADER.size + name + extra
                if magic != b"PK\x03\x04" or start + entry.file_size > file.nbytes:
                    raise MalformedFileError(file.path, "its zip directory points outside of the file")
                records[start] = entry.file_size
                is_order = entry.filename.endswith("/byteorder")
                if is_order and bytes(file.data[start : start + entry.file_size]) != b"little":
                    raise UnsupportedModelError(
                        f"{file.path}: not little-endian; save it again on this machine"
                    )
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, struct.error, ValueError) as error:
        raise MalformedFileError(file.path, f"its zip directory is damaged ({error})") from error
    return records


def _load(path: Path) -> Any:
    import torch  # only here: nothing else of this package needs it

    try:
        return torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise UnsafeFileError(
            f"{path}: cannot be read without running code that it holds ({reason}). Convert it where you "
            "trust it: torch.load, then safetensors.torch.save_file"
        ) from error
    except Exception as error:  # torch raises whatever its C++ and unpickler stumble over
        raise MalformedFileError(path, f"torch cannot read it ({type(error).__name__}: {error})") from error


def _tensors(state: Any, path: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    import torch

    if depth > MAX_NESTING:
        raise UnsupportedModelError(
            f"{path}: dictionaries nested deeper than {MAX_NESTING}; save a state dict"
        )
    if isinstance(state, torch.Tensor):
        yield prefix, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, path, f"{prefix}.{key}" if prefix else str(key), depth + 1)


def _place(name: str, tensor: Any, records: dict[int, int], path: Path) -> _Stored:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise UnsupportedModelError(f"{path}: tensor {name!r} is sparse or quantised; save it dense")
    storage = tensor.untyped_storage()
    start, width = storage._checkpoint_offset, tensor.element_size()
    if tensor.numel() and (start not in records or storage.nbytes() > records[start]):
        raise MalformedFileError(path, f"tensor {name!r} does not lie in a record of the file")
    reach = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    span = reach * width if tensor.numel() else 0
    first = tensor.storage_offset() * width
    if min(first, *tensor.stride(), 0) < 0 or (span and first + span > storage.nbytes()):
        raise MalformedFileError(path, f"tensor {name!r} leaves its storage")
    shape, dtype = tuple(int(n) for n in tensor.shape), str(tensor.dtype).removeprefix("torch.")
    contiguous = bool(tensor.is_contiguous())
    if dtype not in FORMATS:  # complex, 4-bit, shell types: their bytes
        shape, dtype = (span,), "uint8"
    offset = (start + first) if span else (start or 0)
    return _Stored(TensorInfo(name, FORMATS[dtype], shape, span, offset), contiguous)


def _separate(file: MappedFile, stored: Mapping[str, _Stored]) -> WeightFile:
    """Split tensors into those that own their bytes and those whose bytes lie in another one's."""
    order = sorted(
        stored.values(), key=lambda s: (s.info.offset, -s.info.nbytes, not s.contiguous, s.info.name)
    )
    owners: list[TensorInfo] = []
    ties: dict[str, str] = {}
    for item in order:
        info, owner = item.info, owners[-1] if owners else None
        inside = owner is not None and info.offset + info.nbytes <= owner.offset + owner.nbytes
        if owner is not None and info.nbytes and inside:
            ties[info.name] = owner.name
        elif not item.contiguous:
            raise UnsupportedModelError(
                f"{file.path}: tensor {info.name!r} is stored as a strided view; "
                "make it contiguous() and save again"
            )
        elif owner is not None and info.nbytes and info.offset < owner.offset + owner.nbytes:
            raise UnsupportedModelError(
                f"{file.path}: tensors {owner.name!r} and {info.name!r} share a part of their bytes; "
                "clone() one of them and save again"
            )
        else:
            owners.append(info)
    # An empty tensor has no place of its own; at the end of the file it is in nobody's way.
    placed = [info if info.nbytes else _at(info, file.nbytes) for info in owners]
    return WeightFile(file, placed, ties)


def _at(info: TensorInfo, offset: int) -> TensorInfo:
    return TensorInfo(info.name, info.format, info.shape, 0, offset)
