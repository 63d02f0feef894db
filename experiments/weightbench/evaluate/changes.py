"""From the two sides' per-sample logs to paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import PairingError
from .harness import MetricSamples
from .paired import aggregate_interval, binary_interval, flips, mean_interval, ratio_interval
from .result import Interval, MetricChange

__all__ = ["check_pairing", "paired_changes"]

# Corpus scores are slow to compute; lm-eval itself resamples these a hundred times.
_SLOW_METRICS = ("bleu", "chrf", "chrf++", "ter")


def check_pairing(before: Sequence[MetricSamples], after: Sequence[MetricSamples]) -> None:
    """Make sure that both sides saw the same documents and prompts in the same order.

    Raises:
        PairingError: they did not; it names the task.
    """
    sides = [{(s.task, s.metric, s.filter): s.documents for s in side} for side in (before, after)]
    if sides[0].keys() != sides[1].keys():
        names = sorted({key[0] for key in sides[0].keys() ^ sides[1].keys()})
        raise PairingError(f"the two evaluations have different metrics in task {', '.join(names)}")
    for (task, metric, _), documents in sides[0].items():
        if documents != sides[1][task, metric, _]:
            raise PairingError(f"the two evaluations of task {task!r} saw different documents or prompts")


def paired_changes(
    before: Sequence[MetricSamples],
    after: Sequence[MetricSamples],
    aggregation: Callable[[str, str], Callable[[list[Any]], float]],
    seed: int,
) -> tuple[MetricChange, ...]:
    """Pair every metric of `before` with the same of `after` (see `check_pairing`).

    Args:
        before: the original's.
        after: the restored model's.
        aggregation: gives the function of (task, metric), for metrics of kind "other".
        seed: of the resampling.
    """
    sides = {(s.task, s.metric, s.filter): s for s in after}
    return tuple(_change(b, sides[b.task, b.metric, b.filter], aggregation, seed) for b in before)


def _change(
    before: MetricSamples,
    after: MetricSamples,
    aggregation: Callable[[str, str], Callable[[list[Any]], float]],
    seed: int,
) -> MetricChange:
    interval: Interval | None = None
    flipped: tuple[int, int] | None = None
    if before.kind == "mean":
        x, y = np.asarray(before.values, dtype=np.float64), np.asarray(after.values, dtype=np.float64)
        flipped = flips(x, y)
        interval = binary_interval(*flipped, x.size) if flipped else mean_interval(y - x)
    elif before.kind == "ratio":
        x, y = np.asarray(before.values, dtype=np.float64), np.asarray(after.values, dtype=np.float64)
        interval = ratio_interval(x[:, 0], y[:, 0], x[:, 1], _transform(before.metric), seed)
    elif before.kind == "other":
        function = aggregation(before.task, before.metric)
        draws = 100 if before.metric in _SLOW_METRICS else 1000
        interval = aggregate_interval(before.values, after.values, function, seed, draws)
    return MetricChange(
        task=before.task,
        metric=before.metric,
        filter=before.filter,
        n=len(before.values),
        before=before.value,
        after=after.value,
        difference=after.value - before.value,
        interval=interval,
        higher_is_better=before.higher_is_better,
        gained=flipped[0] if flipped else None,
        lost=flipped[1] if flipped else None,
    )


def _transform(metric: str) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """From Σ log-likelihood / Σ weight to the metric, as lm_eval.api.metrics defines it."""
    if metric == "bits_per_byte":
        return lambda ratio: -ratio / math.log(2)
    return lambda ratio: np.asarray(np.exp(-ratio))
