"""`evaluate`: what the coding did to the model's behaviour."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .baseline import (
    baseline_key,
    computing,
    library_versions,
    read_baseline,
    surroundings_digest,
    write_baseline,
)
from .errors import EvaluationError, NotEvaluable, PairingError
from .plan import EvaluationPlan
from .result import Evaluation

__all__ = ["evaluate", "skipped"]

Reader = Callable[[str], NDArray[Any]]
Progress = Callable[[str], None]


def skipped(plan: EvaluationPlan, reason: str) -> Evaluation:
    """Return the evaluation that was not made, with the reason for the row."""
    return Evaluation(plan.mode, "skipped", reason, settings=plan.settings())


def evaluate(
    plan: EvaluationPlan,
    *,
    directory: Path | None,
    original: Reader | None,
    restored: Reader,
    names: Iterable[str],
    baseline_cache: Path | None,
    identity: str,
    progress: Progress,
) -> Evaluation:
    """Compare the restored model with the original on the same samples.

    Args:
        plan: what to evaluate.
        directory: folder with config.json and tokenizer (and weights, if `original` is None).
        original: gives the original tensor of a name. None: the safetensors files of `directory`.
        restored: gives the restored tensor of a name, same shape; ml_dtypes floats are fine.
        names: of the tensors that `original` and `restored` know.
        baseline_cache: folder where the original's results are kept between runs, or None.
        identity: content identity of the original, part of the key of the cached results.
        progress: is told in a few words what is going on.

    Returns:
        An Evaluation; its status is "skipped", with the reason, for mode "none" and for a model without the
        behaviour that the mode measures.

    Raises:
        EvaluationError: tensors missing or misplaced, a task unknown or without data, documents that differ.
    """
    if plan.mode == "none":
        return skipped(plan, "no evaluation was asked for")
    if plan.mode == "tensor":
        return _compare_values(plan, directory, original, restored, names, progress)
    from .session import quiet_session

    started = time.perf_counter()
    progress("importing torch and transformers")
    with quiet_session(plan.threads, plan.seed):
        try:
            return _Comparison(
                plan, directory, original, restored, tuple(names), baseline_cache, identity, progress, started
            ).run()
        except NotEvaluable as reason:
            return skipped(plan, str(reason))


def _compare_values(
    plan: EvaluationPlan,
    directory: Path | None,
    original: Reader | None,
    restored: Reader,
    names: Iterable[str],
    progress: Progress,
) -> Evaluation:
    from .tensors import compare_tensors

    if original is None:
        raise EvaluationError("eval=tensor needs `original`: values are compared as they are stored")
    started = time.perf_counter()
    errors = compare_tensors(names, original, restored, progress)
    seconds = {"total": time.perf_counter() - started}
    return Evaluation("tensor", "ok", tensors=errors, seconds=seconds, settings=plan.settings())


class _Comparison:
    """One evaluation with a model in it; knows which side's weights the model holds at the moment."""

    def __init__(
        self,
        plan: EvaluationPlan,
        directory: Path | None,
        original: Reader | None,
        restored: Reader,
        names: tuple[str, ...],
        cache: Path | None,
        identity: str,
        progress: Progress,
        started: float,
    ) -> None:
        from .model import CausalModel, folder_weights

        self.plan, self.cache, self.identity, self.progress = plan, cache, identity, progress
        self.started = started
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self.versions = library_versions()
        with _Stopwatch(self.seconds, "build"):
            progress("building the model")
            self.model = CausalModel(directory, dtype=plan.dtype, device=plan.device)
        if original is None and directory is not None:
            original_names, original = folder_weights(directory)
        else:
            original_names = names
        assert original is not None
        self.sides = {
            "original": (original_names, original, "the original"),
            "restored": (names, restored, "the restored model"),
        }
        # A model was built, so there is a directory; its tokenizer and config move scores as its weights do.
        self.surroundings = surroundings_digest(directory) if directory else ""
        self.loaded = ""

    def load(self, side: str) -> None:
        """Fill the model with one side's weights, unless they are in it."""
        if self.loaded != side:
            self.progress(f"loading the {side} weights")
            names, read, source = self.sides[side]
            with _Stopwatch(self.seconds, f"load_{side}"):
                self.loaded = ""
                self.model.load(names, read, source)
                self.loaded = side

    def run(self) -> Evaluation:
        if self.plan.mode == "lm_eval":
            return self._tasks()
        return self._text()

    def _text(self) -> Evaluation:
        from .likelihood import divergence_of, likelihood_of

        with_kl = self.plan.mode != "perplexity"
        scores, baseline = self._scores(with_kl)
        return self._answer(
            divergence=divergence_of(scores, self.plan.seed) if with_kl else None,
            likelihood=likelihood_of(scores, self.plan.seed),
            baseline=baseline,
        )

    def _scores(self, with_kl: bool) -> tuple[Any, str]:
        """Score the held-out text; without KL, the original's log-likelihoods are cached."""
        from .likelihood import cut_windows, score, texts_of

        plan = self.plan
        limit = plan.max_length or self.model.max_length
        windows = cut_windows(self.model.tokenizer, texts_of(self._text_files()), plan.kl_tokens, limit)
        key = ""
        if not with_kl and self.cache is not None:
            digest = baseline_key("windows", {}, {}, repr(windows))
            key = self._key(("perplexity",), digest)
        with self._alone(key) as payload:
            known = None if payload is None else np.asarray(payload, dtype=np.float64)
            with _Stopwatch(self.seconds, "text"):
                scores = score(
                    self.model,
                    windows,
                    self.load,
                    batch_size=plan.batch_size,
                    known=known,
                    with_kl=with_kl,
                    progress=self.progress,
                )
            if key and known is None and self.cache is not None:
                write_baseline(self.cache, key, scores.before.tolist())
        return scores, "computed" if known is None else "cached"

    def _text_files(self) -> list[Path]:
        if self.plan.texts:
            files = [Path(text) for text in self.plan.texts]
        else:
            from weightbench.zoo import tasks_directory

            folder = Path(tasks_directory())
            domains = [task.stem.removeprefix("wb_bpb_") for task in sorted(folder.glob("wb_bpb_*.yaml"))]
            files = [folder / f"{domain}.jsonl" for domain in domains]
        for file in files:
            if not file.is_file():
                raise EvaluationError(f"the held-out text {file} does not exist; set eval.texts")
        return files

    def _tasks(self) -> Evaluation:
        from .changes import check_pairing, paired_changes
        from .harness import MetricSamples
        from .likelihood import divergence_of, likelihood_of
        from .session import offline
        from .tasks import find_tasks, folder_digest, task_folder

        plan = self.plan
        folder = task_folder(plan)
        with _Stopwatch(self.seconds, "tasks"):
            self.progress("importing lm-eval")
            tasks = find_tasks(plan, folder, self.progress)
        key = self._key(("lm_eval",), folder_digest(folder))
        with offline() if tasks.local else nullcontext():
            with self._alone(key) as payload:
                if payload is None:
                    before, baseline = self._original(tasks, key), "computed"
                else:
                    before, baseline = [MetricSamples(**entry) for entry in payload], "cached"
            text: dict[str, Any] = {}
            if plan.kl_tokens:
                scores, _ = self._scores(with_kl=True)
                text = {
                    "divergence": divergence_of(scores, plan.seed),
                    "likelihood": likelihood_of(scores, plan.seed),
                }
            after = self._harness("restored", tasks)
            try:
                check_pairing(before, after)
            except PairingError:
                if baseline == "computed":
                    raise
                # The data on the hub moved on since the baseline was stored.
                self._warn("the cached baseline is of other documents than the tasks have; computed again")
                before, baseline = self._original(tasks, key), "computed"
                check_pairing(before, after)

        def aggregation(task: str, metric: str) -> Callable[[list[Any]], float]:
            function: Callable[[list[Any]], float] = tasks.leaves[task].aggregation()[metric]
            return function

        changes = paired_changes(before, after, aggregation, plan.seed)
        return self._answer(changes=changes, baseline=baseline, **text)

    def _original(self, tasks: Any, key: str) -> list[Any]:
        before = self._harness("original", tasks)
        if self.cache is not None:
            write_baseline(self.cache, key, [samples.to_json() for samples in before])
        return before

    def _harness(self, side: str, tasks: Any) -> list[Any]:
        from .harness import run_harness

        self.load(side)
        self.progress(f"lm-eval, {side} weights")
        with _Stopwatch(self.seconds, f"lm_eval_{side}"):
            return run_harness(self.plan, self.model, tasks, side, self.progress)

    def _key(self, parts: tuple[str, ...], data: str) -> str:
        # Texts and folders enter as content (`data`), not as paths.
        without = ("mode", "include_path", "texts", "kl_tokens")
        settings = {k: v for k, v in self.plan.settings().items() if k not in without}
        settings |= {"part": list(parts), "surroundings": self.surroundings}
        return baseline_key(self.identity, settings, self.versions, data)

    @contextmanager
    def _alone(self, key: str) -> Iterator[Any]:
        """Give the cached payload, or None and the right to compute it while no other process does."""
        payload = self._read_cache(key) if key else None
        if payload is not None or not key or self.cache is None:
            yield payload
            return
        with computing(self.cache, key, self.progress):
            yield self._read_cache(key)

    def _read_cache(self, key: str) -> Any:
        if self.cache is None:
            return None
        payload, warning = read_baseline(self.cache, key)
        if warning:
            self._warn(warning)
        return payload

    def _warn(self, text: str) -> None:
        if text in self.warnings:
            return
        self.warnings.append(text)
        self.progress(f"warning: {text}")

    def _answer(self, **parts: Any) -> Evaluation:
        self.seconds["total"] = time.perf_counter() - self.started
        return Evaluation(
            self.plan.mode,
            "ok",
            seconds=self.seconds,
            settings=self.plan.settings(),
            versions=self.versions,
            warnings=tuple(self.warnings),
            **parts,
        )


class _Stopwatch:
    """Adds the seconds of a `with` block to an entry."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + time.perf_counter() - self.started
