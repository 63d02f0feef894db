"""A tiny random Llama with a tokenizer of its own, and two lm-eval tasks, all made here."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Reader = Callable[[str], np.ndarray[Any, Any]]

WORDS = [
    "codec",
    "model",
    "weight",
    "plane",
    "exponent",
    "mantissa",
    "delta",
    "chunk",
    "tensor",
    "byte",
    "entropy",
    "rate",
    "table",
    "layer",
    "grid",
    "scale",
    "noise",
    "value",
    "sign",
    "range",
    "index",
    "share",
    "block",
    "stream",
]


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(length))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Hugging Face layout: LlamaForCausalLM, hidden 32, 2 layers, fp32, BPE of 300 tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    rng = random.Random(1)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([sentence(rng, 30) for _ in range(100)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def weights(tiny_llama: Path) -> dict[str, np.ndarray[Any, Any]]:
    from safetensors.numpy import load_file

    return dict(load_file(tiny_llama / "model.safetensors"))


@pytest.fixture(scope="session")
def coarse(weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The same weights on a grid of 0.25."""
    return {name: (np.round(array * 4) / 4).astype(array.dtype) for name, array in weights.items()}


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks tiny_choice (multiple choice, 60 items) and tiny_bpb (rolling likelihood, 12 documents)."""
    folder = tmp_path_factory.mktemp("tasks")
    rng = random.Random(2)
    with (folder / "choice.jsonl").open("w") as lines:
        for _ in range(60):
            item = {"context": sentence(rng, 6), "choices": [" " + sentence(rng, 2) for _ in range(4)]}
            lines.write(json.dumps({**item, "label": rng.randrange(4)}) + "\n")
    with (folder / "documents.jsonl").open("w") as lines:
        for _ in range(12):
            lines.write(json.dumps({"text": sentence(rng, rng.randrange(10, 60))}) + "\n")
    (folder / "tiny_choice.yaml").write_text(
        f"""task: tiny_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/choice.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: context
doc_to_choice: choices
doc_to_target: label
target_delimiter: ""
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1}}
"""
    )
    (folder / "tiny_bpb.yaml").write_text(
        f"""task: tiny_bpb
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/documents.jsonl}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: text
metric_list:
  - {{metric: bits_per_byte}}
  - {{metric: byte_perplexity}}
  - {{metric: word_perplexity}}
metadata: {{version: 1}}
"""
    )
    return folder


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(3)
    file = tmp_path_factory.mktemp("text") / "heldout.jsonl"
    file.write_text("".join(json.dumps({"text": sentence(rng, 80)}) + "\n" for _ in range(6)))
    return file
