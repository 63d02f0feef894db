"""What `distributions=true` adds to the row of a cell: how the weights themselves are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weightbench.models import Model
from weightbench.runner import Task

__all__ = ["distributions_section"]


def distributions_section(models: Sequence[Model], task: Task) -> dict[str, Any]:
    """Return `result.distributions`, see docs/results.md.

    Args:
        models: whose values are counted.
        task: is told of the progress.
    """
    from weightbench.distributions import value_distributions  # loads Numba

    total, done = sum(info.nbytes for model in models for info in model.tensors.values()), 0

    def show(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        task.progress("counting values", done / 1e6, total / 1e6, "MB")

    return {"values": value_distributions(models, show)}
