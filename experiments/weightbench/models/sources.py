"""Opening a model from what describes it: one frozen dataclass for each kind of source."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from .dense_folder import dense_folder
from .errors import DownloadError, UnknownModelError
from .hub import HubSource, hub_folder
from .local import LocalSource, configured_folder, open_dense_gguf, open_local, open_weights
from .model import Model, Origin
from .synthetic import SyntheticSource, open_synthetic
from .wheel import WheelSource, wheel_folder

__all__ = ["ModelSource", "ZooSource", "open_model"]


@dataclass(frozen=True, slots=True)
class ZooSource:
    """A bundled model: the name of an entry of `weightbench.zoo`."""

    name: str


ModelSource = LocalSource | HubSource | WheelSource | SyntheticSource | ZooSource


def open_model(source: ModelSource) -> Model:
    """Open a model. Headers are read and checked, weights are not.

    Raises:
        ModelError: one of its subclasses, see each kind of source.
    """
    match source:
        case LocalSource():
            return open_local(source)
        case HubSource():
            return _open_hub(source)
        case WheelSource():
            return _open_wheel(source)
        case SyntheticSource():
            return open_synthetic(source)
        case ZooSource():
            return _open_zoo(source)


def _open_hub(source: HubSource) -> Model:
    folder, commit = hub_folder(source)
    name = source.name or source.repository
    origin = Origin(name, source.note, folder, source.base, source.family)
    return open_weights(folder, origin, f"hub:{source.repository}@{commit}")


def _open_wheel(source: WheelSource) -> Model:
    path = wheel_folder(source) / source.path
    if not path.exists():
        raise DownloadError(f"{source.package} {source.version} holds no {source.path}; correct `path`")
    name = source.name or source.package
    pinned = f"wheel:{source.package}=={source.version}@sha256:{source.sha256}:{source.path}"
    if source.dense:
        gguf = Path(path)
        dense = open_dense_gguf(gguf, Origin(name), pinned)
        key = f"{source.package}-{hashlib.sha256(pinned.encode()).hexdigest()[:16]}"
        path, digest = dense_folder(dense, gguf, key)
        pinned = f"sha256:{digest}"
    origin = Origin(name, source.note, configured_folder(path), source.base, source.family)
    return open_weights(path, origin, pinned)


def _open_zoo(source: ZooSource) -> Model:
    from weightbench import zoo  # the entries are data; only their folders are asked for

    known = list(zoo.names())
    if source.name not in known:
        raise UnknownModelError("bundled model", source.name, known)
    folder = Path(zoo.directory(source.name))
    base = zoo.ZOO[source.name].base
    return open_weights(folder, Origin(source.name, "", folder, base))
