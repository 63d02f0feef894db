"""The header of safetensors files, parsed strictly and written as the official library writes it.

Source: the format's specification and the checks of the official Rust implementation: 8 bytes little-endian
header length, a JSON object, then the tensors' bytes, which must cover the rest of the file exactly. On top
of those, duplicate keys are refused (the specification asks for it). Names and sizes are checked before any
data is touched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from weightcodecs.formats import get_format

from .errors import MalformedFileError
from .model import TensorInfo

__all__ = ["MAX_HEADER_BYTES", "arrange", "parse_header", "to_safetensors_header"]

MAX_HEADER_BYTES = 100_000_000
MAX_DIMENSIONS = 64  # NumPy's limit
MAX_ARRAY_BYTES = 2**62

FORMATS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
OPAQUE_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "C64": 64,
}
DTYPES = {name: dtype for dtype, name in FORMATS.items()}
KNOWN = FORMATS.keys() | OPAQUE_BITS.keys()


def parse_header(data: Any, nbytes: int, file: object) -> tuple[TensorInfo, ...]:
    """Return the tensors of a safetensors file in the order of their bytes; offsets count from its start.

    Args:
        data: something sliceable to bytes that holds the file (bytes, mmap); only the header is touched.
        nbytes: the size of the file.
        file: what error messages call it.

    Raises:
        MalformedFileError: the header breaks a rule of the format.
    """
    if nbytes < 8:
        raise MalformedFileError(file, f"{nbytes} bytes are too few for a safetensors header")
    length = int.from_bytes(bytes(data[:8]), "little")
    if length > MAX_HEADER_BYTES:
        raise MalformedFileError(
            file, f"its header says it is {length} bytes long; at most 100 MB are allowed"
        )
    if length > nbytes - 8:
        raise MalformedFileError(file, f"its header says it is {length} bytes long, the file has {nbytes}")
    raw = bytes(data[8 : 8 + length])
    if not raw.startswith(b"{"):
        raise MalformedFileError(file, "its header does not start with '{'")
    entries = _load_json(raw, file)
    _check_metadata(entries.pop("__metadata__", None), file)
    start = 8 + length
    tensors = [_tensor(name, entry, start, nbytes - start, file) for name, entry in entries.items()]
    tensors.sort(key=lambda t: (t.offset, t.nbytes))
    end = start
    for tensor in tensors:
        if tensor.offset != end:
            problem = "overlaps the tensor before it" if tensor.offset < end else "leaves a hole before it"
            raise MalformedFileError(file, f"tensor {tensor.name!r} {problem}")
        end += tensor.nbytes
    if end != nbytes:
        raise MalformedFileError(file, f"its tensors end at byte {end}, the file at {nbytes}")
    return tuple(tensors)


def _load_json(raw: bytes, file: object) -> dict[str, Any]:
    try:
        parsed = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise MalformedFileError(file, "its header is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, duplicate keys, an endless number
        raise MalformedFileError(file, f"its header is not valid JSON in UTF-8 ({error})") from None
    if not isinstance(parsed, dict):
        raise MalformedFileError(file, "its header is not a JSON object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"duplicate key {name!r}")
            seen.add(name)
    return mapping


def _integer(text: str) -> int | float:
    # "-0" is an integer to Python and none to the official parser; a float is refused wherever it matters.
    return float(text) if text.startswith("-") else int(text)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _check_metadata(metadata: Any, file: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise MalformedFileError(file, "its __metadata__ is not a map from text to text")


def _tensor(name: str, entry: Any, start: int, room: int, file: object) -> TensorInfo:
    def refuse(why: str) -> MalformedFileError:
        return MalformedFileError(file, f"tensor {name!r}: {why}")

    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise refuse("its name is not valid Unicode") from None
    if not isinstance(entry, dict):
        raise refuse("its entry is not an object")
    missing = {"dtype", "shape", "data_offsets"} - set(entry)
    if missing:
        raise refuse(f"its entry lacks {', '.join(sorted(missing))}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in KNOWN:
        raise refuse(f"its dtype {dtype!r} is none of safetensors'")
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise refuse(f"its shape is not a list of at most {MAX_DIMENSIONS} non-negative integers")
    if not _sizes(offsets) or len(offsets) != 2:
        raise refuse("its data_offsets are not two non-negative integers")
    begin, end = offsets
    if not begin <= end <= room:
        raise refuse(f"its data_offsets [{begin}, {end}] are not inside of the {room} bytes of data")
    bits = OPAQUE_BITS[dtype] if dtype in OPAQUE_BITS else get_format(FORMATS[dtype]).bits
    if math.prod(size for size in shape if size) * bits > MAX_ARRAY_BYTES * 8:
        raise refuse("its shape is too large for any array")
    size_bits = math.prod(shape) * bits
    if size_bits % 8 or size_bits // 8 != end - begin:
        raise refuse(f"shape {tuple(shape)} of {dtype} needs {size_bits / 8:g} bytes, it has {end - begin}")
    if dtype in OPAQUE_BITS:
        return TensorInfo(name, "uint8", (end - begin,), end - begin, start + begin)
    return TensorInfo(name, FORMATS[dtype], tuple(shape), end - begin, start + begin)


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def arrange(tensors: Iterable[TensorInfo]) -> list[TensorInfo]:
    """Return the tensors in the order of the file: widest elements first, which keeps all of them aligned."""
    return sorted(tensors, key=lambda t: -get_format(t.format).nbytes)


def to_safetensors_header(tensors: Iterable[TensorInfo], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return length and header of a safetensors file that holds `tensors`, one after the other as given.

    The header is padded with spaces to a multiple of 8 bytes, as the official library does; pass the tensors
    through `arrange` first, so that each starts at a multiple of its element size.

    Raises:
        ValueError: a name occurs twice or is ``"__metadata__"``.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for tensor in tensors:
        if tensor.name in entries or tensor.name == "__metadata__":
            raise ValueError(f"a safetensors file cannot hold two entries called {tensor.name!r}")
        entries[tensor.name] = {
            "dtype": DTYPES[tensor.format],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
