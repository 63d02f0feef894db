"""Saving a pair and loading from it: the low checkpoint alone, the high one, each beside its plain files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from weightbench.depot import Depot, create_depot, open_depot
from weightbench.measure import (
    Load,
    MeasurePlan,
    OnRead,
    SaveLoad,
    measure_save_load,
    plain_load,
    write_plain,
)
from weightbench.models import LocalSource, Model, open_model
from weightbench.models.computed import ComputedModel

__all__ = ["measure_pair"]


def measure_pair(
    high: Model,
    low: Model,
    scales: Collection[str],
    store: Callable[[Depot, Model, Model], None],
    depot: Path,
    plan: MeasurePlan,
    progress: Callable[[str], None],
) -> SaveLoad:
    """Time saving both checkpoints, and loading either.

    Args:
        high, low: the checkpoints; computed ones are written down first, so that nobody pays for computing.
        scales: tensors of `low` that decoding others brings along; read last.
        store: adds both to an empty depot.
        depot: where the depot is that holds them; it is replaced, and plain copies are written beside it.
        plan: rounds and seconds.
        progress: told what is being loaded.
    """
    raw = high.nbytes + low.nbytes
    plain = []
    for model, name in ((high, "high"), (low, "low")):
        plain.append(plain_load(f"plain {name}", write_plain(model, depot.parent / f"plain-{name}")))

    def write() -> None:
        shutil.rmtree(depot)
        # Opened here and closed again: what is mapped cannot be dropped from the page cache.
        store(create_depot(depot), _written(high, plain[0]), _written(low, plain[1]))

    def reading(*names: str) -> Callable[[OnRead | None], None]:
        def read(on_read: OnRead | None = None) -> None:
            opened = open_depot(depot, on_read=on_read)
            for name in names:
                stored = opened.open(name, threads=plan.threads)
                for tensor in sorted(stored.tensors(), key=lambda tensor: tensor in scales):
                    stored.read_tensor(tensor)

        return read

    paths = tuple(sorted(path for path in depot.rglob("*") if path.is_file()))
    loads = [
        Load("high", reading(high.name), high.nbytes, paths, plain[0].name),
        Load("low", reading(low.name), low.nbytes, paths, plain[1].name),
        *plain,
    ]
    both = reading(high.name, low.name)
    return measure_save_load(
        write, lambda: both(None), depot, plan, original_bytes=raw, loads=loads, progress=progress
    )


def _written(model: Model, plain: Load) -> Model:
    """Return a computed model as it was written to plain files; others as they are."""
    if not isinstance(model, ComputedModel):
        return model
    return open_model(LocalSource(str(plain.paths[0].parent), name=model.name))
