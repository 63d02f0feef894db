"""Where the misbehaving targets are, and how to see whether a process is gone."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def targets() -> Path:
    return Path(__file__).parent / "targets"


def _alive(pid: int) -> bool:
    try:
        # A zombie has ended; whoever inherited it has only not asked yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def gone() -> Callable[[list[int]], bool]:
    """Whether all processes end within 30 s (they do within milliseconds)."""

    def check(pids: list[int]) -> bool:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if not any(map(_alive, pids)):
                return True
            time.sleep(0.01)
        return False

    assert _alive(os.getpid())
    return check
