"""The answer of an evaluation: frozen values that turn into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Divergence", "Evaluation", "Interval", "Likelihood", "MetricChange", "TensorErrors"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a paired difference; `method` says how it was computed."""

    low: float
    high: float
    method: str
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric of one task, original (`before`) against restored (`after`), on the same documents.

    `before` and `after` are lm-eval's own numbers; `difference` is after − before. `gained` and `lost` count
    the items of a 0/1 metric that went from wrong to right and from right to wrong (None for other metrics).
    `interval` is None where fewer than two documents, or a group's mean of means, give none.
    """

    task: str
    metric: str
    filter: str
    n: int
    before: float
    after: float
    difference: float
    interval: Interval | None
    higher_is_better: bool | None
    gained: int | None = None
    lost: int | None = None


@dataclass(frozen=True, slots=True)
class Divergence:
    """KL(original ‖ restored) of the next token, in nats per token, and how often the top choice agrees."""

    tokens: int
    mean: float
    p99: float
    max: float
    interval: Interval | None
    top1_agreement: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Perplexity on held-out text; `difference` (and interval) is of the mean log-likelihood, nats per token.

    A negative difference means that the restored model finds the text less likely.
    """

    tokens: int
    windows: int
    perplexity_before: float
    perplexity_after: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class TensorErrors:
    """Errors of the restored values over all tensors.

    `max_abs`, `rmse` over finite values, `max_rel` where the original is not zero; `psnr_db` is
    20·log10((max − min of the original) / rmse), infinite when nothing changed; `changed` counts values that
    are not equal bit for bit; `non_finite` counts values that became or ceased to be NaN or ±Inf, or changed
    between them. Integers and opaque bytes only count in `values` and `changed`.
    """

    tensors: int
    values: int
    changed: int
    max_abs: float
    max_rel: float
    rmse: float
    psnr_db: float
    non_finite: int
    worst_tensor: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the coding did to the model. `status` is "ok", or "skipped" with the `reason`."""

    mode: str
    status: Literal["ok", "skipped"]
    reason: str = ""
    changes: tuple[MetricChange, ...] = ()
    divergence: Divergence | None = None
    likelihood: Likelihood | None = None
    tensors: TensorErrors | None = None
    baseline: Literal["none", "computed", "cached"] = "none"
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a row; NaN and infinities stay floats, which the store knows to write."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
