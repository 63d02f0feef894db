"""Timings in a random order: so a machine that drifts over hours does not favour one end of an axis. (ours)

Hydra's basic sweeper makes the product of all axes, the last one turning fastest. Ours shuffles that product
before it goes to the launcher, whichever that is. The order follows from a seed and the number of cells, so
the same command takes them in the same order again. Sweeps of sizes stay as they are written.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from weightbench.request import BadRequestError, measure_plan
from weightbench.sweep.watch import SHUFFLED, swept

# When Hydra looks for plug-ins it runs the modules of its own ones again, also of those that are imported
# already: a class derived before that has a base that nobody knows any more.
Plugins.instance()

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: E402

__all__ = ["ShuffledSweeper", "order", "register_sweeper", "shuffle_seed", "takes_timings"]


def takes_timings(config: DictConfig) -> bool:
    """Whether a sweep measures speeds: in several rounds, or with measure among its axes."""
    if any(key.split(".")[0] == "measure" for key in swept(config)):
        return True
    plan: Any = OmegaConf.to_container(config.measure, resolve=True)
    try:
        return not measure_plan(plan).single_round
    except BadRequestError:  # each of its cells says why
        return False


def shuffle_seed(config: DictConfig) -> int | None:
    """The seed of a sweep's order; None if its cells run as they are written."""
    sweeper = config.hydra.sweeper
    if OmegaConf.select(sweeper, "_target_") != SHUFFLED or sweeper.seed is None or not takes_timings(config):
        return None
    return int(sweeper.seed)


def order(count: int, seed: int) -> list[int]:
    """The numbers below `count` in the order in which cells run."""
    return random.Random(seed).sample(range(count), count)


class ShuffledSweeper(BasicSweeper):
    """Hydra's basic sweeper with the cells of a timing sweep in random order; see conf/hydra/sweeper."""

    def __init__(
        self, max_batch_size: int | None = None, params: dict[str, str] | None = None, seed: int | None = 0
    ) -> None:
        super().__init__(max_batch_size, params)
        self._seed = seed

    def setup(self, *, config: DictConfig, **others: Any) -> None:
        """Decide by the whole configuration whether to shuffle."""
        self._seed = shuffle_seed(config)
        super().setup(config=config, **others)

    def split_arguments(  # type: ignore[override]  # static in Hydra, but called on the object
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Make all jobs, shuffled, in batches."""
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        if self._seed is not None:
            jobs = [jobs[number] for number in order(len(jobs), self._seed)]
        size = max_batch_size or max(len(jobs), 1)
        return [list(batch) for batch in _batches(jobs, size)]


def _batches(jobs: Sequence[list[str]], size: int) -> list[Sequence[list[str]]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def register_sweeper() -> None:
    """Let Hydra find the sweeper, which takes plug-ins from packages called hydra_plugins only."""
    Plugins.instance().class_name_to_class[SHUFFLED] = ShuffledSweeper
