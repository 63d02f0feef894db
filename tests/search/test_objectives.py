"""What is weighed: values out of rows, and what cells would not have."""

from __future__ import annotations

import math
from typing import Any

import pytest

from weightbench.loss import NoMetricError
from weightbench.measure.plan import MeasurePlan
from weightbench.objectives import (
    BadObjectiveError,
    Measured,
    measured,
    objectives_named,
    refuse_unmeasured,
)

SPAN = {"median": 0.5, "ci_low": 0.4, "ci_high": 0.6}
RESULT: dict[str, Any] = {
    "sizes": {"ratio": 2.0, "stored_bytes": 10},
    "speed": {"encode": None, "decode": {"share_of_memcpy_fresh": SPAN, "mb_per_s": None}},
    "error": {"bit_exact": False, "rmse": 0.1, "max_abs_error": math.inf},
    "evaluation": {
        "status": "ok",
        "changes": [],
        "divergence": {"mean": 0.01, "interval": {"low": 0.005, "high": 0.02}},
        "likelihood": None,
    },
}


@pytest.mark.parametrize(
    ("name", "larger", "expected"),
    [
        ("ratio", True, Measured(2.0)),
        ("stored_bytes", False, Measured(10.0)),
        ("decode_share_of_memcpy", True, Measured(0.5, 0.4, 0.6)),
        ("rmse", False, Measured(0.1)),
        ("max_abs_error", False, None),
        ("kl", False, Measured(0.01, 0.005, 0.02)),
    ],
)
def test_values(name: str, larger: bool, expected: Measured | None) -> None:
    (objective,) = objectives_named([name])
    assert objective.larger_is_better is larger
    assert measured(objective, RESULT) == expected


@pytest.mark.parametrize("name", ["encode_share_of_memcpy", "decode_mb_per_s", "likelihood", "task/acc"])
def test_what_a_row_does_not_have(name: str) -> None:
    (objective,) = objectives_named([name])
    with pytest.raises(NoMetricError):
        measured(objective, RESULT)


def test_a_bit_exact_row_loses_nothing() -> None:
    exact = RESULT | {"error": {"bit_exact": True}}
    for objective in objectives_named(["kl", "likelihood", "task/acc"]):
        assert measured(objective, exact) == Measured(0.0, 0.0, 0.0)
        assert not objective.larger_is_better


@pytest.mark.parametrize("names", [[], ["ratio", "ratio"], ["rato"], ["/acc"]])
def test_names_that_are_no_objectives(names: list[str]) -> None:
    with pytest.raises(BadObjectiveError, match=r"objective"):
        objectives_named(names)


ONE_ROUND = MeasurePlan(name="ratio", min_rounds=1, min_seconds=0.0)


@pytest.mark.parametrize(
    ("name", "plan", "mode", "tokens", "advice"),
    [
        ("decode_mb_per_s", ONE_ROUND, "none", 0, "measure=timing"),
        ("decode_mb_per_s", MeasurePlan(), "none", 0, None),
        ("decode_mb_per_s", None, "none", 0, None),
        ("ratio", ONE_ROUND, "none", 0, None),
        ("kl", ONE_ROUND, "none", 4096, "eval=kl"),
        ("kl", ONE_ROUND, "perplexity", 4096, "eval=kl"),
        ("kl", ONE_ROUND, "lm_eval", 0, "eval=kl"),
        ("kl", ONE_ROUND, "lm_eval", 4096, None),
        ("likelihood", ONE_ROUND, "perplexity", 4096, None),
        ("task/acc", ONE_ROUND, "kl", 4096, r"eval\.tasks=\[task\]"),
        ("task/acc", ONE_ROUND, "lm_eval", 0, None),
    ],
)
def test_cells_that_would_not_have_it(
    name: str, plan: MeasurePlan | None, mode: str, tokens: int, advice: str | None
) -> None:
    objectives = objectives_named([name])
    evaluation = {"mode": mode, "kl_tokens": tokens}
    if advice is None:
        refuse_unmeasured(objectives, plan, evaluation)
    else:
        with pytest.raises(BadObjectiveError, match=advice):
            refuse_unmeasured(objectives, plan, evaluation)
    if name == "kl":
        refuse_unmeasured(objectives, plan, None)
