"""Low-precision checkpoints: what is quantised, that it is what the quantisers give, files, identity."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save_file

from weightbench.models import (
    LocalSource,
    Model,
    ModelError,
    SyntheticSource,
    TensorInfo,
    UnknownModelError,
    UnknownTensorError,
    ZooSource,
    open_model,
    quantised,
)
from weightbench.models.computed import ComputedModel
from weightbench.models.model import Array, Origin
from weightbench.models.quantised import Precision, is_linear
from weightcodecs.quantise import quantise_int8, quantise_nf4

Reassemble = Callable[[Model], dict[str, bytes]]

LINEAR = [
    "model.layers.0.self_attn.q_proj.weight",
    "transformer.h.3.attn.c_attn.weight",
    "bert.encoder.layer.0.attention.output.dense.weight",
    "model.layers.0.block_sparse_moe.gate.weight",
    "transformer.h.0.mlp.dense_4h_to_h.weight",
    "blk.0.ffn_down.weight",
    "pooler.dense.weight",
]
OTHERS = [
    "model.embed_tokens.weight",
    "lm_head.weight",
    "embed_out.weight",
    "transformer.wte.weight",
    "wpe.weight",
    "shared.weight",
    "embeddings.position_embeddings.weight",
    "token_embd.weight",
    "output.weight",
    "cls.predictions.decoder.weight",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    "model.layers.0.q_proj.bias",
    "weight",
]


@pytest.mark.parametrize("name", LINEAR + OTHERS)
def test_linear_weights_are_told_by_their_names(name: str) -> None:
    assert is_linear(TensorInfo(name, "bfloat16", (4, 6), 48)) == (name in LINEAR)


@pytest.mark.parametrize(
    ("format", "shape"),
    [("bfloat16", (8,)), ("float16", (2, 3, 4)), ("float64", (4, 4)), ("int8", (4, 4)), ("float32", (0, 4))],
)
def test_only_matrices_of_the_quantisers_formats_are_quantised(format: str, shape: tuple[int, ...]) -> None:
    nbytes = int(np.prod(shape)) * 2
    assert not is_linear(TensorInfo("layer.weight", format, shape, nbytes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    tensors = {
        "layers.0.up.weight": rng.standard_normal((700, 1601)).astype(np.float32),
        "layers.0.down.weight": rng.standard_normal((33, 129)).astype(ml_dtypes.bfloat16),
        "layers.0.odd.weight": rng.standard_normal((1, 77)).astype(np.float16),
        "layers.0.up.bias": rng.standard_normal(700).astype(np.float32),
        "embed_tokens.weight": rng.standard_normal((50, 8)).astype(np.float16),
        "ids": np.arange(3),
    }
    tensors["layers.0.down.weight"][3] = 0
    tensors["layers.0.odd.weight"][0, 5] = np.inf
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_codes_and_scales_are_those_of_the_quantisers(
    folder: Path, precision: Precision, reassemble: Reassemble
) -> None:
    original = open_model(LocalSource(str(folder)))
    low = quantised(original, precision)
    (content,) = reassemble(low).values()
    loaded = load(content)
    assert loaded.keys() == low.tensors.keys()
    for name in ("layers.0.up", "layers.0.down", "layers.0.odd"):
        values = original.read(f"{name}.weight")
        if precision == "int8":
            want = quantise_int8(values)
            scales = loaded[f"{name}.SCB"]
        else:
            want = quantise_nf4(values)
            scales = loaded[f"{name}.weight.absmax"]
        assert want.scales is not None
        codes = loaded[f"{name}.weight"]
        assert codes.dtype == want.codes.dtype
        assert codes.shape == (values.shape if precision == "int8" else (-(-values.size // 2), 1))
        assert codes.tobytes() == want.codes.tobytes()
        assert scales.shape == want.scales.shape
        assert scales.tobytes() == want.scales.tobytes()
    for name in ("layers.0.up.bias", "embed_tokens.weight", "ids"):
        assert loaded[name].tobytes() == original.read(name).tobytes()
    for name in low.tensors:
        low.drop(name)
    with pytest.raises(UnknownTensorError):
        low.read("layers.0.up.SCBs")


class Renamed(ComputedModel):
    """A model whose tensors are called as the weights of linear layers are."""

    def __init__(self, model: Model) -> None:
        self._inner = model
        named = [(f"{key}.weight", replace(t, name=f"{key}.weight")) for key, t in model.tensors.items()]
        super().__init__(Origin("renamed"), {"model.safetensors": named})

    def revision(self) -> str:
        return "renamed"

    def elements(self, name: str, start: int, stop: int) -> Array:
        return self._inner.elements(name.removesuffix(".weight"), start, stop)


@settings(max_examples=40)
@given(st.data())
def test_any_range_of_elements_is_part_of_the_whole(data: st.DataObject) -> None:
    shape = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 200)))
    model = Renamed(open_model(SyntheticSource(shapes=[shape])))
    low = quantised(model, data.draw(st.sampled_from(["int8", "nf4"])))
    for name in low.tensors:
        whole = low.read(name).reshape(-1)
        start = data.draw(st.integers(0, whole.size))
        stop = data.draw(st.integers(start, whole.size))
        assert low.elements(name, start, stop).tobytes() == whole[start:stop].tobytes()


def test_identity_and_origin() -> None:
    model = open_model(ZooSource("llama_kjv_1e-5"))
    int8, nf4 = quantised(model, "int8"), quantised(model, "nf4")
    assert len({model.revision(), int8.revision(), nf4.revision()}) == 3
    assert quantised(model, "int8").revision() == int8.revision()
    assert (int8.name, int8.family, int8.base) == ("llama_kjv_1e-5-int8", model.family, model.base)
    assert int8.directory is None
    assert "INT8" in int8.note
    assert 0.30 < nf4.nbytes / model.nbytes < int8.nbytes / model.nbytes < 0.52


def test_large_models_are_quantised_a_piece_at_a_time() -> None:
    model = open_model(SyntheticSource(shapes="llama3_8b", nbytes=10**10))
    low = quantised(model, "int8")
    name = "model.layers.0.mlp.down_proj.weight"
    low.elements(name, 0, 1)  # compiles
    info = low.tensors[name]
    assert info.nbytes > 50e6
    tracemalloc.start()
    try:
        assert len(low.read_range("model.safetensors", info.offset + 10_000_000, 1000)) == 1000
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_refusals(tmp_path: Path) -> None:
    model = open_model(ZooSource("llama"))
    with pytest.raises(UnknownModelError, match="did you mean 'int8'"):
        quantised(model, "int")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no linear weights"):
        quantised(quantised(model, "int8"), "nf4")
    values = np.ones((2, 2), np.float16)
    save_file({"a.weight": values, "a.SCB": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"'a\.SCB' already"):
        quantised(open_model(LocalSource(str(tmp_path))), "int8")
