"""What a search weighs against each other: numbers of an ok row, with their direction and interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightbench.errors import WeightbenchError
from weightbench.loss import NoMetricError, loss_of, units_of
from weightbench.measure.plan import MeasurePlan
from weightcodecs import UnknownNameError

__all__ = ["BadObjectiveError", "Measured", "Objective", "measured", "objectives_named", "refuse_unmeasured"]

_LOSSES = ("kl", "likelihood")


class BadObjectiveError(WeightbenchError):
    """An objective does not exist, or the cells as they are asked for do not measure it."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One of the numbers that are weighed against each other.

    Attributes:
        name: as in ``objectives=[…]``.
        label: for axes, with the unit.
        larger_is_better: its direction.
        path: where it is in a row's result; empty for losses in an evaluation.
        timed: whether it is a speed.
    """

    name: str
    label: str
    larger_is_better: bool
    path: tuple[str, ...] = ()
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """The value of an objective and its 95 % interval, None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def _speed(what: str) -> tuple[Objective, ...]:
    share, rate = ("speed", what, "share_of_memcpy_fresh"), ("speed", what, "mb_per_s")
    return (
        Objective(f"{what}_share_of_memcpy", f"{what}, share of memcpy", True, share, timed=True),
        Objective(f"{what}_mb_per_s", f"{what}, MB/s", True, rate, timed=True),
    )


_OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("ratio", "ratio (raw / stored)", True, ("sizes", "ratio")),
        Objective("stored_bytes", "stored bytes", False, ("sizes", "stored_bytes")),
        *_speed("encode"),
        *_speed("decode"),
        Objective("rmse", "RMSE of the values", False, ("error", "rmse")),
        Objective("max_abs_error", "largest absolute error", False, ("error", "max_abs_error")),
        *(Objective(name, f"loss, {units_of(name)}", False) for name in _LOSSES),
    )
}


def objectives_named(names: Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives of these names; ``TASK/METRIC`` is the loss in a metric of an lm-eval task.

    Raises:
        BadObjectiveError: there is none of a name, one is named twice, or no name is given.
    """
    if not names or len(set(names)) < len(names):
        raise BadObjectiveError(f"objectives must be one or more different names, not {list(names)}")
    found = []
    for name in names:
        if name in _OBJECTIVES:
            found.append(_OBJECTIVES[name])
        elif all(name.rpartition("/")[::2]):
            found.append(Objective(name, f"loss, {units_of(name)}", larger_is_better=False))
        else:
            raise BadObjectiveError(str(UnknownNameError("objective", name, _OBJECTIVES)))
    return tuple(found)


def refuse_unmeasured(
    objectives: Sequence[Objective], plan: MeasurePlan | None, evaluation: Mapping[str, Any] | None
) -> None:
    """Refuse objectives that cells would not have.

    Args:
        objectives: what is wanted.
        plan: how cells are measured; None if that differs from cell to cell.
        evaluation: the resolved conf/eval group; None if it differs from cell to cell.

    Raises:
        BadObjectiveError: a speed is wanted of a single round, or a loss that is not evaluated.
    """
    for objective in objectives:
        if objective.timed and plan is not None and plan.single_round:
            raise BadObjectiveError(
                f"the objective {objective.name} is a speed, of which one round (measure={plan.name}) "
                "says too little to search by; use measure=timing, or take it out of objectives"
            )
        if objective.path or evaluation is None:
            continue
        mode, tokens = evaluation["mode"], evaluation["kl_tokens"]
        beside = mode == "lm_eval" and tokens > 0
        if objective.name == "kl":
            fits, advice = mode == "kl" or beside, "eval=kl"
        elif objective.name == "likelihood":
            fits, advice = mode in ("kl", "perplexity") or beside, "eval=kl"
        else:
            task = objective.name.rpartition("/")[0]
            fits, advice = mode == "lm_eval", f"eval=lm_eval eval.tasks=[{task}]"
        if not fits:
            raise BadObjectiveError(
                f"the objective {objective.name} is not in an evaluation of mode {mode}; add {advice}, "
                "or take it out of objectives"
            )


def measured(objective: Objective, result: Mapping[str, Any]) -> Measured | None:
    """Return the objective's value in an ok row's result; None if it is no finite number.

    Raises:
        NoMetricError: the row does not have it.
    """
    if not objective.path:
        loss = loss_of(objective.name, result)
        found = Measured(loss.value, loss.low, loss.high)
    else:
        value: Any = result
        for key in objective.path:
            value = (value or {}).get(key)
        if value is None:
            raise NoMetricError(f"the row has no {objective.name}")
        if isinstance(value, Mapping):
            found = Measured(float(value["median"]), value["ci_low"], value["ci_high"])
        else:
            found = Measured(float(value))
    return found if math.isfinite(found.value) else None
