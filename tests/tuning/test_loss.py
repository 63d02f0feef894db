"""Losses out of rows' evaluations: signs, intervals, judgements."""

from __future__ import annotations

import math
from typing import Any

import pytest

from weightbench.evaluate import Divergence, Evaluation, Interval, Likelihood, MetricChange
from weightbench.loss import Loss, NoMetricError, judge, loss_of, units_of

CHANGE: dict[str, Any] = {"filter": "none", "n": 9, "before": 0.0, "after": 0.0}


def result(**changes: Any) -> dict[str, Any]:
    evaluation = Evaluation(
        "lm_eval",
        "ok",
        changes=(
            MetricChange("t", "acc", difference=-0.02, interval=Interval(-0.05, 0.01, "m"),
                         higher_is_better=True, **CHANGE),
            MetricChange("t", "bits_per_byte", difference=0.1, interval=Interval(0.05, 0.2, "m"),
                         higher_is_better=False, **CHANGE),
            MetricChange("t", "lonely", difference=0.3, interval=None, higher_is_better=None, **CHANGE),
        ),
        divergence=Divergence(100, 0.004, 0.1, 0.2, Interval(0.003, 0.005, "m"), 0.99),
        likelihood=Likelihood(100, 4, 10.0, 10.1, -0.01, Interval(-0.03, 0.002, "m")),
    )  # fmt: skip
    return {"error": {"bit_exact": False}, "evaluation": evaluation.to_json()} | changes


@pytest.mark.parametrize(
    ("metric", "loss"),
    [
        ("kl", Loss(0.004, 0.003, 0.005)),
        ("likelihood", Loss(0.01, -0.002, 0.03)),
        ("t/acc", Loss(0.02, -0.01, 0.05)),
        ("t/bits_per_byte", Loss(0.1, 0.05, 0.2)),
        ("t/lonely", Loss(0.3, None, None)),
    ],
)
def test_above_zero_is_worse_whatever_the_metric(metric: str, loss: Loss) -> None:
    assert loss_of(metric, result()) == loss


def test_what_came_back_bit_for_bit_lost_nothing() -> None:
    skipped = Evaluation("kl", "skipped", "bit-exact").to_json()
    assert loss_of("kl", result(error={"bit_exact": True}, evaluation=skipped)) == Loss(0, 0, 0)


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(NoMetricError, match=r"has: kl, likelihood, t/acc, t/bits_per_byte, t/lonely"):
        loss_of("t/other", result())
    empty = Evaluation("tensor", "ok").to_json()
    with pytest.raises(NoMetricError, match="has: none"):
        loss_of("kl", result(evaluation=empty))
    skipped = Evaluation("kl", "skipped", "the model has no tokenizer").to_json()
    with pytest.raises(NoMetricError, match="no tokenizer"):
        loss_of("kl", result(evaluation=skipped))


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (Loss(0.005, 0.001, 0.01), "within"),
        (Loss(0.009, 0.001, 0.011), "unclear"),
        (Loss(0.02, 0.009, 0.03), "unclear"),
        (Loss(0.02, 0.011, 0.03), "beyond"),
        (Loss(-1.0, -2.0, -0.5), "within"),
        (Loss(0.0, None, None), "unclear"),
        (Loss(math.nan, math.nan, math.nan), "beyond"),
        (Loss(math.inf, None, None), "beyond"),
    ],
)
def test_the_intervals_bad_end_must_be_within(loss: Loss, said: str) -> None:
    assert judge(loss, 0.01) == said


def test_units() -> None:
    assert units_of("kl").startswith("nats per token")
    assert units_of("wb_bpb_kjv/bits_per_byte") == "bits per byte (wb_bpb_kjv)"
    assert units_of("arc_easy/acc") == "acc (arc_easy)"
