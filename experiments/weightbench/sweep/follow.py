"""Jobs that run elsewhere: what each says goes to a file, and what became of it is one line on the screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from weightbench.arguments import as_typed
from weightbench.sweep.outcomes import Job, outcomes, time_left
from weightbench.sweep.watch import Sweep

__all__ = ["aside", "start_following", "stop_following"]

_POLL_S = 0.5
OUTPUT = "output.txt"


@contextmanager
def aside(job: Job | None) -> Iterator[None]:
    """Within the block, what a job that runs beside others says goes to a file in Hydra's folder of it."""
    if job is None or not job.sweep.parallel:
        yield
        return
    path = Path(HydraConfig.get().runtime.output_dir) / OUTPUT
    with path.open("a", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        yield


class _Follower(threading.Thread):
    def __init__(self, sweep: Sweep) -> None:
        super().__init__(daemon=True)
        self._sweep = sweep
        self._told = 0
        self._seen: set[int] = set()
        self._end = threading.Event()

    def run(self) -> None:
        places = f"{self._sweep.folder}/<number>/{OUTPUT}"
        count = "jobs" if self._sweep.jobs is None else f"{self._sweep.jobs} cells"
        print(f"{count} start elsewhere; what each says: {places}", flush=True)
        while not self._end.wait(_POLL_S):
            self._tell()
        self._tell()

    def stop(self) -> None:
        self._end.set()
        self.join()

    def _tell(self) -> None:
        found = outcomes(self._sweep)
        for outcome in found:
            if outcome.number in self._seen:
                continue
            self._seen.add(outcome.number)
            place = f"{len(self._seen)}" + (f" of {self._sweep.jobs}" if self._sweep.jobs else "")
            left = time_left(self._sweep, found) if len(self._seen) == len(found) else None
            what = outcome.title or " ".join(map(as_typed, outcome.overrides))
            text = f"[{place}] {outcome.status:<11} {what}"
            if outcome.code and outcome.reason:
                text += f": {outcome.reason}"
            print(text + (f"   (about {left} left)" if left else ""), flush=True)


_following: _Follower | None = None


def start_following(sweep: Sweep) -> None:
    """Print a line for each job of a sweep that comes to an end, from a thread, until `stop_following`."""
    global _following
    stop_following()
    _following = _Follower(sweep)
    _following.start()


def stop_following() -> None:
    """Print what has come to an end by now, and no more."""
    global _following
    if _following is not None:
        _following.stop()
        _following = None
