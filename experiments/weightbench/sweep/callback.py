"""What Hydra calls when a sweep starts, and where each of its jobs starts (see conf/config.yaml)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from weightbench.errors import WeightbenchError
from weightbench.launchers import (
    is_parallel,
    refuse_shared_cores,
    require_plugin,
    runs_here,
    starts_all_at_once,
)
from weightbench.measure import settle
from weightbench.request import measure_plan
from weightbench.sweep.follow import start_following
from weightbench.sweep.order import shuffle_seed, takes_timings
from weightbench.sweep.watch import Sweep, is_search, jobs, note, swept

__all__ = ["Refusal", "SweepCallback"]


class Refusal(BaseException):
    """The sweep must not start; the message says why. Hydra passes over other exceptions of callbacks."""


class SweepCallback(Callback):
    """Tells jobs, wherever they run, which sweep they are part of. Launchers send this object along."""

    def __init__(self) -> None:
        self._sweep: Sweep | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse what cannot go well; note the sweep; follow it if its jobs run elsewhere.

        Raises:
            Refusal: the launcher is not installed, or would spoil timings.
        """
        parallel = is_parallel(config)
        try:
            require_plugin(config)
            if parallel and not any(key.split(".")[0] == "measure" for key in swept(config)):
                plan: Any = OmegaConf.to_container(config.measure, resolve=True)
                refuse_shared_cores(measure_plan(plan), config.cores_per_cell)
        except WeightbenchError as error:
            raise Refusal(str(error)) from error
        seed = shuffle_seed(config)
        self._sweep = Sweep(
            str(Path(config.hydra.sweep.dir).absolute()),
            jobs(config),
            time.time(),
            stop=config.on_error == "stop",
            parallel=parallel,
            all_at_once=starts_all_at_once(config),
            cwd=str(Path.cwd()),
            search=is_search(config),
            seed=seed,
        )
        note(self._sweep)
        if seed is not None:
            print(
                f"timings: cells run in random order (hydra.sweeper.seed={seed}; null: as written)",
                flush=True,
            )
        # Cells that run one after the other each look for themselves, see `command.run`.
        if parallel and runs_here(config) and takes_timings(config) and not config.dry_run:
            settle(config.quiet_wait_s)
        if parallel:
            start_following(self._sweep)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Note the sweep in the process that runs a job."""
        if self._sweep is not None:
            note(self._sweep)
