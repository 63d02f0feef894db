"""Tensor shapes of Llama-architecture models, whole or scaled to a size.

Source: the models' published configurations. Rows are output features: a projection has shape
(outputs, inputs), the embedding (vocabulary, hidden).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import ModelError, UnknownModelError

__all__ = ["LLAMA", "LlamaShape", "llama_tensors"]

VOCABULARY_STEP = 64

Shapes = list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes that fix every tensor of a Llama model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool


LLAMA = {
    "llama2_7b": LlamaShape(4096, 11008, 32, 32, 32, 128, 32000, False),
    "llama2_13b": LlamaShape(5120, 13824, 40, 40, 40, 128, 32000, False),
    "llama3_1b": LlamaShape(2048, 8192, 16, 32, 8, 64, 128256, True),
    "llama3_3b": LlamaShape(3072, 8192, 28, 24, 8, 128, 128256, True),
    "llama3_8b": LlamaShape(4096, 14336, 32, 32, 8, 128, 128256, False),
    "llama3_70b": LlamaShape(8192, 28672, 80, 64, 8, 128, 128256, False),
    "smollm2_135m": LlamaShape(576, 1536, 30, 9, 3, 64, 49152, True),
    "tinyllama": LlamaShape(2048, 5632, 22, 32, 4, 64, 32000, False),
}


def llama_tensors(name: str, parameters: int | None = None) -> Shapes:
    """Return names and shapes of a Llama model, of at most `parameters` parameters if that is given.

    Row lengths are never changed: a larger model has more layers, a smaller one fewer of them and a
    vocabulary cut in proportion; one that cannot hold a single layer has fewer rows in each tensor.

    Raises:
        UnknownModelError: no such model.
        ModelError: not even one row of each tensor fits.
    """
    if name not in LLAMA:
        raise UnknownModelError("model shape", name, LLAMA)
    shape = LLAMA[name]
    whole = _tensors(shape, shape.layers, shape.vocabulary)
    if parameters is None:
        return whole
    share = min(1.0, parameters / count(whole))
    vocabulary = max(VOCABULARY_STEP, int(shape.vocabulary * share) // VOCABULARY_STEP * VOCABULARY_STEP)
    layer = count(_layer(shape, 0))
    layers = (parameters - count(_tensors(shape, 0, vocabulary))) // layer
    if layers >= 1:
        return _tensors(shape, layers, vocabulary)
    return _fewer_rows(_tensors(shape, 1, vocabulary), parameters, name)


def count(shapes: Shapes) -> int:
    """Return the number of parameters."""
    return sum(math.prod(shape) for _, shape in shapes)


def _fewer_rows(shapes: Shapes, parameters: int, name: str) -> Shapes:
    least = [(n, (1, *s[1:]) if len(s) > 1 else s) for n, s in shapes]
    share = (parameters - count(least)) / (count(shapes) - count(least))
    if share < 0:
        raise ModelError(f"{parameters} parameters are too few for the row lengths of {name}; ask for more")
    return [(n, (1 + int((s[0] - 1) * share), *s[1:]) if len(s) > 1 else s) for n, s in shapes]


def _tensors(shape: LlamaShape, layers: int, vocabulary: int) -> Shapes:
    tensors: Shapes = [("model.embed_tokens.weight", (vocabulary, shape.hidden))]
    for index in range(layers):
        tensors += _layer(shape, index)
    tensors.append(("model.norm.weight", (shape.hidden,)))
    if not shape.tied:
        tensors.append(("lm_head.weight", (vocabulary, shape.hidden)))
    return tensors


def _layer(shape: LlamaShape, index: int) -> Shapes:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    parts: Shapes = [
        ("input_layernorm", (shape.hidden,)),
        ("self_attn.q_proj", (queries, shape.hidden)),
        ("self_attn.k_proj", (keys, shape.hidden)),
        ("self_attn.v_proj", (keys, shape.hidden)),
        ("self_attn.o_proj", (shape.hidden, queries)),
        ("post_attention_layernorm", (shape.hidden,)),
        ("mlp.gate_proj", (shape.intermediate, shape.hidden)),
        ("mlp.up_proj", (shape.intermediate, shape.hidden)),
        ("mlp.down_proj", (shape.hidden, shape.intermediate)),
    ]
    return [(f"model.layers.{index}.{part}.weight", size) for part, size in parts]
