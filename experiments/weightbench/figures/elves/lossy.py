"""Lossy rows with what they did to a model: errors, a task, the next token."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas

from weightbench.figures.charts import OURS
from weightbench.figures.rows import NoRowsError, Rows, numbers

__all__ = ["evaluated"]

_KINDS = ("absolute", "relative", "of_max")
_BOUND = re.compile(r"(error_bound_absolute|factor)=[^,)]+(, )?")
_DIVERGENCE, _LIKELIHOOD = "result.evaluation.divergence", "result.evaluation.likelihood"


def evaluated(rows: Rows) -> pandas.DataFrame:
    """Return a line a lossy row of one checkpoint that was evaluated.

    Columns: ``series`` (the label), ``codec`` (the label without the option that sets the bound), ``system``,
    ``model``, ``dtype``, ``bound`` (absolute, NaN where it follows the values), ``default`` (the codec's own
    options), ``ratio``, ``bits``, ``max_abs_error``; of a task ``before``, ``after``, ``change``, ``low``,
    ``high`` (accuracy, 0 to 1), ``task``, ``items``, ``lost``, ``gained``; ``kl``, ``kl_low``, ``kl_high``
    (nats a token), ``tokens``, ``top1`` (share of tokens whose top choice stayed), ``perplexity_before``,
    ``perplexity_after``; ``source``, ``cell``.

    Raises:
        NoRowsError: there is none.
    """
    rows = rows.where(workload="single", granularity="tensor").having(f"{_DIVERGENCE}.mean")
    cells = rows.one_each()
    exact = cells.get("result.error.bit_exact", pandas.Series(False, cells.index)).fillna(False).astype(bool)
    cells = cells[~exact]
    if cells.empty:
        raise NoRowsError("no lossy codec was evaluated (eval=lm_eval_quick or kl)")
    bounds = [_bound(row) for row in cells.to_dict("records")]
    columns = {
        "series": cells["label"],
        "codec": [_BOUND.sub("", label).replace(" ()", "") for label in cells["label"]],
        "system": cells["system"],
        "default": cells["label"] == cells["system"],
        "model": cells["model"],
        "dtype": cells["dtype"],
        "bound": np.array(bounds, np.float64),
        "ratio": cells["ratio"],
        "bits": cells["bits"],
        "max_abs_error": numbers(cells, "result.error.max_abs_error"),
        "kl": numbers(cells, f"{_DIVERGENCE}.mean"),
        "kl_low": numbers(cells, f"{_DIVERGENCE}.interval.low"),
        "kl_high": numbers(cells, f"{_DIVERGENCE}.interval.high"),
        "tokens": numbers(cells, f"{_DIVERGENCE}.tokens"),
        "top1": numbers(cells, f"{_DIVERGENCE}.top1_agreement"),
        "perplexity_before": numbers(cells, f"{_LIKELIHOOD}.perplexity_before"),
        "perplexity_after": numbers(cells, f"{_LIKELIHOOD}.perplexity_after"),
        "source": OURS,
        "cell": cells["id"],
    }
    tasks = pandas.DataFrame([_task(row) for row in cells.to_dict("records")], cells.index)
    tasks = tasks.astype(dict.fromkeys(tasks.columns.drop("task"), np.float64))
    return pandas.concat([pandas.DataFrame(columns, cells.index), tasks], axis=1).reset_index(drop=True)


def _bound(row: dict[Hashable, Any]) -> float | None:
    """Return the absolute bound that was promised for the model's format, None if it follows the values."""
    bounds = {kind: row.get(f"result.error.bounds.{row['dtype']}.{kind}") for kind in _KINDS}
    absolute, *others = (
        0.0 if bound is None or bound != bound else float(bound) for bound in bounds.values()
    )
    return absolute if absolute and not any(others) else None


def _task(row: dict[Hashable, Any]) -> dict[str, Any]:
    """Return the change of the first task that has an accuracy."""
    said = row.get("result.evaluation.changes")
    changes = json.loads(said) if isinstance(said, str) else []
    of = [change for change in changes if change["metric"].startswith("acc")]
    if not of:
        return dict.fromkeys(("task", "items", "before", "after", "change", "low", "high", "lost", "gained"))
    change, interval = of[0], of[0]["interval"] or {"low": None, "high": None}
    return {
        "task": change["task"],
        "items": change["n"],
        "before": change["before"],
        "after": change["after"],
        "change": change["difference"],
        "low": interval["low"],
        "high": interval["high"],
        "lost": change["lost"],
        "gained": change["gained"],
    }
