"""Trials: which cells a search has tried, what they came to, and which of them no other beats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from weightbench.loss import NoMetricError
from weightbench.objectives import Measured, Objective, measured, objectives_named
from weightbench.pareto import pareto_front
from weightbench.rows import Row, Status, title
from weightbench.search.question import Question
from weightbench.store import Store
from weightbench.sweep import Outcome, outcomes_in

__all__ = ["Trial", "gathered", "values"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        parameters: what was searched, as words.
        row: identity of its cell; empty if the words made none.
        title: the cell in a few words.
        codec, model: their names.
        status, reason: of the row; ``"wrong input"`` without one.
        objectives: None if the cell did not work, or an objective is no finite number.
        on_front: whether no other trial of the search beats it.
    """

    parameters: Mapping[str, str]
    row: str
    title: str
    codec: str
    model: str
    status: str
    reason: str
    objectives: Mapping[str, Measured] | None
    on_front: bool = False

    def plain(self) -> dict[str, Any]:
        """Return it in plain values, for JSON."""
        return asdict(self) | {"parameters": dict(self.parameters)}


def values(names: Sequence[str], outcome: Outcome) -> tuple[float, ...] | float | None:
    """Return what a job of a search hands to Optuna: a number for each objective, alone if there is one.

    None if the job came to no ok row, or an objective is missing or no finite number: Optuna then counts the
    trial as failed, and its samplers leave it aside.
    """
    row = Store(Path(outcome.root)).get(outcome.id) if outcome.id else None
    found = None if row is None else _measured(objectives_named(names), row)
    if found is None:
        return None
    numbers = tuple(each.value for each in found.values())
    return numbers if len(numbers) > 1 else numbers[0]


def gathered(question: Question, said: Mapping[str, Any]) -> list[Trial]:
    """Return all trials of a question in the order in which they were tried first, with the front marked.

    Those of all sweeps that asked it, as far as their folders and rows are there. Rows of another version of
    a codec, or of other weights under the same name, than the last ones are left out.

    Args:
        question: what is asked.
        said: the file's content: earlier trials, and the folders of sweeps.

    Raises:
        StoreError: a row cannot be read.
    """
    tried: dict[tuple[tuple[str, str], ...], tuple[Mapping[str, str], Outcome]] = {}
    for each in said["trials"]:
        outcome = Outcome(0, each["status"], each["title"], each["reason"], each["row"])
        tried[tuple(each["parameters"].items())] = (each["parameters"], outcome)
    for run in said["runs"]:
        for outcome in outcomes_in(question.root / run):
            parameters = _parameters(question, outcome)
            tried[tuple(parameters.items())] = (parameters, outcome)
    store = Store(question.root)
    found = [(*each, store.get(each[1].id) if each[1].id else None) for each in tried.values()]
    latest = {_name(row): _content(row) for _, _, row in found if row is not None}
    trials = [
        _trial(question, parameters, outcome, row)
        for parameters, outcome, row in found
        if (row is not None or not outcome.id) and (row is None or latest[_name(row)] == _content(row))
    ]
    return _marked(question.objectives, trials)


def _parameters(question: Question, outcome: Outcome) -> dict[str, str]:
    words = (word.partition("=") for word in outcome.overrides)
    return {key: value for key, _, value in sorted(words) if key not in question.fixed}


def _name(row: Row) -> tuple[str, ...]:
    cell: Any = row.cell
    return (cell["codec"]["name"], cell["model"]["name"], str(cell["model"]["dtype"]))


def _content(row: Row) -> tuple[str, ...]:
    cell: Any = row.cell
    return (str(cell["codec"]["version"]), cell["model"]["revision"])


def _trial(question: Question, parameters: Mapping[str, str], outcome: Outcome, row: Row | None) -> Trial:
    if row is None:
        return Trial(parameters, "", outcome.title, "", "", outcome.status, outcome.reason, None)
    cell: Any = row.cell
    found, reason = _measured(question.objectives, row), row.reason
    if found is None and row.status is Status.OK:
        reason = "an objective is missing or no finite number"
    names = cell["codec"]["name"], cell["model"]["name"]
    return Trial(parameters, row.id, title(cell), *names, str(row.status), reason, found)


def _measured(objectives: Iterable[Objective], row: Row) -> dict[str, Measured] | None:
    if row.status is not Status.OK:
        return None
    try:
        found = {each.name: measured(each, row.result) for each in objectives}
    except NoMetricError:
        return None
    whole = {name: value for name, value in found.items() if value is not None}
    return whole if len(whole) == len(found) else None


def _marked(objectives: Sequence[Objective], trials: Sequence[Trial]) -> list[Trial]:
    points = np.full((len(trials), len(objectives)), math.nan)
    for at, trial in enumerate(trials):
        if trial.objectives is not None:
            points[at] = [trial.objectives[each.name].value for each in objectives]
    front = pareto_front(points, [each.larger_is_better for each in objectives])
    return [replace(trial, on_front=bool(on)) for trial, on in zip(trials, front, strict=True)]
