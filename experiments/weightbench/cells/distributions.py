"""What `distributions=true` adds to the row of a cell: how the weights themselves are distributed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from weightbench.models import Model
from weightbench.pairing import PairOf
from weightbench.runner import Task
from weightbench.workload import ModelSet

__all__ = ["distributions_of_pair", "distributions_of_set", "distributions_of_single"]

# The package loads Numba, which most cells do without.


def distributions_of_single(model: Model, task: Task) -> dict[str, Any]:
    """Return `result.distributions` of one checkpoint, see docs/results.md."""
    from weightbench.distributions import value_distributions

    return {"values": value_distributions([model], _progress("counting values", [model], task))}


def distributions_of_set(known: ModelSet, task: Task) -> dict[str, Any]:
    """Return `result.distributions` of a family or hub: of all models, and of those with a base beside it."""
    from weightbench.distributions import delta_distributions, value_distributions

    based = [(model, base) for model in known.models if (base := known.base_of(model)) is not None]
    children = [model for model, _ in based]
    return {
        "values": value_distributions(known.models, _progress("counting values", known.models, task)),
        "deltas": delta_distributions(based, _progress("counting differences", children, task)),
    }


def distributions_of_pair(high: Model, low: Model, pairs: Sequence[PairOf], task: Task) -> dict[str, Any]:
    """Return `result.distributions` of a checkpoint, and of it given its quantised version."""
    from weightbench.distributions import pair_distributions, value_distributions

    return {
        "values": value_distributions([high], _progress("counting values", [high], task)),
        "pair": pair_distributions(high, low, pairs, _progress("counting pairs", [high], task)),
    }


def _progress(said: str, models: Sequence[Model], task: Task) -> Callable[[int], None]:
    total, done = sum(info.nbytes for model in models for info in model.tensors.values()), 0

    def show(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        task.progress(said, done / 1e6, total / 1e6, "MB")

    return show
