"""Models: where tensors come from.

A `Model` is a lazy set of named tensors and the weight files that they make up. `open_model` opens one from
any kind of source; `cast` gives a view of it in another float format, `quantised` its low-precision version.
"""

from .cast import cast
from .errors import (
    CastOverflowError,
    DamagedCacheError,
    DownloadError,
    MalformedFileError,
    ModelError,
    ModelNotFoundError,
    NoHubError,
    UnknownModelError,
    UnknownTensorError,
    UnsafeFileError,
    UnsupportedModelError,
)
from .hub import HubSource
from .local import LocalSource
from .model import Extent, Model, ModelFile, TensorInfo
from .quantised import quantised
from .safetensors_header import to_safetensors_header
from .sources import ModelSource, ZooSource, open_model
from .synthetic import SyntheticSource
from .wheel import WheelSource

__all__ = [
    "CastOverflowError",
    "DamagedCacheError",
    "DownloadError",
    "Extent",
    "HubSource",
    "LocalSource",
    "MalformedFileError",
    "Model",
    "ModelError",
    "ModelFile",
    "ModelNotFoundError",
    "ModelSource",
    "NoHubError",
    "SyntheticSource",
    "TensorInfo",
    "UnknownModelError",
    "UnknownTensorError",
    "UnsafeFileError",
    "UnsupportedModelError",
    "WheelSource",
    "ZooSource",
    "cast",
    "open_model",
    "quantised",
    "to_safetensors_header",
]
