"""What a coding cost, read from a row's evaluation, and whether that is within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from weightbench.errors import WeightbenchError

__all__ = ["Judgement", "Loss", "NoMetricError", "judge", "loss_of", "units_of"]

Judgement = Literal["within", "unclear", "beyond", "failed"]


class NoMetricError(WeightbenchError):
    """The evaluation does not say what the budget is about."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How much worse the restored model is: above 0 is worse.

    Attributes:
        value: the paired difference.
        low, high: its 95 % interval; `high` is the bad end. None where the evaluation gives none.
    """

    value: float
    low: float | None
    high: float | None


def units_of(metric: str) -> str:
    """Return the unit that a budget for a metric is in."""
    if metric == "kl":
        return "nats per token (KL divergence)"
    if metric == "likelihood":
        return "nats per token (log-likelihood lost)"
    name = metric.rpartition("/")[2]
    return {"bits_per_byte": "bits per byte"}.get(name, name) + f" ({metric.rpartition('/')[0]})"


def loss_of(metric: str, result: Mapping[str, Any]) -> Loss:
    """Return the loss that an ok row says; zero for one whose values all came back bit for bit.

    Raises:
        NoMetricError: the evaluation has no such metric; the message names those it has.
    """
    if result["error"]["bit_exact"]:
        return Loss(0.0, 0.0, 0.0)
    evaluation = result["evaluation"]
    if evaluation["status"] == "skipped":
        raise NoMetricError(f"nothing was evaluated: {evaluation['reason']}")
    divergence, likelihood = evaluation["divergence"], evaluation["likelihood"]
    if metric == "kl" and divergence:
        return _loss(divergence["mean"], divergence["interval"], worse=1)
    if metric == "likelihood" and likelihood:
        return _loss(likelihood["difference"], likelihood["interval"], worse=-1)
    task, _, name = metric.rpartition("/")
    for change in evaluation["changes"]:
        if (change["task"], change["metric"]) == (task, name):
            worse = -1 if change["higher_is_better"] else 1
            return _loss(change["difference"], change["interval"], worse)
    known = [name for name, held in (("kl", divergence), ("likelihood", likelihood)) if held]
    known += [f"{change['task']}/{change['metric']}" for change in evaluation["changes"]]
    raise NoMetricError(f"the evaluation has no {metric!r}; it has: {', '.join(known) or 'none'}")


def judge(loss: Loss, budget: float) -> Judgement:
    """Say whether the loss is shown to be within the budget, shown to be beyond it, or neither.

    Within: the interval's bad end is not above the budget. Beyond: its good end is, or the loss is no number.
    """
    if not math.isfinite(loss.value):
        return "beyond"
    if loss.low is None or loss.high is None:
        return "unclear"
    if loss.high <= budget:
        return "within"
    return "beyond" if loss.low > budget else "unclear"


def _loss(difference: float, interval: Mapping[str, Any] | None, worse: int) -> Loss:
    if interval is None:
        return Loss(worse * difference, None, None)
    low, high = sorted((worse * interval["low"], worse * interval["high"]))
    return Loss(worse * difference, low, high)
