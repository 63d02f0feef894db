"""When a sweep starts: where its folder is and how many jobs it has, passed on to wherever its jobs run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

__all__ = ["SHUFFLED", "Sweep", "current", "forget", "is_search", "jobs", "note", "swept"]

_VARIABLE = "WEIGHTBENCH_SWEEP"  # processes that launchers start inherit it
_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
SHUFFLED = "hydra_plugins.weightbench.ShuffledSweeper"
"""Hydra's basic sweeper, in random order; see `weightbench.sweep.order`."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A running sweep.

    Attributes:
        folder: Hydra's folder of the sweep, absolute.
        jobs: how many jobs it has; None if the sweeper decides on the way.
        started: seconds since the epoch, by the clock of the machine that started it.
        stop: whether jobs after a failure are not run (``on_error=stop``).
        parallel: whether its jobs run beside each other, in other processes.
        all_at_once: whether they all start at once on one machine, however many there are.
        cwd: the folder it was started in, which relative paths are seen from.
        search: whether each job is chosen by what those before it came to (see `weightbench.search`).
        seed: of the random order in which its jobs run; None if they run as they are written.
    """

    folder: str
    jobs: int | None
    started: float
    stop: bool
    parallel: bool = False
    all_at_once: bool = False
    cwd: str = ""
    search: bool = False
    seed: int | None = None

    @property
    def outcomes(self) -> Path:
        """Where jobs leave what became of them."""
        return Path(self.folder) / "outcomes"


def note(sweep: Sweep) -> None:
    """Be in a sweep: noted in this process's environment."""
    os.environ[_VARIABLE] = json.dumps(asdict(sweep))


def current() -> Sweep | None:
    """The sweep that this process starts, or runs a job of; None outside of one."""
    text = os.environ.get(_VARIABLE)
    return None if text is None else Sweep(**json.loads(text))


def forget() -> None:
    """Be in no sweep, whatever the process that started this one was in."""
    os.environ.pop(_VARIABLE, None)


def is_search(config: DictConfig) -> bool:
    """Whether the sweeper of a composed configuration, Hydra's part included, is Optuna's."""
    return str(config.hydra.sweeper._target_) == _OPTUNA


def jobs(config: DictConfig) -> int | None:
    """The number of jobs as Hydra's basic sweeper, shuffled or not, or Optuna's takes it; None for others."""
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(sweeper, dict)
    if is_search(config) and "Grid" not in sweeper["sampler"]["_target_"]:
        return int(sweeper["n_trials"])
    if sweeper.get("_target_") not in (_BASIC, SHUFFLED):
        return None
    return _product(_overrides(config))


def swept(config: DictConfig) -> list[str]:
    """The keys that have several values in a sweep, as far as they can be told from its overrides."""
    try:
        parsed = OverridesParser.create().parse_overrides(_overrides(config))
    except HydraException:
        return []
    return [override.get_key_element() for override in parsed if override.is_sweep_override()]


def _overrides(config: DictConfig) -> list[str]:
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]


def _product(overrides: Sequence[str]) -> int | None:
    counts: dict[str, int] = {}  # what comes later on the command line replaces what the file says
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            swept = override.is_sweep_override()
            counts[override.get_key_element()] = (
                sum(1 for _ in override.sweep_string_iterator()) if swept else 1
            )
    except (HydraException, AssertionError):  # glob(…) needs Hydra's loader; what is wrong Hydra will say
        return None
    jobs = 1
    for count in counts.values():
        jobs *= count
    return jobs
