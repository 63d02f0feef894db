"""What to tune: the options ``tune.*`` of the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from weightcodecs.errors import ConfigError
from weightcodecs.typed_fields import first_misfit

__all__ = ["TunePlan"]

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class TunePlan:
    """Budget, metric, and which values may be tried.

    Attributes:
        metric: ``kl`` (KL divergence of the next token, nats per token), ``likelihood`` (loss of
            log-likelihood on held-out text, nats per token) or ``TASK/METRIC`` of lm-eval (in the metric's
            own unit).
        budget: the most that may be lost, in the metric's unit; the interval's bad end must be within it.
        parameter: option of the codec; None: what `knobs.KNOBS` says.
        low, high: ends of the grid of a number; None: the knob's own.
        steps: points an octave of a logarithmic grid.
        values: try these and nothing else, from the mildest to the most lossy; empty: the knob's grid.
        checks: further probes just above the answer, to see whether the loss really stays beyond.

    Raises:
        ConfigError: a value makes no sense.
    """

    metric: str = "kl"
    budget: float = 0.01
    parameter: str | None = None
    low: float | None = None
    high: float | None = None
    steps: int = 1
    values: tuple[Scalar, ...] = ()
    checks: int = 1

    def __post_init__(self) -> None:
        if misfit := first_misfit(self):
            raise ConfigError(f"tune.{misfit}")
        if not self.budget >= 0:
            raise ConfigError(f"tune.budget must be 0 or more, not {self.budget}")
        if self.steps < 1 or self.checks < 0:
            raise ConfigError("tune.steps must be 1 or more, tune.checks 0 or more")
        if self.metric not in ("kl", "likelihood") and not all(self.metric.partition("/")[::2]):
            raise ConfigError(f"tune.metric must be kl, likelihood or TASK/METRIC, not {self.metric!r}")
        for name in ("low", "high"):
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise ConfigError(f"tune.{name} must be above 0, not {bound}")

    def settings(self) -> dict[str, Any]:
        """Return the plan in plain values."""
        return asdict(self) | {"values": list(self.values)}
