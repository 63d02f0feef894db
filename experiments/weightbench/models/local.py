"""Local folders and files of weights: safetensors, GGUF, PyTorch `.bin`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from .errors import MalformedFileError, ModelNotFoundError, UnsupportedModelError
from .gguf_dense import DenseGguf
from .gguf_header import parse_gguf
from .mapped import MappedModel, WeightFile, map_file
from .model import Model, Origin
from .safetensors_header import parse_header
from .torch_bin import open_torch_bin

__all__ = [
    "LocalSource",
    "configured_folder",
    "open_dense_gguf",
    "open_local",
    "open_weights",
    "weight_paths",
]

# The first kind that a folder holds is its weights; others are copies of them in another format.
PATTERNS = ("*.safetensors", "*.gguf", "pytorch_model*.bin")
INDEX = ".index.json"  # appended to a pattern
KINDS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A folder or a file of weights.

    Attributes:
        path: the folder or file.
        dequantize: give the tensors of a GGUF file as dense float32 under Hugging Face's names.
        name, note, base, family: see `Origin`; `name` defaults to the path as given.
    """

    path: str
    dequantize: bool = False
    name: str = ""
    note: str = ""
    base: str | None = None
    family: str = ""


def open_local(source: LocalSource) -> Model:
    """Open a folder or file; only headers are read.

    Raises:
        ModelNotFoundError: nothing there that holds weights.
        MalformedFileError, UnsafeFileError, UnsupportedModelError: see the formats.
    """
    path = Path(source.path).expanduser()
    origin = Origin(
        source.name or str(source.path), source.note, configured_folder(path), source.base, source.family
    )
    if not source.dequantize:
        return open_weights(path, origin)
    paths = weight_paths(path)
    if len(paths) != 1 or paths[0].suffix != ".gguf":
        raise UnsupportedModelError(f"{path}: dequantize takes one GGUF file; give the path of that file")
    return open_dense_gguf(paths[0], origin)


def configured_folder(path: Path) -> Path | None:
    """Return the folder from which transformers would load just these weights, or None if there is none."""
    folder = path if path.is_dir() else path.parent
    whole = path.is_dir() or list(folder.glob(f"*{path.suffix}")) == [path]
    return folder.absolute() if whole and (folder / "config.json").is_file() else None


def weight_paths(path: Path) -> list[Path]:
    """Return the weight files of a folder, those of an index first, or the file itself.

    Raises:
        ModelNotFoundError: no such path, or no weights in it.
        MalformedFileError: an index that names a file that is missing or outside of the folder.
    """
    if not path.is_dir():
        if not path.exists():
            raise ModelNotFoundError(
                f"there is no {path}; give a folder or a weight file ({', '.join(KINDS)})"
            )
        return [path]
    for pattern in PATTERNS:
        found = sorted(file for file in path.glob(pattern) if file.is_file())
        indexes = sorted(path.glob(pattern + INDEX))
        indexed = list(dict.fromkeys(file for index in indexes for file in _shards(index, pattern)))
        if found or indexed:
            return [*indexed, *(file for file in found if file not in indexed)]
    raise ModelNotFoundError(f"{path} holds no {', '.join(PATTERNS)}; give a folder that does")


def _index(path: Path) -> dict[str, str]:
    """Return the map from tensor names to file names of an index."""
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedFileError(path, f"it is not an index of shards ({error})") from error
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise MalformedFileError(path, "its weight_map is not a map from tensors to files")
    return weight_map


def _shards(index: Path, pattern: str) -> list[Path]:
    files = []
    for name in sorted(set(_index(index).values())):
        if Path(name).name != name or "\\" in name or "\0" in name or not fnmatchcase(name, pattern):
            raise MalformedFileError(index, f"it names {name!r}, which is not a weight file of its folder")
        if not (index.parent / name).is_file():
            raise MalformedFileError(index, f"it names {name}, which is missing")
        files.append(index.parent / name)
    return files


def open_weights(path: Path, origin: Origin, pinned: str | None = None) -> MappedModel:
    """Open a folder or file, tensors as they are stored; `pinned` is the revision if it is known."""
    parts = [_open_file(file) for file in weight_paths(path)]
    held = {part.mapped.name: {t.name for t in part.tensors} | part.ties.keys() for part in parts}
    for index in sorted(path.glob("*" + INDEX)) if path.is_dir() else []:
        for tensor, file in _index(index).items():
            if tensor not in held.get(file, {tensor}):  # an index of files of another kind is not ours
                raise MalformedFileError(index, f"it says that {tensor!r} is in {file}, where it is not")
    return MappedModel(origin, parts, pinned)


def _open_file(path: Path) -> WeightFile:
    if path.suffix not in KINDS:
        raise UnsupportedModelError(f"{path}: weight files are {', '.join(KINDS)}; give one of those")
    mapped = map_file(path)
    if path.suffix == ".safetensors":
        return WeightFile(mapped, parse_header(mapped.data, mapped.nbytes, path))
    if path.suffix == ".gguf":
        header = parse_gguf(mapped.data, mapped.nbytes, path)
        return WeightFile(mapped, [tensor.info for tensor in header.tensors])
    return open_torch_bin(mapped)


def open_dense_gguf(path: Path, origin: Origin, pinned: str | None = None) -> DenseGguf:
    """Open a GGUF file with dense float32 tensors."""
    mapped = map_file(path)
    header = parse_gguf(mapped.data, mapped.nbytes, path)
    stored = MappedModel(origin, [WeightFile(mapped, [t.info for t in header.tensors])], pinned)
    return DenseGguf(origin, stored, header)
