"""What became of each job of a sweep, as files in the sweep's folder."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from weightbench import console
from weightbench.cost import Cost
from weightbench.store import store_error, write_atomically
from weightbench.sweep.watch import Sweep, current

__all__ = ["Job", "Outcome", "outcomes", "outcomes_in", "time_left"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one job.

    Attributes:
        code: what the process's exit code would be: 0 done, 1 a cell failed, 2 wrong input.
        status: the row's; ``"wrong input"`` without one; of a dry run what would be done.
        title: the cell in a few words.
        reason: why not ok, in one line.
        id, root: the row's identity and results folder; empty without a row.
        ran: whether the cell was run now, rather than found done.
        cost: of a dry run, what the cell would take; None if it need not run, or nothing is known.
        number: of the job in its sweep.
        overrides: the job's words on the command line.
    """

    code: int
    status: str
    title: str = ""
    reason: str = ""
    id: str = ""
    root: str = ""
    ran: bool = False
    cost: Cost | None = None
    number: int = 0
    overrides: tuple[str, ...] = field(default=())


_known: dict[Path, Outcome] = {}


def outcomes(sweep: Sweep) -> list[Outcome]:
    """The outcomes of a sweep's jobs so far, in their order; each file is read once a process."""
    return _in(sweep.outcomes)


def outcomes_in(folder: Path) -> list[Outcome]:
    """The outcomes of the sweep whose folder this is, or was: none if it is gone."""
    return _in(Sweep(str(folder), None, 0.0, stop=False).outcomes)


def _in(folder: Path) -> list[Outcome]:
    for path in folder.glob("*.json"):
        if path not in _known:
            _known[path] = _read(path)
    found = [outcome for path, outcome in _known.items() if path.parent == folder]
    return sorted(found, key=lambda outcome: outcome.number)


def _read(path: Path) -> Outcome:
    said = json.loads(path.read_bytes())
    cost = None if said["cost"] is None else Cost(**said["cost"])
    return Outcome(**said | {"cost": cost, "overrides": tuple(said["overrides"])})


@dataclass(frozen=True, slots=True)
class Job:
    """The job that this process is running, in its sweep."""

    sweep: Sweep
    number: int
    overrides: tuple[str, ...]

    @staticmethod
    def current() -> Job | None:
        """The job of a sweep that Hydra is running here; None in a single run."""
        sweep = current()
        if sweep is None:
            return None
        config = HydraConfig.get()
        return Job(sweep, int(config.job.num), tuple(config.overrides.task))

    def enter(self) -> None:
        """Go to the folder that the sweep was started in: a cluster's workers are started elsewhere.

        Raises:
            StoreError: it is not on this machine.
        """
        try:
            os.chdir(self.sweep.cwd)
        except OSError as error:
            raise store_error(
                error, f"the sweep was started in {self.sweep.cwd}, which this machine does not have"
            ) from error

    def stopped(self) -> bool:
        """Whether a job has failed and the sweep is to end with that."""
        return self.sweep.stop and any(outcome.code for outcome in outcomes(self.sweep))

    def since(self) -> str:
        """When the sweep started, as rows say it."""
        started = datetime.datetime.fromtimestamp(self.sweep.started, datetime.UTC)
        return started.isoformat(timespec="milliseconds")

    def ran(self, id: str) -> bool:
        """Whether this sweep itself has run a cell before."""
        return any(outcome.ran and outcome.id == id for outcome in outcomes(self.sweep))

    def progress(self) -> str:
        """Say how far the sweep is: ``"cell 3 of 28, 2 done, about 4 min left"``."""
        found, jobs = outcomes(self.sweep), self.sweep.jobs
        text = f"cell {self.number + 1}" + (f" of {jobs}" if jobs else "")
        if found:
            text += f", {len(found)} done"
        left = time_left(self.sweep, found)
        return text if left is None else f"{text}, about {left} left"

    def record(self, outcome: Outcome) -> None:
        """Leave what became of the job.

        Raises:
            StoreError: it cannot be written.
        """
        said = asdict(replace(outcome, number=self.number, overrides=self.overrides))
        path = self.sweep.outcomes / f"{self.number}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(said).encode("ascii"))
        except OSError as error:
            raise store_error(error, f"the sweep's notes in {path.parent} could not be written") from error


def time_left(sweep: Sweep, found: Sequence[Outcome]) -> str | None:
    """The time left in words, if all that is left takes what those took that ran: at most, on resuming."""
    ran, jobs = sum(outcome.ran for outcome in found), sweep.jobs
    if not jobs or not ran or len(found) == jobs:
        return None
    return console.duration((time.time() - sweep.started) / ran * (jobs - len(found)))
