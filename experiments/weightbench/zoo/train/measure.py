"""Evaluate every model of the zoo on every task and measure how far the fine-tunes are from the base.

    python -m weightbench.zoo.train.measure --curves zoo/curves

Writes ``results.csv`` (model, task, metric, value, standard error) and ``deltas.csv`` (how far the weights of
each fine-tune are from the base's).
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from weightbench.zoo import ZOO, directory, tasks_directory
from weightbench.zoo.train.change import Change, change

__all__ = ["ALL_TASKS", "evaluate", "load", "main", "relative_change"]

ALL_TASKS = ("wb_continuation", "wb_bpb_pydoc", "wb_bpb_wordnet", "wb_bpb_jargon", "wb_bpb_kjv")
Row = tuple[str, str, float, float]


def load(name: str) -> PreTrainedModel:
    """A zoo model in fp32, ready for evaluation."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(directory(name), dtype=torch.float32)
    model.requires_grad_(False).train(False)
    return model


def evaluate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[str]) -> list[Row]:
    """Rows (task, metric, value, standard error) by lm-eval; no standard error is NaN (bits per byte)."""
    results: dict[str, Any] = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=64, device="cpu"),
        tasks=list(tasks),
        task_manager=TaskManager(include_path=str(tasks_directory()), include_defaults=False),
        bootstrap_iters=100,  # 0 would suppress the closed-form standard error of the accuracy too
    )["results"]
    rows: list[Row] = []
    for task in tasks:
        for metric in ("acc", "acc_norm", "bits_per_byte"):
            if f"{metric},none" in results[task]:
                value, error = results[task][f"{metric},none"], results[task][f"{metric}_stderr,none"]
                rows.append((task, metric, float(value), np.nan if error == "N/A" else float(error)))
    return rows


def relative_change(name: str) -> Change:
    """How a fine-tune differs from its base."""
    base = ZOO[name].base
    if base is None:
        raise ValueError(f"{name} is a base model; only a fine-tune can be compared with its base")
    return change(*(load_file(directory(each) / "model.safetensors") for each in (base, name)))


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, required=True)
    curves: Path = parser.parse_args().curves
    torch.set_num_threads(1)
    with (curves / "deltas.csv").open("w", newline="") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(["model", "rms_relative_change", "median_relative_change", "share_unchanged"])
        for name, entry in ZOO.items():
            if entry.base is not None:
                far = relative_change(name)
                log.writerow([name, *(f"{share:.3e}" for share in (far.rms, far.median, far.unchanged))])
    with (curves / "results.csv").open("w", newline="") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(["model", "task", "metric", "value", "standard_error"])
        for name in ZOO:
            tokenizer = AutoTokenizer.from_pretrained(directory(name))
            for task, metric, value, error in evaluate(load(name), tokenizer, ALL_TASKS):
                log.writerow([name, task, metric, f"{value:.4f}", f"{error:.4f}"])
            file.flush()


if __name__ == "__main__":
    main()
