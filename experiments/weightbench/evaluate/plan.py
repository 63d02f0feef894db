"""What to evaluate: the resolved `conf/eval` group as one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from weightcodecs.errors import ConfigError, UnknownNameError

__all__ = ["DTYPES", "MODES", "EvaluationPlan", "Mode"]

Mode = Literal["none", "tensor", "kl", "perplexity", "lm_eval"]
MODES: tuple[Mode, ...] = ("none", "tensor", "kl", "perplexity", "lm_eval")
DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """How the original and the restored model are compared.

    Attributes:
        mode: `none`; `tensor` (errors of the values, any model); `kl` (KL divergence and perplexity on text);
            `perplexity` (the same text without keeping distributions); `lm_eval` (tasks, and `kl` beside them
            unless `kl_tokens` is 0).
        tasks: lm-eval task, group or tag names, patterns with `*`, or YAML paths. Empty: all there.
        include_path: folder of task YAMLs. None: the tasks that ship with the zoo.
        include_defaults: also index lm-eval's own task list (6 s). It is indexed in any case when a task is
            not found in `include_path`, so `tasks=(arc_easy,)` needs nothing else.
        limit: documents per task: a count, or a share when below 1. None: all.
        num_fewshot: examples before each question. None: what the task says.
        batch_size: sequences per forward pass, the same for both models (scores move with it).
        max_length: tokens of context. None: what the model's config says.
        seed: for Python, NumPy, torch and the few-shot sampler, like `lm_eval --seed`.
        device: torch device.
        threads: torch intra-op threads.
        dtype: number type the forward pass computes in; weights are widened or rounded to it.
        kl_tokens: tokens scored for KL divergence and perplexity.
        texts: paths of UTF-8 files (`.jsonl`: one document a line under "text"). Empty: the zoo's.
    """

    mode: Mode = "lm_eval"
    tasks: tuple[str, ...] = ()
    include_path: str | None = None
    include_defaults: bool = False
    limit: float | None = None
    num_fewshot: int | None = None
    batch_size: int = 16
    max_length: int | None = None
    seed: int = 1234
    device: str = "cpu"
    threads: int = 1
    dtype: str = "float32"
    kl_tokens: int = 4096
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError("evaluation mode", self.mode, MODES)
        if self.dtype not in DTYPES:
            raise UnknownNameError("evaluation dtype", self.dtype, DTYPES)
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"eval.{name} must be 1 or more, got {getattr(self, name)}")
        if self.limit is not None and self.limit <= 0:
            raise ConfigError(f"eval.limit must be above 0 (or null for all documents), got {self.limit}")
        if self.max_length is not None and self.max_length < 2:
            raise ConfigError(f"eval.max_length must be 2 or more, got {self.max_length}")
        if self.kl_tokens < 0 or (self.kl_tokens == 0 and self.mode in ("kl", "perplexity")):
            raise ConfigError(f"eval.kl_tokens must be 1 or more for mode {self.mode}, got {self.kl_tokens}")
        # Hydra hands over lists; a plan is hashable.
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "texts", tuple(self.texts))

    def settings(self) -> dict[str, Any]:
        """Return the plan as JSON-able values."""
        return asdict(self) | {"tasks": list(self.tasks), "texts": list(self.texts)}
