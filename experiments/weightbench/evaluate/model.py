"""One torch model that takes the original's and the restored weights in turn.

The architecture is built once from `config.json`; weights are then copied in place, tensor by tensor, so
memory holds one model and one tensor, whichever side is being looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import EvaluationError, MissingTensorError, NotEvaluable, UnknownTensorError

__all__ = ["CausalModel", "folder_weights"]

Reader = Callable[[str], NDArray[Any]]

# Buffers that old checkpoints carry and today's classes compute: causal masks and rotary tables.
_COMPUTED = re.compile(r"(\.attn|\.attention|self_attn)\.(masked_)?bias$|rotary_emb\.inv_freq$|position_ids$")


class CausalModel:
    """A causal language model with its tokenizer; `load` fills the weights.

    Attributes:
        torch_model: the transformers model, in eval mode.
        tokenizer: its tokenizer.
        max_length: the context length in tokens that the config states, or None.
    """

    def __init__(self, directory: Path | None, *, dtype: str, device: str) -> None:
        if directory is None or not (directory / "config.json").is_file():
            raise NotEvaluable("no config.json stands beside the weights, so no model can be built from them")
        _refuse_other_architectures(directory)
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        self.torch_model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=getattr(torch, dtype)
        )
        if (directory / "generation_config.json").is_file():
            self.torch_model.generation_config = GenerationConfig.from_pretrained(directory)
        self.torch_model.to(device).eval()
        self.torch_model.tie_weights()
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        except (OSError, ValueError) as error:
            raise NotEvaluable(f"the folder of the model has no usable tokenizer ({error})") from error
        self.max_length: int | None = getattr(config, "max_position_embeddings", None)

    def load(self, names: Iterable[str], read: Reader, source: str) -> None:
        """Copy the tensors into the model, widening or rounding to the model's number type.

        Args:
            names: tensor names as the checkpoint has them.
            read: gives a tensor by name.
            source: what errors call these tensors, for example "the archive".

        Raises:
            UnknownTensorError: the architecture has no place for some names.
            MissingTensorError: some of the architecture's weights are not among the names.
            EvaluationError: a tensor has another shape than the architecture.
        """
        places = self.torch_model.state_dict(keep_vars=True)
        order = {name: position for position, name in enumerate(places)}
        found: list[tuple[str, str]] = []
        unknown: list[str] = []
        for name in names:
            place = self._place(name, places)
            if place is not None:
                found.append((place, name))
            elif not _COMPUTED.search(name):
                unknown.append(name)
        if unknown:
            raise UnknownTensorError(unknown, source)
        # Tied weights share storage; the architecture's first name wins, as in transformers.
        filled: set[int] = set()
        for place, name in sorted(found, key=lambda pair: order[pair[0]]):
            if id(places[place]) not in filled:
                _copy(places[place], read(name), name, source)
                filled.add(id(places[place]))
        persistent = {id(p) for p in self.torch_model.parameters()}
        missing = [n for n, p in places.items() if id(p) in persistent and id(p) not in filled]
        if missing:
            raise MissingTensorError(missing, source)

    def _place(self, name: str, places: dict[str, Any]) -> str | None:
        """Return the model's own name: checkpoints of the bare body leave the body's prefix out."""
        prefix = self.torch_model.base_model_prefix + "."
        for candidate in (name, prefix + name, name.removeprefix(prefix)):
            if candidate in places:
                return candidate
        return None


def folder_weights(directory: Path) -> tuple[tuple[str, ...], Reader]:
    """Return (names, read) of the safetensors files of a folder, read one tensor at a time."""
    import torch
    from safetensors import safe_open

    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise EvaluationError(
            f"{directory} has no .safetensors file; pass `original` to say where the weights are"
        )
    where: dict[str, Path] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            where.update(dict.fromkeys(opened.keys(), file))

    def read(name: str) -> NDArray[Any]:
        with safe_open(where[name], framework="pt") as opened:
            tensor = opened.get_tensor(name)
        return np.asarray((tensor.to(torch.float32) if tensor.is_floating_point() else tensor).numpy())

    return tuple(where), read


def _copy(place: Any, array: NDArray[Any], name: str, source: str) -> None:
    import torch

    if tuple(place.shape) != array.shape:
        raise EvaluationError(
            f"tensor {name!r} of {source} has shape {list(array.shape)}, "
            f"the architecture wants {list(place.shape)}"
        )
    if place.dtype.is_floating_point:
        if array.dtype.kind in "iub":
            raise NotEvaluable(f"tensor {name!r} holds {array.dtype} codes: a quantised model")
        wide = np.float64 if array.dtype == np.float64 else np.float32
        with np.errstate(invalid="ignore"):  # signalling NaNs
            owned = np.array(array, dtype=wide, order="C", copy=True)
    else:
        owned = np.array(array, order="C", copy=True)
    with torch.no_grad():
        place.copy_(torch.from_numpy(owned))


def _refuse_other_architectures(directory: Path) -> None:
    """Refuse what is not a causal language model, before torch is imported."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotEvaluable(f"config.json cannot be read ({error})") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise NotEvaluable("config.json does not name a model_type")
    if config.get("quantization_config"):
        raise NotEvaluable("the checkpoint is quantised (quantization_config in config.json)")
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    architectures = config.get("architectures") or []
    if architectures and not set(CAUSAL.values()).intersection(architectures):
        raise NotEvaluable(
            f"{'/'.join(map(str, architectures))} is not a causal language model: it gives no likelihood "
            "of text; eval=tensor compares its values"
        )
    if config["model_type"] not in CAUSAL:
        raise NotEvaluable(f"transformers has no causal language model of type {config['model_type']!r}")
