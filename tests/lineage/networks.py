"""Small networks with seeds, their fine-tunes, and model cards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from weightbench.models import Model

Array = NDArray[Any]
Tensors = dict[str, Array]
Make = Callable[..., Model]
BF16 = ml_dtypes.bfloat16


def weights(
    seed: int, *, layers: int = 4, vocabulary: int = 256, width: int = 64, dtype: Any = np.float32
) -> Tensors:
    """A small network of Llama's naming, drawn with a seed."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Array:
        return (rng.standard_normal(shape) * 0.02).astype(dtype)

    tensors = {"model.embed_tokens.weight": drawn(vocabulary, width)}
    for i in range(layers):
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"model.layers.{i}.self_attn.{part}.weight"] = drawn(width, width)
        tensors[f"model.layers.{i}.input_layernorm.weight"] = (1 + rng.standard_normal(width) * 0.1).astype(
            dtype
        )
    tensors["model.norm.weight"] = (1 + rng.standard_normal(width) * 0.1).astype(dtype)
    return tensors


def tuned(base: Mapping[str, Array], seed: int, by: float = 3e-4) -> Tensors:
    """A fine-tune: every value moved by N(0, by²)."""
    rng = np.random.default_rng(seed)
    return {
        name: (values.astype(np.float64) + rng.standard_normal(values.shape) * by).astype(values.dtype)
        for name, values in base.items()
    }


def front(**fields: object) -> str:
    return (
        "---\n"
        + "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items())
        + "---\n# A model\n"
    )
