"""A model of mixed tensors, for the tests of what cuts models up and stores them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hypothesis
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from weightbench.models import TensorInfo
from weightbench.models.mapped import MappedModel, WeightFile, map_file
from weightbench.models.model import Origin

Array = NDArray[Any]

# CI judges a change by the same examples every time; everybody else's runs keep looking for new ones.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def write_weights(path: Path, tensors: list[tuple[str, Array]], gap: int) -> list[TensorInfo]:
    """Write tensors one after the other, `gap` odd literal bytes before and behind each."""
    infos, data = [], bytearray(b"header!" * 3)
    for name, array in tensors:
        data += bytes(range(1, gap + 1))
        if not gap:
            data += bytes(-len(data) % 8)
        infos.append(TensorInfo(name, array.dtype.name, array.shape, array.nbytes, len(data)))
        data += np.ascontiguousarray(array).reshape(-1).view(np.uint8).tobytes()
    data += b"end" * (gap > 0)
    path.write_bytes(data)
    return infos


def mapped(folder: Path, files: dict[str, list[tuple[str, Array]]], gap: int = 0) -> MappedModel:
    """A model of files that are no known format: tensors where we say."""
    parts = []
    for name, tensors in files.items():
        infos = write_weights(folder / name, tensors, gap)
        parts.append(WeightFile(map_file(folder / name), infos))
    return MappedModel(Origin("test"), parts)


def mixed_tensors() -> list[tuple[str, Array]]:
    """Many formats, shapes and bit patterns, blocks with tensors apart from each other, equal tensors."""
    rng = np.random.default_rng(7)

    def floats(*shape: int) -> Array:
        return (rng.standard_normal(shape) * 0.02).astype(np.float32)

    special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 2.0], np.float32)
    special.view(np.uint32)[0] |= 0x1234
    return [
        ("model.embed.weight", floats(37, 16)),
        ("model.layers.0.attn.q.weight", floats(24, 24).astype(ml_dtypes.bfloat16)),
        ("model.layers.1.attn.q.weight", floats(24, 24).astype(ml_dtypes.bfloat16)),
        ("model.layers.0.norm.weight", np.ones(24, np.float32)),
        ("model.layers.1.norm.weight", np.ones(24, np.float32)),
        ("model.layers.0.mlp.weight", floats(301).astype(np.float16)),
        ("model.layers.1.mlp.weight", floats(301).astype(np.float16)),
        ("model.layers.0.fp8", floats(5, 7).astype(ml_dtypes.float8_e4m3fn)),
        ("model.layers.0.double", rng.standard_normal(65)),
        ("model.position_ids", np.arange(77, dtype=np.int64)),
        ("model.mask", rng.random(33) > 0.5),
        ("special", special),
        ("scalar", np.array(0.25, np.float32)),
        ("empty", np.empty((0, 5), np.float32)),
        ("none", np.empty((3, 0), ml_dtypes.bfloat16)),
        ("lm_head.weight", floats(37, 16)),
        ("copy.weight", np.ones(24, np.float32)),
    ]


@pytest.fixture(params=["one", "gaps", "shards"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> MappedModel:
    tensors = mixed_tensors()
    if request.param == "shards":
        again = [(name, array[::-1].copy()) for name, array in tensors[:4]]
        return mapped(tmp_path, {"a.bin": tensors[:3], "b.bin": tensors[3:12], "c.bin": tensors[12:] + again})
    return mapped(tmp_path, {"weights.bin": tensors}, gap=3 if request.param == "gaps" else 0)


@pytest.fixture(name="mapped")
def _mapped() -> object:
    return mapped
