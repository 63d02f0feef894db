"""Fine-tune models of the zoo once more, and keep checkpoints on the way.

    python -m weightbench.zoo.train.series --work WORK --curves zoo/curves

Same text, seed and schedule as ``finetune``: on one machine the checkpoint of a series' last step has the
weights that ``finetune`` makes. Each is a folder in Hugging Face layout, ``WORK/series/<model>/step_00050``.
A table ``<model>.series.csv`` among the other curves holds, of each step that was kept and of step 0 (the
base): learning rate, training loss (mean since the checkpoint before), held-out bits per byte, how far the
weights are from the base's, and how many of them, and of their bytes, are as in the checkpoint before.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedModel

from weightbench.zoo import ZOO, ZooEntry, directory
from weightbench.zoo.train.change import Weights, change
from weightbench.zoo.train.corpus import DOMAINS
from weightbench.zoo.train.finetune import pretrained, training
from weightbench.zoo.train.publish import licensed_text
from weightbench.zoo.train.stream import HeldOut, held_out, save, token_stream

__all__ = ["MODELS", "STEPS", "checkpoint_folder", "main", "series"]

MODELS = ("llama_kjv_1e-5", "llama_kjv_1e-4")
# Densely at the start, where most happens; then equally spaced, for what changes from one to the next.
STEPS = (1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 300, 350, 400)

COLUMNS = (
    "step",
    "learning_rate",
    "loss_nats_per_token",
    *(f"bits_per_byte_{domain}" for domain in DOMAINS),
    "euclidean_distance",
    "rms_relative_change",
    "median_relative_change",
    "share_unchanged",
    "previous_rms_relative_change",
    "previous_share_unchanged",
    *(f"previous_share_unchanged_byte_{place}" for place in range(4)),
)

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
language: en
license: other
base_model: {base}
base_model_relation: finetune
tags:
  - weightbench
---

# {name}, step {step}

The zoo of weightbench has `{name}`, a fine-tune of `{base}`.
This is a checkpoint on the way there, after {step} of {steps} steps. Trained on: {text}.
"""


def checkpoint_folder(work: Path, name: str, step: int) -> Path:
    """Where a checkpoint is; the folders' names sort as their steps do."""
    return work / "series" / name / f"step_{step:05d}"


def series(entry: ZooEntry, work: Path, curves: Path, steps: Sequence[int]) -> None:
    """Train one model up to the last of the steps, keep its checkpoints, write its table.

    Args:
        entry: a fine-tune of the zoo's table.
        work: where ``corpus`` put the text.
        curves: folder of the table.
        steps: after which steps to keep a checkpoint, ascending, from 1 to ``entry.steps``.

    Raises:
        ValueError: a base model.
    """
    if entry.base is None:
        raise ValueError(f"{entry.name} is a base model; a series is of a fine-tune")
    base = directory(entry.base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = pretrained(base)
    slices = held_out(work, tuple(DOMAINS), tokenizer)
    first = before = _weights(model)
    with (curves / f"{entry.name}.series.csv").open("w", newline="") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(COLUMNS)
        log.writerow([0, "", "", *_likelihood(model, slices), *_distances(first, before, first)])
        losses: list[float] = []
        for step in training(model, entry, token_stream(work, entry.trained_on, tokenizer)):
            losses.append(step.loss)
            if step.number not in steps:
                continue
            folder = checkpoint_folder(work, entry.name, step.number)
            save(model, base, folder)
            (folder / "README.md").write_text(_card(entry, step.number), encoding="utf-8")
            now = _weights(model)
            told = [f"{step.learning_rate:.3e}", f"{np.mean(losses):.4f}", *_likelihood(model, slices)]
            log.writerow([step.number, *told, *_distances(first, before, now)])
            file.flush()
            before, losses = now, []
            if step.number == steps[-1]:
                return


def _weights(model: PreTrainedModel) -> Weights:
    """A copy; tied weights once."""
    return {name: value.detach().numpy().copy() for name, value in model.named_parameters()}


def _likelihood(model: PreTrainedModel, slices: Sequence[HeldOut]) -> Iterator[str]:
    return (f"{piece.bits_per_byte(model):.4f}" for piece in slices)


def _distances(first: Weights, before: Weights, now: Weights) -> Iterator[str]:
    """The columns from ``euclidean_distance`` on."""
    far, near = change(first, now), change(before, now)
    shares = (far.rms, far.median, far.unchanged, near.rms, near.unchanged, *near.unchanged_bytes)
    return (f"{value:.4e}" for value in (far.euclidean, *shares))


def _card(entry: ZooEntry, step: int) -> str:
    return _CARD.format(
        base=entry.base, name=entry.name, step=step, steps=entry.steps, text=licensed_text(entry)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the series of the models named."""
    tuned = [name for name, entry in ZOO.items() if entry.base is not None]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--work", type=Path, required=True, help="where the corpus is and the series go")
    add("--curves", type=Path, required=True, help="folder for the tables")
    add("--only", nargs="+", choices=tuned, default=MODELS, metavar="MODEL", help="default: %(default)s")
    add("--steps", nargs="+", type=int, default=STEPS, metavar="STEP", help="default: %(default)s")
    options = parser.parse_args(arguments)
    steps, last = list(options.steps), min(ZOO[name].steps for name in options.only)
    if steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] > last:
        parser.error(f"--steps must ascend, from 1 to {last} at most")
    torch.set_num_threads(1)
    options.curves.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        print(name, flush=True)
        series(ZOO[name], options.work, options.curves, steps)


if __name__ == "__main__":
    main()
