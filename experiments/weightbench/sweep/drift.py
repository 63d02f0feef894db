"""Cells of a sweep that were timed while the machine was faster or slower than for the rest. (ours)

Every timing cell has timed the same fixed work before and after its measurement (`measure.yardstick`).
If that moved in between, the row says so itself. Whether a cell ran while the machine was faster or slower
than for the others shows at the end only.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from weightbench.measure import DRIFT
from weightbench.rows import Row

__all__ = ["drifted"]

_PARTS = ("zstd_mb_per_s", "memcpy_mb_per_s")
_FEWEST = 3  # of two cells nobody knows which one is off


def drifted(rows: Sequence[Row | None]) -> list[str]:
    """Say of each row why its speeds do not compare to the others'; "" where they do, or nothing is known."""
    sticks = [_yardstick(row) for row in rows]
    known = [stick for stick in sticks if stick is not None]
    middle = {part: statistics.median(_speed(stick, part) for stick in known) for part in _PARTS if known}
    return [
        "" if stick is None else _moved(stick) or (_apart(stick, middle) if len(known) >= _FEWEST else "")
        for stick in sticks
    ]


def _yardstick(row: Row | None) -> Mapping[str, Any] | None:
    """The yardstick of a row; None if it took no timings, or is from before there was one."""
    speed: Any = {} if row is None else row.result.get("speed", {})
    found: Mapping[str, Any] | None = speed.get("yardstick")
    return found


def _speed(stick: Mapping[str, Any], part: str) -> float:
    return float(stick["before"][part] + stick["after"][part]) / 2


def _moved(stick: Mapping[str, Any]) -> str:
    return f"moved by {stick['change']:.0%} while it was measured" if stick["change"] > DRIFT else ""


def _apart(stick: Mapping[str, Any], middle: Mapping[str, float]) -> str:
    ratios = {part: _speed(stick, part) / middle[part] for part in _PARTS}
    part = max(_PARTS, key=lambda part: max(ratios[part], 1 / ratios[part]))
    ratio = ratios[part]
    if max(ratio, 1 / ratio) - 1 <= DRIFT:
        return ""
    name = part.partition("_")[0]
    return f"{abs(ratio - 1):.0%} {'faster' if ratio > 1 else 'slower'} ({name}) than for the middle cell"
