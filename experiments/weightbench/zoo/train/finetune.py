"""Fine-tune every model that ``weightbench.zoo.ZOO`` lists, all weights, from the base.

    python -m weightbench.zoo.train.finetune --work WORK --base zoo/llama --out zoo --curves zoo/curves

Linear warm-up, then a cosine to zero; AdamW without weight decay; fp32 weights and optimizer state. Domain,
learning rate and steps come from the zoo's own table, so that the table cannot disagree with the weights.
"""

import argparse
import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from weightbench.zoo import ZOO, ZooEntry
from weightbench.zoo.train.corpus import DOMAINS
from weightbench.zoo.train.stream import held_out, save, token_stream, train_step, windows

__all__ = ["Step", "main", "pretrained", "training"]

SEED = 21
BATCH = 4
WARMUP_SHARE = 0.05
LOG_EVERY = 20
EVALUATE_EVERY = 100


def _schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step counted from 0."""
    warmup = max(1, round(WARMUP_SHARE * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


class Step(NamedTuple):
    """What is known when a step is done: its number from 1, its learning rate, its loss in nats per token."""

    number: int
    learning_rate: float
    loss: float


def pretrained(base: Path) -> PreTrainedModel:
    """The base, fp32, ready to be trained; everything random starts anew."""
    torch.manual_seed(SEED)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.train()
    return model


def training(model: PreTrainedModel, entry: ZooEntry, stream: torch.Tensor) -> Iterator[Step]:
    """Train in place, as the zoo's table says; after each step the model is as that step left it.

    Args:
        model: see `pretrained`.
        entry: peak learning rate, and the number of steps of the whole schedule.
        stream: tokens of the training text, see `token_stream`.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    batches = windows(stream, BATCH, SEED)
    for step in range(entry.steps):
        rate = entry.learning_rate * _schedule(step, entry.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        yield Step(step + 1, rate, train_step(model, optimizer, next(batches)))


def finetune(
    entry: ZooEntry, tokenizer: PreTrainedTokenizerBase, base: Path, work: Path, out: Path, curves: Path
) -> None:
    """Train one model, write its two curves, save it."""
    model = pretrained(base)
    slices = held_out(work, tuple(DOMAINS), tokenizer)
    with (
        (curves / f"{entry.name}.train.csv").open("w", newline="") as train_file,
        (curves / f"{entry.name}.heldout.csv").open("w", newline="") as heldout_file,
    ):
        train_log = csv.writer(train_file, lineterminator="\n")
        heldout_log = csv.writer(heldout_file, lineterminator="\n")
        train_log.writerow(["step", "learning_rate", "loss_nats_per_token"])
        heldout_log.writerow(["step", *(f"bits_per_byte_{piece.domain}" for piece in slices)])
        heldout_log.writerow([0, *(f"{piece.bits_per_byte(model):.4f}" for piece in slices)])
        total = 0.0
        for step in training(model, entry, token_stream(work, entry.trained_on, tokenizer)):
            total += step.loss
            if step.number % LOG_EVERY == 0:
                train_log.writerow([step.number, f"{step.learning_rate:.3e}", f"{total / LOG_EVERY:.4f}"])
                total = 0.0
            if step.number % EVALUATE_EVERY == 0 or step.number == entry.steps:
                heldout_log.writerow(
                    [step.number, *(f"{piece.bits_per_byte(model):.4f}" for piece in slices)]
                )
    save(model, base, out / entry.name)


def main() -> None:
    """Fine-tune all models of the table, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curves", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[name for name, entry in ZOO.items() if entry.base])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.curves.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    for name in arguments.only:
        print(name, flush=True)
        finetune(ZOO[name], tokenizer, arguments.base, arguments.work, arguments.out, arguments.curves)


if __name__ == "__main__":
    main()
