"""What the coding did to the model's behaviour: a paired comparison of the original and the restored weights.

Importing this is cheap; torch, transformers and lm-eval are imported by `evaluate` when the plan needs them.
"""

from .comparison import evaluate, skipped
from .errors import (
    EvaluationError,
    MissingTensorError,
    NotEvaluable,
    PairingError,
    TaskDataError,
    UnknownTaskError,
    UnknownTensorError,
)
from .plan import MODES, EvaluationPlan
from .result import Divergence, Evaluation, Interval, Likelihood, MetricChange, TensorErrors

__all__ = [
    "MODES",
    "Divergence",
    "Evaluation",
    "EvaluationError",
    "EvaluationPlan",
    "Interval",
    "Likelihood",
    "MetricChange",
    "MissingTensorError",
    "NotEvaluable",
    "PairingError",
    "TaskDataError",
    "TensorErrors",
    "UnknownTaskError",
    "UnknownTensorError",
    "evaluate",
    "skipped",
]
