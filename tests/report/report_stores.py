"""Stores of made-up rows for the tests of the report."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weightbench.evaluate import EvaluationPlan
from weightbench.granularity import Granularity
from weightbench.measure.plan import MeasurePlan
from weightbench.rows import Row, Status, to_json
from weightbench.store import Store, identity
from weightbench.table import build_table

SYSTEMS = ("elf", "zipnn", "zstd", "lz4", "int8", "identity")
HOSTILE = (
    "</script><script>window.hit=1</script>", "<img src=x onerror=window.hit=2>", "\"'><b>&amp;",
    "<!--<script>", "${title}", "\u2028]]>", "javascript:window.hit=3",
)  # fmt: skip


def span(median: float, rounds: int) -> dict[str, Any]:
    """A measured time as rows have it; with an interval if there are rounds enough."""
    ends = {"ci_low": median * 0.9, "ci_high": median * 1.1} if rounds > 5 else {}
    stats = {"median": median, "min": median * 0.8, "max": median * 1.3, "n": rounds, **ends}
    share = {key: value / 8000 if key != "n" else value for key, value in stats.items()}
    return {"mb_per_s": stats, "share_of_memcpy_fresh": share}


def loss(random_: random.Random, size: float) -> dict[str, Any]:
    """An evaluation with one task, a divergence and a likelihood."""
    interval = {"low": -size - 0.01, "high": -size + 0.01, "level": 0.95, "method": "made up"}
    change = {
        "task": "wb_continuation", "metric": "acc", "before": 0.4, "after": 0.4 - size, "difference": -size,
        "interval": interval, "n": 200, "gained": 1, "lost": 2, "higher_is_better": True,
    }  # fmt: skip
    return {
        "status": "ok", "reason": "", "mode": "lm_eval", "changes": [change],
        "likelihood": {"difference": -size * random_.random(), "tokens": 4096, "interval": interval},
        "divergence": {"mean": size / 10, "tokens": 4096,
                       "interval": {**interval, "low": size / 20, "high": size / 5}},
    }  # fmt: skip


def cell(system: str, number: int, model: str = "llama") -> dict[str, Any]:
    """A cell; numbers make different ones of the same system."""
    return {
        "codec": {"name": system, "version": 1},
        "model": {"name": model, "revision": f"sha256:{model}", "dtype": None},
        "workload": {"kind": "single"},
        "granularity": asdict(Granularity("chunk", 4096 * (number + 1))),
        "dedup": False,
        "measure": MeasurePlan(name="timing", min_rounds=6, min_seconds=2.0).settings(),
        "eval": EvaluationPlan(mode="lm_eval", tasks=("wb_continuation",), limit=200).settings(),
    }


def ok_row(system: str, number: int, *, model: str = "llama", rounds: int = 41, tensors: int = 3) -> Row:
    """A row of a cell that went well, its numbers drawn by its name."""
    random_ = random.Random(f"{system}{number}{model}")
    ratio = 1 + random_.random()
    exact = system not in ("elf", "int8")
    made = cell(system, number, model)
    evaluation: dict[str, Any] = {
        "status": "skipped", "reason": "the archive is bit-exact", "mode": "lm_eval", "changes": []
    }  # fmt: skip
    result = {
        "model": {
            "name": model, "note": "", "parameters": 2_016_960, "tensors": tensors,
            "formats": {"float32": {"nbytes": 8_067_840, "parameters": 2_016_960, "tensors": tensors}},
        },
        "sizes": {
            "raw_bytes": 8_071_888, "stored_bytes": int(8_071_888 / ratio), "ratio": ratio, "units": tensors,
            "payload_bytes": 1000, "side_bytes": 0, "literals_bytes": 647, "index_bytes": 2856,
        },
        "speed": {
            "encode": span(random_.uniform(50, 3000), rounds),
            "decode": span(random_.uniform(50, 6000), rounds),
            "memcpy_fresh": span(9000.0, rounds), "single_round": rounds == 1, "flags": ["a flag"],
        },
        "error": {"bit_exact": exact, "max_abs_error": 0.0 if exact else 5.96e-8, "rmse": 0.0},
        "evaluation": evaluation if exact else loss(random_, random_.random() / 50),
    }  # fmt: skip
    records = tuple(
        {
            "key": f"layers.{place}.weight", "codec": system, "format": "float32", "raw_bytes": 1000 * place,
            "stored_bytes": 700 * place + 1, "side_bytes": 0, "encode_seconds": random_.random() / 1000,
            "decode_seconds": random_.random() / 1000, "memcpy_seconds": random_.random() / 1e5,
        }
        for place in range(tensors)
    )  # fmt: skip
    return Row(
        identity(made), made, Status.OK, seconds=3.5,
        finished=f"2026-11-22T01:00:{number % 60:02d}.000+00:00",
        environment=environment(), result=result, tensors=records,
    )  # fmt: skip


def failed_row(system: str, number: int, reason: str, model: str = "llama") -> Row:
    """A row of a cell that raised."""
    made = cell(system, number, model)
    error = {"type": "ValueError", "message": reason, "traceback": f"Traceback\n  {reason}", "details": {}}
    return Row(
        identity(made), made, Status.FAILED, reason=reason, error=error, environment=environment(),
        finished="2026-11-22T02:00:00.000+00:00",
    )  # fmt: skip


def environment() -> dict[str, Any]:
    """An environment, the same for all."""
    return {
        "cpu": {"model": "Some CPU", "cores": 2}, "memory": {"total_bytes": 25 * 10**9}, "python": "3.11.7",
        "libraries": {"numpy": "2.4.6"}, "git": {"revision": "a" * 40, "dirty": False},
        "load": {"1min": 0.1},
    }  # fmt: skip


def store_of(folder: Path, rows: Sequence[Row]) -> Path:
    """Write rows without the care that a store takes of each."""
    cells = Store(folder).cells
    cells.mkdir(parents=True)
    for row in rows:
        (cells / f"{row.id}.json").write_text(to_json(row))
    build_table(folder)
    return folder


def some_rows(count: int) -> list[Row]:
    """Rows of all systems, one in twelve failed, some of a single round."""
    rows = []
    for number in range(count):
        system = SYSTEMS[number % len(SYSTEMS)]
        if number % 12 == 11:
            rows.append(failed_row(system, number, f"reason {number % 5}"))
        else:
            rows.append(ok_row(system, number, rounds=1 if number % 10 == 9 else 41))
    return rows
