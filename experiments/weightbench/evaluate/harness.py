"""lm-eval on one side: run `simple_evaluate`, keep what a paired comparison needs of its per-sample log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .model import CausalModel
from .plan import EvaluationPlan
from .session import without_bars
from .tasks import Tasks

__all__ = ["MetricSamples", "run_harness"]

Kind = Literal["mean", "ratio", "other", "group"]


@dataclass(frozen=True)
class MetricSamples:
    """One metric of one task on one side.

    Attributes:
        task, metric, filter: lm-eval's names.
        kind: how documents make the number: `mean` of scalars; `ratio` of summed log-likelihoods to summed
            weights; `other`, any function of all documents; `group`, lm-eval's mean over tasks.
        value: the number as lm-eval reports it.
        values: per document: a scalar, [log-likelihood, weight], or what the metric's function takes.
        documents: per document "id:hash of the document:hash of the prompt".
        higher_is_better: as the task says, or None.
    """

    task: str
    metric: str
    filter: str
    kind: Kind
    value: float
    values: list[Any]
    documents: list[str]
    higher_is_better: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def run_harness(
    plan: EvaluationPlan, model: CausalModel, tasks: Tasks, label: str, progress: Callable[[str], None]
) -> list[MetricSamples]:
    """Evaluate the model's present weights on the tasks with lm-eval.

    Args:
        plan: few-shot count, limit, batch size, context and seed are taken from it.
        model: holds the weights.
        tasks: from `find_tasks`.
        label: "original" or "restored", for progress.
        progress: is told how many sequences were scored, at most once a second.
    """
    with without_bars():
        from lm_eval import simple_evaluate

        lm = _reporting_model(plan, model, label, progress)
        answer = simple_evaluate(
            model=lm,
            tasks=tasks.objects,
            task_manager=tasks.manager,  # without it, lm-eval indexes its 14,000 tasks each time
            num_fewshot=plan.num_fewshot,
            batch_size=plan.batch_size,
            device=plan.device,
            limit=plan.limit,
            bootstrap_iters=0,  # our intervals are paired; lm-eval's are of one side
            log_samples=True,
            random_seed=plan.seed,
            numpy_random_seed=plan.seed,
            torch_random_seed=plan.seed,
            fewshot_random_seed=plan.seed,
        )
    return _samples_of(answer, tasks)


def _reporting_model(
    plan: EvaluationPlan, model: CausalModel, label: str, progress: Callable[[str], None]
) -> Any:
    """Return lm-eval's own HFLM around our torch model; it only counts what passes through."""
    from lm_eval.models.huggingface import HFLM

    class Reporting(HFLM):  # type: ignore[misc]
        scored = 0
        reported = 0.0

        def _model_call(self, inps: Any, *args: Any, **kwargs: Any) -> Any:
            answer = super()._model_call(inps, *args, **kwargs)
            self._count(inps.shape[0], "scored")
            return answer

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            answer = super()._model_generate(context, *args, **kwargs)
            self._count(context.shape[0], "generated")
            return answer

        def _count(self, rows: int, verb: str) -> None:
            self.scored += rows
            if (now := time.monotonic()) - self.reported >= 1.0:
                self.reported = now
                progress(f"lm-eval, {label} weights: {self.scored:,} sequences {verb}")

    return Reporting(
        pretrained=model.torch_model,
        tokenizer=model.tokenizer,
        batch_size=plan.batch_size,
        max_length=plan.max_length,
        device=plan.device,
    )


def _samples_of(answer: Any, tasks: Tasks) -> list[MetricSamples]:
    kept: list[MetricSamples] = []
    better = answer["higher_is_better"]
    for task, logged in answer["samples"].items():
        aggregation = tasks.leaves[task].aggregation()
        by_filter: dict[str, list[dict[str, Any]]] = {}
        for sample in logged:
            by_filter.setdefault(sample["filter"], []).append(sample)
        for name, samples in by_filter.items():
            for metric in dict.fromkeys(m for sample in samples for m in sample["metrics"]):
                value = answer["results"][task].get(f"{metric},{name}")
                if not isinstance(value, int | float):
                    continue  # "bypass" and the like: a metric without a number
                having = [sample for sample in samples if metric in sample["metrics"]]
                values = [_jsonable(sample[metric]) for sample in having]
                kept.append(
                    MetricSamples(
                        task=task,
                        metric=metric,
                        filter=name,
                        kind=_kind(aggregation.get(metric), values),
                        value=float(value),
                        values=values,
                        documents=[f"{s['doc_id']}:{s['doc_hash']}:{s['prompt_hash']}" for s in having],
                        higher_is_better=better.get(task, {}).get(metric),
                    )
                )
    for group, numbers in answer.get("groups", {}).items():
        for key, value in numbers.items():
            metric, _, name = key.partition(",")
            if name and not metric.endswith("_stderr") and isinstance(value, int | float):
                rises = better.get(group, {}).get(metric)
                kept.append(MetricSamples(group, metric, name, "group", float(value), [], [], rises))
    return kept


def _kind(aggregate: Callable[..., float] | None, values: list[Any]) -> Kind:
    from lm_eval.api import metrics

    scalar = all(isinstance(value, int | float) for value in values)
    if scalar and aggregate in (None, metrics.mean):
        return "mean"
    if aggregate in (metrics.weighted_perplexity, metrics.bits_per_byte):
        return "ratio"
    return "other"


def _jsonable(value: Any) -> Any:
    """Return NumPy scalars as Python's, tuples as lists, so that a cached value equals a fresh one."""
    if isinstance(value, tuple | list):
        return [_jsonable(item) for item in value]
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    return value
