"""What can go wrong when a model's behaviour is compared: few, typed, each says what to do."""

from __future__ import annotations

from collections.abc import Iterable

from weightcodecs.errors import WeightCodecsError, nearest_names

__all__ = [
    "EvaluationError",
    "MissingTensorError",
    "NotEvaluable",
    "PairingError",
    "TaskDataError",
    "UnknownTaskError",
    "UnknownTensorError",
]


class EvaluationError(WeightCodecsError):
    """Base of the errors of the evaluation."""


class NotEvaluable(EvaluationError):  # noqa: N818 - it states a property of the model, not a mistake
    """This model has no behaviour that the mode can measure; `evaluate` turns it into a skipped row."""


class MissingTensorError(EvaluationError):
    """Weights that the architecture needs are not among the tensors; `names` holds which."""

    def __init__(self, names: Iterable[str], source: str) -> None:
        self.names = tuple(names)
        super().__init__(
            f"{len(self.names)} weights of the architecture are missing from {source}: {_some(self.names)}; "
            "give the checkpoint that belongs to this config.json"
        )


class UnknownTensorError(EvaluationError):
    """Tensors for which the architecture has no place; `names` holds which."""

    def __init__(self, names: Iterable[str], source: str) -> None:
        self.names = tuple(names)
        super().__init__(
            f"the architecture has no place for {len(self.names)} tensors of {source}: {_some(self.names)}; "
            "use eval=tensor, or give the config.json that belongs to this checkpoint"
        )


class UnknownTaskError(EvaluationError):
    """No such lm-eval task; `nearest` holds the task names most like it."""

    def __init__(self, name: str, known: Iterable[str], places: str) -> None:
        self.name = name
        self.nearest = nearest_names(name, known)
        hint = f"did you mean {' or '.join(map(repr, self.nearest))}?" if self.nearest else "none is like it"
        super().__init__(f"unknown lm-eval task {name!r} (looked in {places}); {hint}")


class TaskDataError(EvaluationError):
    """The data of a task could not be fetched."""

    def __init__(self, task: str, cause: BaseException) -> None:
        self.task = task
        super().__init__(
            f"the data of lm-eval task {task!r} could not be fetched ({cause}); it needs the Hugging Face "
            "hub or a filled cache (HF_HOME). Tasks that ship with weightbench need neither: eval.tasks=[]"
        )


class PairingError(EvaluationError):
    """The two evaluations did not see the same documents, so no paired difference exists."""


def _some(names: tuple[str, ...], count: int = 5) -> str:
    shown = ", ".join(names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count} more"
