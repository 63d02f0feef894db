"""Measuring a case: rounds in which every contestant codes once, in shuffled order, verified; rows of it.

A row holds every time of every round, the sizes, and under "against" what it is compared with: sizes as ours
over theirs (below 1: smaller), speeds as theirs over ours in seconds of the same round (above 1: faster),
median and quartiles over the rounds.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from contestants import Case, Contestant

from weightcodecs import payload

Key = tuple[str, int]
ALONE = "1 thread"
"""What a row of several threads is compared with: the same contestant on one."""


@dataclass(frozen=True)
class Plan:
    """How long to measure a case: `rounds`, but after 5 no new one that begins later than `seconds`."""

    rounds: int = 15
    seconds: float = 12.0


@dataclass(frozen=True)
class Taken:
    """One contestant in one round: seconds (None where it is not measured) and bytes."""

    encode: float | None
    decode: float
    nbytes: int
    payload_bytes: int | None


def measure(case: Case, plan: Plan) -> list[dict[str, Any]]:
    """Run a case and return its rows, contestants in order, then those that were skipped."""
    taken: dict[Key, list[Taken]] = {(one.name, one.threads): [] for one in case.contestants}
    shuffle = np.random.default_rng(7)
    begun = time.monotonic()
    for turn in range(plan.rounds + 1):
        if turn > 5 and time.monotonic() - begun > plan.seconds:
            break
        for index in shuffle.permutation(len(case.contestants)):
            one = case.contestants[index]
            result = _run(case, one)
            if turn:  # the first one compiles
                taken[one.name, one.threads].append(result)
    rows = [_row(case, one, taken) for one in case.contestants]
    return rows + [{"case": case.name, "contestant": who, "skipped": why} for who, why in case.skipped]


def _run(case: Case, one: Contestant) -> Taken:
    """Code once; what it allocates is freed on return, outside the timing."""
    private = one.prepare(case.values)
    gc.disable()
    try:
        begin = time.perf_counter()
        coded = private if one.encode is None else one.encode(private)
        middle = time.perf_counter()
        decoded = one.decode(coded)
        end = time.perf_counter()
    finally:
        gc.enable()
    if not one.came_back(case.values, decoded):
        raise RuntimeError(f"{case.name}, {one.name}: the round trip broke its promise")
    nbytes = coded.nbytes if isinstance(coded, np.ndarray) else len(coded)
    inner = len(payload(coded)) if one.options else None
    encode = None if one.encode is None else round(middle - begin, 9)
    return Taken(encode, round(end - middle, 9), nbytes, inner)


def _row(case: Case, one: Contestant, taken: dict[Key, list[Taken]]) -> dict[str, Any]:
    mine = taken[one.name, one.threads]
    if len({(t.nbytes, t.payload_bytes) for t in mine}) > 1 and one.role == "ours":
        raise RuntimeError(f"{case.name}, {one.name}: rounds differ in size")
    raw = one.nbytes or case.values.nbytes
    whole = one.encode is not None and one.role != "memcpy"
    against = {"memcpy": _compared(mine, taken[one.copy, 1], sizes=False)}
    if one.threads > 1 and (one.name, 1) in taken:
        against[ALONE] = _compared(mine, taken[one.name, 1], sizes=False)
    for other in one.against:
        rivals = taken.get((other, one.threads)) or taken.get((other, 1))
        if rivals:
            against[other] = _compared(mine, rivals, sizes=True)
        elif other in case.stored:
            against[other] = _beside_recorded(mine[0], case.stored[other])
    return {
        "case": case.name,
        "contestant": one.name,
        "role": one.role,
        "options": one.options,
        "threads": one.threads,
        "dtype": case.values.dtype.name,
        "elements": case.values.size,
        "raw_bytes": raw,
        "coded_bytes": mine[0].nbytes if whole else None,
        "payload_bytes": mine[0].payload_bytes if whole else None,
        "ratio": raw / mine[0].nbytes if whole else None,
        "bits": 8 * mine[0].nbytes / case.values.size if whole else None,
        "rounds": len(mine),
        "encode_seconds": [t.encode for t in mine],
        "decode_seconds": [t.decode for t in mine],
        "encode_mb_s": _speed(raw, [t.encode for t in mine]),
        "decode_mb_s": _speed(raw, [t.decode for t in mine]),
        "against": against,
    }


def _speed(raw: int, seconds: list[Any]) -> float | None:
    """10^6 original bytes a second, median."""
    return None if None in seconds else raw / 1e6 / float(np.median(seconds))


def _beside_recorded(mine: Taken, nbytes: int) -> dict[str, Any]:
    """Compare with a size alone; the payload is what the official program would have written."""
    inner = None if mine.payload_bytes is None else mine.payload_bytes / nbytes
    return {"size": mine.nbytes / nbytes, "payload": inner, "encode": None, "decode": None}


def _compared(mine: list[Taken], theirs: list[Taken], sizes: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"size": mine[0].nbytes / theirs[0].nbytes if sizes else None}
    for way in ("encode", "decode"):
        pairs = [(getattr(a, way), getattr(b, way)) for a, b in zip(mine, theirs, strict=True)]
        if any(None in pair for pair in pairs):
            result[way] = None
            continue
        low, middle, high = np.percentile([b / a for a, b in pairs], (25, 50, 75))
        result[way] = {"median": float(middle), "q1": float(low), "q3": float(high)}
    return result
