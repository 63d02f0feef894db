"""A GGUF file as dense float32 tensors under Hugging Face's names.

Source: the block formats are `gguf.quants`; names and the order of the rows of q and k follow the loader of
transformers (llama.cpp interleaves the two halves of each head of Llama models for its rotary embedding).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from .computed import ComputedModel
from .errors import MalformedFileError, UnsupportedModelError
from .gguf_header import PLAIN_TYPES, GgufHeader, GgufTensor
from .mapped import MappedModel
from .model import Array, Origin, TensorInfo
from .rounding import round_to

__all__ = ["DenseGguf"]

FILE = "model.safetensors"
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
IN_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NOT_WEIGHTS = {"rope_freqs.weight"}  # derived from the configuration by transformers
PERMUTED = {"llama"}
ARCHITECTURES = PERMUTED | {"qwen2", "qwen3"}


class DenseGguf(ComputedModel):
    """Every tensor dequantised to float32 when it is read; one tensor at a time is kept."""

    def __init__(self, origin: Origin, stored: MappedModel, header: GgufHeader) -> None:
        """Name the dense tensors.

        Raises:
            UnsupportedModelError: an architecture or tensor whose Hugging Face name is not known.
            MalformedFileError: the numbers of heads do not fit the shapes.
        """
        self._stored, self._last = stored, ("", np.empty(0, np.float32))
        self._architecture = str(header.metadata.get("general.architecture", ""))
        if self._architecture not in ARCHITECTURES:
            raise UnsupportedModelError(
                f"{stored.name}: dense names are known for {', '.join(sorted(ARCHITECTURES))}, not for "
                f"{self._architecture!r}; open it without dequantize"
            )
        self._sources: dict[str, GgufTensor] = {}
        self._heads: dict[str, int] = {}
        named = []
        for tensor in header.tensors:
            if tensor.info.name in NOT_WEIGHTS:
                continue
            name = _hugging_face_name(tensor.info.name)
            self._sources[name] = tensor
            self._heads[name] = self._heads_of(tensor, header)
            nbytes = 4 * int(np.prod(tensor.shape, dtype=object))
            named.append((name, TensorInfo(name, "float32", tensor.shape, nbytes)))
        super().__init__(origin, {FILE: named})

    def revision(self) -> str:
        """Return the SHA-256 of the file's revision and of "dense"."""
        return "sha256:" + hashlib.sha256(f"gguf-dense-1\0{self._stored.revision()}".encode()).hexdigest()

    def drop(self, name: str) -> None:
        """Forget the dense tensor and the pages it was made from."""
        self.info(name)
        if self._last[0] == name:
            self._last = ("", np.empty(0, np.float32))
        self._stored.drop(self._sources[name].info.name)

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return dense elements; the whole tensor is dequantised and kept until another one is read."""
        kept, values = self._last  # read once: another thread may ask for another tensor meanwhile
        if kept != name:
            values = self._dense(name).reshape(-1)
            self._last = (name, values)
        return values[start:stop]

    def _dense(self, name: str) -> np.ndarray[Any, Any]:
        tensor = self._sources[name]
        values = self._stored.read(tensor.info.name)
        if tensor.ggml_type in PLAIN_TYPES:
            values = round_to(values, "float32")
        else:
            from gguf.constants import GGMLQuantizationType
            from gguf.quants import dequantize

            kind = GGMLQuantizationType(tensor.ggml_type)
            try:
                values = dequantize(values, kind).reshape(tensor.shape)
            except NotImplementedError:
                raise UnsupportedModelError(
                    f"{self.name}: the gguf package cannot dequantise {kind.name}; open it without dequantize"
                ) from None
        heads = self._heads[name]
        if heads:
            # (heads, half, 2, …) in llama.cpp's order back to (heads, 2, half, …)
            values = values.reshape(heads, -1, 2, *tensor.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(values).reshape(tensor.shape)

    def _heads_of(self, tensor: GgufTensor, header: GgufHeader) -> int:
        """Return how many heads have permuted rows in this tensor; 0 for tensors in their natural order."""
        part = re.search(r"\.attn_([qk])\.", tensor.info.name)
        if part is None or self._architecture not in PERMUTED:
            return 0
        key = f"{self._architecture}.attention.head_count"
        heads = header.metadata.get(key)
        if part[1] == "k":
            heads = header.metadata.get(f"{key}_kv", heads)
        if type(heads) is not int or heads <= 0 or not tensor.shape or tensor.shape[0] % (2 * heads):
            raise MalformedFileError(
                self._stored.name, f"{heads!r} heads do not fit {tensor.info.name} of shape {tensor.shape}"
            )
        return heads


def _hugging_face_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if kind in ("weight", "bias"):
        if stem in TOP:
            return f"{TOP[stem]}.{kind}"
        layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
        if layer and layer[2] in IN_LAYER:
            return f"model.layers.{layer[1]}.{IN_LAYER[layer[2]]}.{kind}"
    raise UnsupportedModelError(f"tensor {name!r} has no known Hugging Face name; open it without dequantize")
