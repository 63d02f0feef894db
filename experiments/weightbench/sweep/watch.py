"""When a sweep starts: where its folder is and how many jobs it has, passed on to wherever its jobs run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

__all__ = ["Sweep", "SweepCallback", "current", "forget"]

_VARIABLE = "WEIGHTBENCH_SWEEP"  # processes that launchers start inherit it
_BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A running sweep.

    Attributes:
        folder: Hydra's folder of the sweep, absolute.
        jobs: how many jobs it has; None if the sweeper decides on the way.
        started: seconds since the epoch, by the clock of the machine that started it.
        stop: whether jobs after a failure are not run (``on_error=stop``).
    """

    folder: str
    jobs: int | None
    started: float
    stop: bool

    @property
    def outcomes(self) -> Path:
        """Where jobs leave what became of them."""
        return Path(self.folder) / "outcomes"


class SweepCallback(Callback):
    """Hydra calls it before the first job (see conf/config.yaml); it does not see single runs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Note the sweep in this process's environment."""
        folder = Path(config.hydra.sweep.dir).absolute()
        sweep = Sweep(str(folder), _jobs(config), time.time(), config.on_error == "stop")
        os.environ[_VARIABLE] = json.dumps(asdict(sweep))


def current() -> Sweep | None:
    """The sweep that this process starts, or runs a job of; None outside of one."""
    text = os.environ.get(_VARIABLE)
    return None if text is None else Sweep(**json.loads(text))


def forget() -> None:
    """Be in no sweep, whatever the process that started this one was in."""
    os.environ.pop(_VARIABLE, None)


def _jobs(config: DictConfig) -> int | None:
    """The number of jobs as Hydra's basic sweeper will find it; None for other sweepers."""
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(sweeper, dict)
    if sweeper.get("_target_") != _BASIC:
        return None
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    return _product([*params, *config.hydra.overrides.task])


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
