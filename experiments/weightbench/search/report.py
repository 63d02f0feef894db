"""The end of a search: its front as a table, all trials in a file, and a picture beside it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from weightbench.objectives import Measured, Objective
from weightbench.search.question import Question, kept, write
from weightbench.search.trials import Trial, gathered

__all__ = ["finish"]


def finish(question: Question) -> None:
    """Gather the trials, write them and the picture, and print the front.

    Raises:
        StoreError: a row cannot be read or the file not be written.
    """
    with kept(question) as said:
        trials = gathered(question, said)
        plain = [trial.plain() for trial in trials]
        write(question, {"runs": said["runs"], "trials": plain})
    if not trials:
        return
    _print_front(question.objectives, trials)
    print(f"search         {os.path.relpath(question.path)}")
    if any(trial.objectives is not None for trial in trials):
        from weightbench.figures.search import draw_search  # Matplotlib takes a while to import

        picture = question.path.with_suffix(".png")
        with kept(question) as said:
            draw_search(said, picture)
        print(f"picture        {os.path.relpath(picture)}")


def _print_front(objectives: Sequence[Objective], trials: Sequence[Trial]) -> None:
    front = [trial for trial in trials if trial.on_front]
    without = sum(trial.objectives is None for trial in trials)
    text = f"\nPareto front: {len(front)} of {len(trials)} trials"
    print(text + (f", {without} of which came to no values" if without else ""))
    if not front:
        reasons = Counter(f"{trial.status}: {trial.reason}" for trial in trials)
        print(f"most often: {reasons.most_common(1)[0][0]}")
        return
    heads = [f"{each.name} {'↑' if each.larger_is_better else '↓'}" for each in objectives]
    widths = [max(len(head), 26) for head in heads]
    print("  ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)) + "  trial")
    first = objectives[0]
    for trial in sorted(front, key=lambda trial: _value(trial, first), reverse=first.larger_is_better):
        assert trial.objectives is not None
        cells = [_words(trial.objectives[each.name]) for each in objectives]
        words = " ".join(f"{key}={_short(value)}" for key, value in trial.parameters.items())
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) + f"  {words}")


def _value(trial: Trial, objective: Objective) -> float:
    assert trial.objectives is not None
    return trial.objectives[objective.name].value


def _words(found: Measured) -> str:
    text = f"{found.value:.4g}"
    if found.low is None or found.high is None or found.low == found.high:
        return text
    return f"{text} [{found.low:.3g}, {found.high:.3g}]"


def _short(value: str) -> str:
    try:
        return value if value.lstrip("-").isdigit() else f"{float(value):.4g}"
    except ValueError:
        return value
