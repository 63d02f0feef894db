"""KL divergence and perplexity on held-out text, in one pass over each side.

The text is cut into disjoint windows, each begun by the tokenizer's start token, as lm-eval's rolling
likelihood does. Exact KL needs both distributions of a token at once, and there is one model: so windows go
in rounds, as many as fit in `_ROUND_BYTES` of the original's logits. In each round the original scores the
windows, then the restored weights do; loading weights is cheap beside scoring. Softmax and sums are float64.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import EvaluationError
from .model import CausalModel
from .paired import ratio_interval
from .result import Divergence, Likelihood

__all__ = ["TokenScores", "Window", "cut_windows", "divergence_of", "likelihood_of", "score", "texts_of"]

Floats = NDArray[np.float64]

_WINDOW = 128  # tokens; long enough for context, short enough that a few thousand tokens are many windows
_ROUND_BYTES = 256 << 20
_FORWARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Window:
    """Token ids that go in, and the ids to be predicted at each of these positions; equal lengths."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True)
class TokenScores:
    """Per token, in window order: log-likelihoods of both sides; KL and agreement where it was asked for."""

    windows: tuple[int, ...]  # tokens of each window
    before: Floats
    after: Floats
    kl: Floats | None
    agrees: NDArray[np.bool_] | None


def texts_of(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the documents of text files in turn, one of each file, so that every file contributes early.

    A file is one document, or, with the suffix `.jsonl`, one a line under "text".

    Raises:
        EvaluationError: a line of a `.jsonl` has no text.
    """
    for row in zip_longest(*[_documents(path) for path in paths]):
        yield from (document for document in row if document is not None)


def _documents(path: Path) -> Iterator[str]:
    if path.suffix != ".jsonl":
        yield path.read_text(encoding="utf-8")
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                document = json.loads(line)
            except ValueError as error:
                raise EvaluationError(f"{path.name}, line {number}: not JSON ({error})") from error
            if not isinstance(document, dict) or not isinstance(document.get("text"), str):
                raise EvaluationError(f'{path.name}, line {number}: no "text"')
            yield document["text"]


def cut_windows(
    tokenizer: Any, texts: Iterable[str], tokens: int, max_length: int | None
) -> tuple[Window, ...]:
    """Cut texts into windows, taking documents in turn so that each contributes, until `tokens` are reached.

    Raises:
        EvaluationError: the texts hold no token to score.
    """
    length = min(_WINDOW, max_length or _WINDOW)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    documents = []
    for text in texts:
        # One document could have to give all the tokens; none has tokens of 16 characters on average.
        ids = tokenizer(text[: tokens * 16], add_special_tokens=False)["input_ids"]
        documents.append([ids[i : i + length] for i in range(0, len(ids), length)])
    windows: list[Window] = []
    left = tokens
    for turn in range(max((len(pieces) for pieces in documents), default=0)):
        for pieces in documents:
            if turn >= len(pieces) or left <= 0:
                continue
            piece = pieces[turn]
            inputs, targets = ([start, *piece[:-1]], piece) if start is not None else (piece[:-1], piece[1:])
            if targets:
                windows.append(Window(tuple(inputs[:left]), tuple(targets[:left])))
                left -= len(targets)
    if not windows:
        raise EvaluationError("the held-out text holds no token to score; give eval.texts")
    return tuple(windows)


def score(
    model: CausalModel,
    windows: tuple[Window, ...],
    load: Callable[[str], None],
    *,
    batch_size: int,
    known: Floats | None,
    with_kl: bool,
    progress: Callable[[str], None],
) -> TokenScores:
    """Score all windows under the original and the restored weights.

    Args:
        model: takes the weights; the restored ones are loaded when this returns.
        windows: from `cut_windows`.
        load: called with "original" or "restored"; fills the model (and does nothing if it is there already).
        batch_size: windows in a forward pass, fewer if their logits are large; the same for both sides.
        known: log-likelihoods of the original from an earlier run, when no KL is asked for.
        with_kl: compare whole distributions too.
        progress: is told what is being scored.
    """
    vocabulary = int(model.torch_model.get_output_embeddings().weight.shape[0])
    per_window = max(len(w.targets) for w in windows) * vocabulary * 4
    batch = max(1, min(batch_size, _FORWARD_BYTES // per_window))
    size = max(batch, _ROUND_BYTES // per_window // batch * batch) if with_kl else len(windows)
    before, after, kl, agrees = [], [], [], []
    for first in range(0, len(windows), size):
        part = windows[first : first + size]
        logits: list[Any] = []
        if known is None:
            load("original")
            for chunk, row in _forward(model, part, batch, "original", progress):
                before.append(_log_likelihood(row, chunk.targets))
                if with_kl:
                    logits.append(row)
        load("restored")
        for number, (chunk, row) in enumerate(_forward(model, part, batch, "restored", progress)):
            after.append(_log_likelihood(row, chunk.targets))
            if with_kl:
                kl_row, agrees_row = _compare(logits[number], row)
                kl.append(kl_row)
                agrees.append(agrees_row)
    return TokenScores(
        windows=tuple(len(w.targets) for w in windows),
        before=known if known is not None else np.concatenate(before),
        after=np.concatenate(after),
        kl=np.concatenate(kl) if with_kl else None,
        agrees=np.concatenate(agrees) if with_kl else None,
    )


def _forward(
    model: CausalModel,
    windows: tuple[Window, ...],
    batch: int,
    label: str,
    progress: Callable[[str], None],
) -> Iterator[tuple[Window, Any]]:
    """Yield each window with its float32 logits (tokens, vocabulary), without the padding on the right."""
    import torch

    for first in range(0, len(windows), batch):
        part = windows[first : first + batch]
        progress(f"held-out text, {label} weights: {first}/{len(windows)} windows")
        longest = max(len(w.inputs) for w in part)
        ids = torch.zeros((len(part), longest), dtype=torch.long)
        for row, window in enumerate(part):
            ids[row, : len(window.inputs)] = torch.tensor(window.inputs)
        with torch.inference_mode():
            logits = model.torch_model(input_ids=ids.to(model.torch_model.device), use_cache=False).logits
        for row, window in enumerate(part):
            yield window, logits[row, : len(window.inputs)].float().cpu()


def _log_likelihood(logits: Any, targets: tuple[int, ...]) -> Floats:
    import torch

    wide = torch.log_softmax(logits, dim=-1, dtype=torch.float64)
    return np.asarray(wide.gather(1, torch.tensor(targets).unsqueeze(1)).squeeze(1).numpy())


def _compare(original: Any, restored: Any) -> tuple[Floats, NDArray[np.bool_]]:
    import torch

    p = torch.log_softmax(original, dim=-1, dtype=torch.float64)
    q = torch.log_softmax(restored, dim=-1, dtype=torch.float64)
    # Where p is 0 the term is 0, though log p − log q may be −inf + inf.
    terms = torch.where(p == -math.inf, 0.0, p.exp() * (p - q))
    # KL is not negative; rounding of the sum can be, by about 1e-16.
    kl = terms.sum(dim=-1).clamp_min(0.0)
    return np.asarray(kl.numpy()), np.asarray((original.argmax(-1) == restored.argmax(-1)).numpy())


def likelihood_of(scores: TokenScores, seed: int) -> Likelihood:
    """Reduce to perplexities and the paired difference of the mean log-likelihood."""
    weights = np.asarray(scores.windows, dtype=np.float64)
    starts = np.concatenate([[0], np.cumsum(scores.windows)[:-1]])
    sums = [np.add.reduceat(side, starts) for side in (scores.before, scores.after)]
    with np.errstate(over="ignore"):  # a broken model's perplexity is infinite
        perplexities = [float(np.exp(-side.mean())) for side in (scores.before, scores.after)]
    return Likelihood(
        tokens=int(weights.sum()),
        windows=len(scores.windows),
        perplexity_before=perplexities[0],
        perplexity_after=perplexities[1],
        difference=float(scores.after.mean() - scores.before.mean()),
        interval=ratio_interval(sums[0], sums[1], weights, lambda ratio: ratio, seed, "windows of text"),
    )


def divergence_of(scores: TokenScores, seed: int) -> Divergence:
    """Reduce to mean, 99th percentile and maximum of KL, and the share of tokens with the same top choice.

    Raises:
        EvaluationError: the scores were made without KL.
    """
    if scores.kl is None or scores.agrees is None:
        raise EvaluationError("these scores were made without KL divergence")
    weights = np.asarray(scores.windows, dtype=np.float64)
    starts = np.concatenate([[0], np.cumsum(scores.windows)[:-1]])
    sums = np.add.reduceat(scores.kl, starts)
    nothing = np.zeros_like(sums)
    interval = ratio_interval(nothing, sums, weights, lambda ratio: ratio, seed, "windows of text")
    return Divergence(
        tokens=scores.kl.size,
        mean=float(scores.kl.mean()),
        p99=float(np.percentile(scores.kl, 99)),
        max=float(scores.kl.max()),
        interval=interval,
        top1_agreement=float(scores.agrees.mean()),
    )
