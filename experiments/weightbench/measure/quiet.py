"""Before timings: is the machine quiet? Say what disturbs and what to do about it; wait if asked to."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from weightbench.measure.noise import NoiseProbe, lasting_noise

__all__ = ["passing_noise", "settle"]

WINDOW_S = 0.5
_POLL_S = 4.0
_SHOWN = 3
_TICKS = 3  # in the window; kernel threads take one now and then

_looked = _warned = False


def passing_noise() -> list[str]:
    """Watch the machine for half a second while this process sleeps; return what others did meanwhile.

    The processes that took most are named, for the screen: rows name nobody.
    """
    probe, ticks = NoiseProbe.start(), _ticks()
    time.sleep(WINDOW_S)
    found = probe.happened(NoiseProbe.start())
    if not found:
        return []
    used = [(now - ticks.get(pid, (0, ""))[0], name, pid) for pid, (now, name) in _ticks().items()]
    most = sorted((each for each in used if each[0] >= _TICKS), reverse=True)[:_SHOWN]
    names = ", ".join(f"{name} (process {pid})" for _, name, pid in most)
    return found + ([f"most of that by {names}"] if names else [])


def settle(
    wait_s: float,
    *,
    look: Callable[[], list[str]] = passing_noise,
    lasting: Callable[[], list[str]] = lasting_noise,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Wait until nobody else uses the machine, `wait_s` seconds at most; warn once of what disturbs then.

    Args:
        wait_s: 0 only looks, and only the first time in a process.
        look: says what disturbs now and may pass.
        lasting: says what disturbs and will not pass.
        sleep: waits between looks.

    Returns:
        what disturbs still.
    """
    global _looked, _warned
    if _looked and not wait_s:
        return []
    _looked = True
    found, waited = look(), 0.0
    if found and wait_s:
        _say(f"waiting up to {wait_s:g} s for a quiet machine: {'; '.join(found)}")
    while found and waited < wait_s:
        sleep(min(_POLL_S, wait_s - waited))
        waited += _POLL_S
        found = look()
    found += lasting()
    if found and not _warned:
        _warned = True
        _say("warning: this machine is not quiet, and that changes speeds (not sizes, not errors):")
        for each in found:
            _say(f"  - {each}")
        _say(
            "  End what else runs, or wait for it (quiet_wait_s=600); else read speeds as shares of memcpy. "
            "Rows say what disturbed them."
        )
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _ticks() -> dict[int, tuple[int, str]]:
    """CPU ticks and name of every other process that can be seen, by number; names change."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            head, _, tail = (folder / "stat").read_text(errors="replace").rpartition(")")
        except OSError:  # it has ended
            continue
        words = tail.split()
        found[int(folder.name)] = int(words[11]) + int(words[12]), head.partition("(")[2]
    found.pop(os.getpid(), None)
    return found
