"""How the base model degrades when its weights are coarsened: the tasks' sensitivity, as a curve.

    python -m weightbench.zoo.train.coarsen --curves zoo/curves

Two ways, each over all tensors: round every fp32 value to k explicit mantissa bits (nearest, ties to even),
or put every tensor on a symmetric uniform grid of k bits scaled by its largest magnitude. Writes
``coarsen_mantissa.csv`` (23 bits: the original) and ``coarsen_uniform.csv``.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer

from weightbench.zoo import directory
from weightbench.zoo.train.measure import evaluate, load

__all__ = ["WAYS", "main", "round_mantissa", "round_uniform"]

MODEL = "llama"
TASKS = ("wb_continuation", "wb_bpb_pydoc", "wb_bpb_wordnet")


def round_mantissa(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Finite fp32 values with ``bits`` (0 to 23) explicit mantissa bits, nearest, ties to even."""
    drop = 23 - bits
    if drop == 0:
        return values.clone()
    word = values.view(torch.int32)
    odd = (word >> drop) & 1
    return ((word + ((1 << (drop - 1)) - 1) + odd) >> drop << drop).view(torch.float32)


def round_uniform(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Values on the grid of 2^bits − 1 points that is symmetric about 0 and ends at the largest magnitude."""
    step = values.abs().max() / (2 ** (bits - 1) - 1)
    return torch.where(step > 0, (values / step).round() * step, values)


Rounding = Callable[[torch.Tensor, int], torch.Tensor]
WAYS: dict[str, tuple[Rounding, tuple[int, ...]]] = {
    "mantissa": (round_mantissa, (23, 10, 8, 7, 6, 5, 4, 3, 2, 1, 0)),
    "uniform": (round_uniform, (10, 8, 7, 6, 5, 4, 3, 2)),
}


def main() -> None:
    """Evaluate every point of the curves asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, required=True)
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(directory(MODEL))
    model = load(MODEL)
    original = {name: value.clone() for name, value in model.named_parameters()}
    for way in arguments.ways:
        rounded, all_bits = WAYS[way]
        with (arguments.curves / f"coarsen_{way}.csv").open("w", newline="") as file:
            log = csv.writer(file, lineterminator="\n")
            log.writerow(["bits", "task", "metric", "value", "standard_error"])
            for bits in all_bits:
                for name, parameter in model.named_parameters():
                    parameter.copy_(rounded(original[name], bits))
                for task, metric, value, error in evaluate(model, tokenizer, TASKS):
                    log.writerow([bits, task, metric, f"{value:.4f}", f"{error:.4f}"])
                file.flush()


if __name__ == "__main__":
    main()
