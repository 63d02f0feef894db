"""What a target is given beside its argument: where to write, and how to say how far it is."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

_MIN_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running cell is: ``done`` of ``total`` in ``unit`` (both 0 when unknown)."""

    message: str
    done: float = 0
    total: float = 0
    unit: str = ""


class Task:
    """Handed to a target ``function(argument, task)`` in the child process.

    Attributes:
        workdir: an empty folder for the run's files. The parent removes it after the run, except for the
            files that the target names as artifacts.
    """

    def __init__(self, workdir: Path, messages: int | None = None) -> None:
        self.workdir = workdir
        self._messages = messages
        self._last = ("", 0.0)

    def progress(self, message: str, done: float = 0, total: float = 0, unit: str = "") -> None:
        """Tell the parent how far the work is.

        Cheap, and never waits: at most 20 lines a second for one message, and a line that does not fit into
        the pipe is dropped, so that a slow parent does not slow a measurement.
        """
        now = time.monotonic()
        name, at = self._last
        if self._messages is None or (message == name and now - at < _MIN_INTERVAL_S and done != total):
            return
        self._last = (message, now)
        line = json.dumps({"progress": [message[:200], float(done), float(total), unit[:20]]}) + "\n"
        try:
            os.write(self._messages, line.encode("ascii"))
        except BlockingIOError:
            return  # the pipe is full: the next line says more than this one
