"""Token streams and the training step, shared by pretraining and fine-tuning."""

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from weightbench.zoo.train.corpus import documents
from weightbench.zoo.train.tokenizer import TOKENIZER_FILES, decode, encode

__all__ = ["CONTEXT", "HeldOut", "held_out", "save", "token_stream", "train_step", "windows"]

CONTEXT = 256


def token_stream(work: Path, domains: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """All training documents as one int64 vector: ``<s> document </s> <s> document </s> …``."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    pieces: list[int] = []
    for domain in domains:
        for text in documents(work, domain, "train"):
            pieces.extend((bos, *encode(tokenizer, text), eos))
    return torch.from_numpy(np.asarray(pieces, dtype=np.int64))


def windows(stream: torch.Tensor, batch: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches ``(batch, CONTEXT + 1)``: every epoch a new phase and a new order, no window twice."""
    generator = np.random.default_rng(seed)
    while True:
        phase = int(generator.integers(CONTEXT))
        starts = np.arange(phase, len(stream) - CONTEXT - 1, CONTEXT)
        generator.shuffle(starts)
        for i in range(0, len(starts) - batch + 1, batch):
            yield torch.stack([stream[start : start + CONTEXT + 1] for start in starts[i : i + batch]])


def _loss(model: torch.nn.Module, tokens: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits.float()
    return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction=reduction)


def train_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tokens: torch.Tensor) -> float:
    """A step with fp32 weights, gradients and moments, bf16 matrix products; gives the loss in nats."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _loss(model, tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


class HeldOut:
    """A fixed slice of one domain's held-out text, for the loss curves (the tasks use all of it)."""

    def __init__(self, work: Path, domain: str, tokenizer: PreTrainedTokenizerBase, count: int = 32) -> None:
        texts = documents(work, domain, "heldout")
        pieces: list[int] = []
        for text in texts:
            pieces.extend((tokenizer.bos_token_id, *encode(tokenizer, text)))
        stream = torch.tensor(pieces)
        starts = np.linspace(0, len(stream) - CONTEXT - 1, count).astype(int)
        self.domain = domain
        self.tokens = torch.stack([stream[start : start + CONTEXT + 1] for start in starts])
        scored = [decode(tokenizer, row[1:].tolist()) for row in self.tokens]
        self.bytes = sum([len(text.encode()) for text in scored])

    @torch.no_grad()
    def bits_per_byte(self, model: torch.nn.Module) -> float:
        """Bits per byte of the model (fp32) on the slice."""
        model.eval()
        nats = math.fsum([float(_loss(model, rows, "sum")) for rows in torch.split(self.tokens, 8)])
        model.train()
        return nats / math.log(2) / self.bytes


def held_out(work: Path, domains: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[HeldOut]:
    """One slice a domain."""
    return [HeldOut(work, domain, tokenizer) for domain in domains]


def save(model: PreTrainedModel, tokenizer: Path, out: Path) -> None:
    """Write a folder in Hugging Face layout; the tokenizer's files are copied as they are."""
    model.save_pretrained(out)
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / name, out / name)
    # safetensors writes with mode 0600
    (out / "model.safetensors").chmod(0o644)
