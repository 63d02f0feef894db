"""GGUF: stored and dense tensors, and headers that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightbench.models import (
    LocalSource,
    MalformedFileError,
    Model,
    ModelError,
    UnsupportedModelError,
    open_model,
)
from weightbench.models.gguf_header import parse_gguf

Reassemble = Callable[[Model], dict[str, bytes]]
HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 4, 2, 8, 64


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows as llama.cpp's converter does."""
    return weights.reshape(heads, 2, -1, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def hugging_face_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = {
        "model.embed_tokens.weight": (96, HIDDEN),
        "model.layers.0.self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.self_attn.k_proj.bias": (KV_HEADS * HEAD_DIM,),
        "model.layers.0.mlp.down_proj.weight": (HIDDEN, 32),
        "model.norm.weight": (HIDDEN,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write(path: Path, architecture: str = "llama") -> dict[str, np.ndarray]:
    """Write a small model in several ggml types; return the dense tensors that it stands for."""
    dense = hugging_face_tensors()
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_token_list([b"<s>", b"hello", "ü".encode()])
    writer.add_array("nested.numbers", [1, 2, 3])

    def add(name: str, key: str, kind: GGMLQuantizationType, heads: int = 0) -> None:
        data = quants.quantize(dense[key], kind)
        dense[key] = np.asarray(quants.dequantize(data, kind), np.float32).reshape(dense[key].shape)
        stored = dense[key]
        if heads and architecture == "llama":
            stored = permuted(stored, heads)
        writer.add_tensor(name, quants.quantize(stored, kind), raw_dtype=kind)

    kinds = GGMLQuantizationType
    add("token_embd.weight", "model.embed_tokens.weight", kinds.Q8_0)
    add("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", kinds.BF16, HEADS)
    add("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", kinds.Q8_0, KV_HEADS)
    add("blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias", kinds.F32, KV_HEADS)
    add("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight", kinds.F16)
    add("output_norm.weight", "model.norm.weight", kinds.F32)
    writer.add_tensor("rope_freqs.weight", np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return dense


def test_stored_tensors(tmp_path: Path, reassemble: Reassemble) -> None:
    path = tmp_path / "tiny.gguf"
    write(path)
    model = open_model(LocalSource(str(tmp_path)))
    assert reassemble(model) == {"tiny.gguf": path.read_bytes()}
    reader = GGUFReader(path)
    assert {t.name for t in reader.tensors} == set(model.tensors)
    for tensor in reader.tensors:
        info = model.tensors[tensor.name]
        assert info.offset == tensor.data_offset
        assert model.read(tensor.name).tobytes() == tensor.data.tobytes()
    formats = {name: (t.format, t.shape) for name, t in model.tensors.items()}
    assert formats["token_embd.weight"] == ("uint8", (96 * HIDDEN // 32 * 34,))
    assert formats["blk.0.attn_q.weight"] == ("bfloat16", (HEADS * HEAD_DIM, HIDDEN))
    assert formats["blk.0.ffn_down.weight"] == ("float16", (HIDDEN, 32))
    assert formats["output_norm.weight"] == ("float32", (HIDDEN,))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_dense_tensors_have_hugging_face_names_and_order(
    tmp_path: Path, reassemble: Reassemble, architecture: str
) -> None:
    path = tmp_path / "tiny.gguf"
    expected = write(path, architecture)
    model = open_model(LocalSource(str(path), dequantize=True))
    assert set(model.tensors) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(model.read(name), values)
        assert model.read(name).dtype == np.float32
    assert set(reassemble(model)) == {"model.safetensors"}
    assert model.revision() != open_model(LocalSource(str(path))).revision()
    model.drop("model.norm.weight")


def test_dense_refuses_what_it_cannot_name(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "gemma")
    with pytest.raises(UnsupportedModelError, match=r"'gemma'.*without dequantize"):
        open_model(LocalSource(str(tmp_path / "a.gguf"), dequantize=True))
    writer = GGUFWriter(tmp_path / "b.gguf", "llama")
    writer.add_tensor("blk.0.ffn_gate_exps.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModelError, match="no known Hugging Face name"):
        open_model(LocalSource(str(tmp_path / "b.gguf"), dequantize=True))
    with pytest.raises(UnsupportedModelError, match="takes one GGUF file"):
        open_model(LocalSource(str(tmp_path), dequantize=True))


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tensor(name: bytes = b"t", dims: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(
    tensors: bytes = b"",
    pairs: bytes = b"",
    counts: tuple[int, int] = (0, 0),
    data: int = 64,
    version: int = 3,
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + pairs + tensors
    return head + bytes(-len(head) % 32 + data)


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


ARRAY_HEAD = struct.pack("<IQ", 9, 1)
MALFORMED = {
    "empty": b"",
    "three bytes": b"GGU",
    "another magic": b"GGML" + bytes(60),
    "cut after the magic": b"GGUF",
    "many tensors": gguf(counts=(2**62, 0)),
    "many pairs": gguf(counts=(0, 2**62)),
    "more tensors than there are": gguf(tensor(), counts=(3, 0)),
    "name beyond the end": gguf(struct.pack("<Q", 2**63), counts=(1, 0)),
    "key not UTF-8": gguf(pairs=pair(b"\xff", 4, bytes(4)), counts=(0, 1)),
    "key twice": gguf(pairs=pair(b"k", 4, bytes(4)) * 2, counts=(0, 2)),
    "value of unknown type": gguf(pairs=pair(b"k", 77, bytes(4)), counts=(0, 1)),
    "array beyond the end": gguf(pairs=pair(b"k", 9, struct.pack("<IQ", 10, 2**61)), counts=(0, 1)),
    "array of texts beyond the end": gguf(pairs=pair(b"k", 9, struct.pack("<IQ", 8, 2**61)), counts=(0, 1)),
    "array of unknown type": gguf(pairs=pair(b"k", 9, struct.pack("<IQ", 99, 0)), counts=(0, 1)),
    "array in array in array": gguf(pairs=pair(b"k", 9, ARRAY_HEAD * 9), counts=(0, 1), data=512),
    "alignment 0": gguf(pairs=pair(b"general.alignment", 4, bytes(4)), counts=(0, 1)),
    "alignment 24": gguf(pairs=pair(b"general.alignment", 4, struct.pack("<I", 24)), counts=(0, 1)),
    "alignment is text": gguf(pairs=pair(b"general.alignment", 8, text(b"32")), counts=(0, 1)),
    "tensor twice": gguf(tensor() * 2, counts=(2, 0)),
    "nine dimensions": gguf(tensor(dims=(1,) * 9), counts=(1, 0)),
    "product beyond 2^64": gguf(tensor(dims=(2**32, 2**32)), counts=(1, 0)),
    "huge beside zero": gguf(tensor(dims=(2**63, 0)), counts=(1, 0)),
    "row of half a block": gguf(tensor(dims=(16,), kind=8), counts=(1, 0)),
    "offset not aligned": gguf(tensor(offset=4), counts=(1, 0)),
    "offset beyond the end": gguf(tensor(offset=2**63), counts=(1, 0)),
    "data beyond the end": gguf(tensor(dims=(17,)), counts=(1, 0)),
    "overlap": gguf(tensor(dims=(16,)) + tensor(b"u", offset=32), counts=(2, 0)),
    "the same bytes twice": gguf(tensor() + tensor(b"u"), counts=(2, 0)),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(MalformedFileError):
        open_model(LocalSource(str(path)))


@pytest.mark.parametrize(
    "content", [gguf(version=1), gguf(version=3 << 24), gguf(tensor(kind=5), counts=(1, 0))]
)
def test_unsupported_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError):
        open_model(LocalSource(str(path)))


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_headers_are_refused_or_consistent(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    if not path.exists():
        write(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 700))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content), 300, 900, len(content) - 1]))]
    try:
        header = parse_gguf(bytes(content), len(content), "x")
    except ModelError:
        return
    for found in header.tensors:
        assert 0 <= found.info.offset <= found.info.offset + found.info.nbytes <= len(content)


def test_bfloat16_is_read_as_such(tmp_path: Path) -> None:
    write(tmp_path / "tiny.gguf")
    assert open_model(LocalSource(str(tmp_path))).read("blk.0.attn_q.weight").dtype == ml_dtypes.bfloat16
