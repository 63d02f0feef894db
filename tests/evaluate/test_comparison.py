"""`evaluate` end to end on a tiny model: identity, coarsened weights, cache, errors."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from weightbench.canonical import dumps, loads
from weightbench.evaluate import (
    Evaluation,
    EvaluationPlan,
    MetricChange,
    MissingTensorError,
    TaskDataError,
    UnknownTaskError,
    UnknownTensorError,
    evaluate,
)

Weights = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(autouse=True)
def _data_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the Arrow files of the tasks out of the home folder."""
    import datasets

    cache = tmp_path_factory.getbasetemp() / "datasets_cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return iter([None])


def run(
    plan: EvaluationPlan,
    directory: Path | None,
    before: Weights | None,
    after: Weights,
    *,
    cache: Path | None = None,
    said: list[str] | None = None,
) -> Evaluation:
    return evaluate(
        plan,
        directory=directory,
        original=None if before is None else before.__getitem__,
        restored=after.__getitem__,
        names=list(after),
        baseline_cache=cache,
        identity="tiny",
        progress=(said if said is not None else []).append,
    )


def change(evaluation: Evaluation, task: str, metric: str) -> MetricChange:
    (found,) = [c for c in evaluation.changes if (c.task, c.metric) == (task, metric)]
    return found


@pytest.fixture
def plan(task_folder: Path, text_file: Path) -> EvaluationPlan:
    return EvaluationPlan(
        mode="lm_eval", include_path=str(task_folder), texts=(str(text_file),), kl_tokens=300, batch_size=4
    )


def assert_identity(evaluation: Evaluation) -> None:
    metrics = {c.metric for c in evaluation.changes}
    assert metrics == {"acc", "acc_norm", "bits_per_byte", "byte_perplexity", "word_perplexity"}
    for c in evaluation.changes:
        assert c.difference == 0.0
        assert c.before == c.after
        assert c.interval is not None
        assert c.interval.low <= 0.0 <= c.interval.high
    assert evaluation.divergence is not None
    assert (evaluation.divergence.max, evaluation.divergence.top1_agreement) == (0.0, 1.0)
    assert evaluation.likelihood is not None
    assert evaluation.likelihood.difference == 0.0


def test_identity_changes_nothing_and_equals_lm_eval(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights, task_folder: Path
) -> None:
    """The numbers are those of lm-eval loading the same folder by itself."""
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    evaluation = run(plan, tiny_llama, None, weights)
    assert_identity(evaluation)
    before = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    official = simple_evaluate(
        model="hf",
        model_args=f"pretrained={tiny_llama},dtype=float32",
        tasks=["tiny_choice", "tiny_bpb"],
        batch_size=plan.batch_size,
        device="cpu",
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(task_folder), include_defaults=False),
    )["results"]
    torch.set_num_threads(before)
    for c in evaluation.changes:
        assert official[c.task][f"{c.metric},{c.filter}"] == c.after, c


@pytest.mark.slow
def test_identity_equals_the_command_line(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights, task_folder: Path, tmp_path: Path
) -> None:
    evaluation = run(plan, tiny_llama, None, weights)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(plan.threads),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
    }
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--batch_size", "4"]
    command += ["--model_args", f"pretrained={tiny_llama},dtype=float32", "--tasks", "tiny_choice,tiny_bpb"]
    command += ["--include_path", str(task_folder), "--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tmp_path / "out").rglob("results_*.json")
    official = json.loads(file.read_text())["results"]
    for c in evaluation.changes:
        assert official[c.task][f"{c.metric},{c.filter}"] == c.after, c


def test_coarse_weights(plan: EvaluationPlan, tiny_llama: Path, weights: Weights, coarse: Weights) -> None:
    evaluation = run(plan, tiny_llama, weights, coarse)
    assert evaluation.divergence is not None
    assert evaluation.likelihood is not None
    kl = evaluation.divergence
    assert 0 < kl.mean < kl.p99 <= kl.max
    assert kl.interval is not None
    assert 0 < kl.interval.low < kl.mean < kl.interval.high
    assert kl.tokens == evaluation.likelihood.tokens == 300
    assert kl.top1_agreement < 1
    for c in evaluation.changes:
        assert c.interval is not None, c
        assert c.interval.low <= c.difference <= c.interval.high, c
    accuracy = change(evaluation, "tiny_choice", "acc")
    assert accuracy.gained is not None
    assert accuracy.lost is not None
    assert accuracy.gained + accuracy.lost > 0
    assert accuracy.difference == pytest.approx((accuracy.gained - accuracy.lost) / accuracy.n)
    bits = change(evaluation, "tiny_bpb", "bits_per_byte")
    assert (bits.n, bits.gained, bits.higher_is_better) == (12, None, False)
    assert bits.interval is not None
    assert bits.interval.low < bits.interval.high
    assert loads(dumps(evaluation.to_json())) == evaluation.to_json()


def test_kl_and_perplexity_equal_a_direct_computation(
    plan: EvaluationPlan, tiny_llama: Path, text_file: Path, weights: Weights, coarse: Weights
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    evaluation = run(dataclasses.replace(plan, mode="kl", kl_tokens=10_000), tiny_llama, weights, coarse)
    models = [AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32) for _ in range(2)]
    models[1].load_state_dict({n: torch.from_numpy(a) for n, a in coarse.items()}, strict=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    divergences, likelihoods = [], []
    for line in text_file.read_text().splitlines():
        ids = tokenizer(json.loads(line)["text"])["input_ids"]
        for start in range(0, len(ids), 128):
            piece = ids[start : start + 128]
            with torch.no_grad():
                p, q = (
                    m(torch.tensor([[0, *piece[:-1]]])).logits[0].double().log_softmax(-1) for m in models
                )
            divergences += (p.exp() * (p - q)).sum(-1).tolist()
            likelihoods += q[torch.arange(len(piece)), torch.tensor(piece)].tolist()
    assert evaluation.divergence is not None
    assert evaluation.likelihood is not None
    assert evaluation.divergence.tokens == len(divergences)
    assert evaluation.divergence.mean == pytest.approx(np.mean(divergences), rel=1e-4)
    assert evaluation.divergence.max == pytest.approx(np.max(divergences), rel=1e-3)
    assert evaluation.likelihood.perplexity_after == pytest.approx(np.exp(-np.mean(likelihoods)), rel=1e-5)


def test_rounds_give_the_same_as_one_pass(
    plan: EvaluationPlan,
    tiny_llama: Path,
    weights: Weights,
    coarse: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from weightbench.evaluate import likelihood

    plan = dataclasses.replace(plan, mode="kl", batch_size=1)
    whole = run(plan, tiny_llama, weights, coarse)
    monkeypatch.setattr(likelihood, "_ROUND_BYTES", 1)  # one window a round
    said: list[str] = []
    rounds = run(plan, tiny_llama, weights, coarse, said=said)
    assert said.count("loading the original weights") == rounds.likelihood.windows > 1  # type: ignore[union-attr]
    assert (rounds.divergence, rounds.likelihood) == (whole.divergence, whole.likelihood)


def test_perplexity_mode_keeps_the_baseline(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights, coarse: Weights, tmp_path: Path
) -> None:
    plan = dataclasses.replace(plan, mode="perplexity")
    first = run(plan, tiny_llama, weights, coarse, cache=tmp_path)
    second = run(plan, tiny_llama, {}, coarse, cache=tmp_path)  # an empty original: it must not be read
    assert (first.baseline, second.baseline) == ("computed", "cached")
    assert first.likelihood == second.likelihood
    assert first.divergence is None


def test_the_baseline_is_cached_and_a_damaged_file_is_computed_again(
    plan: EvaluationPlan,
    tiny_llama: Path,
    weights: Weights,
    coarse: Weights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import LlamaForCausalLM

    calls = 0
    forward = LlamaForCausalLM.forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", counted)
    plan = dataclasses.replace(plan, kl_tokens=0, limit=8)

    def count(plan: EvaluationPlan) -> tuple[int, Evaluation]:
        nonlocal calls
        calls = 0
        evaluation = run(plan, tiny_llama, weights, coarse, cache=tmp_path)
        return calls, evaluation

    both, first = count(plan)
    one, second = count(plan)
    assert both == 2 * one > 0
    assert (first.baseline, second.baseline) == ("computed", "cached")
    assert second.changes == first.changes
    assert change(first, "tiny_choice", "acc").n == 8

    assert count(dataclasses.replace(plan, limit=4))[1].baseline == "computed"
    for file in tmp_path.glob("*.json"):
        file.write_bytes(file.read_bytes()[:-7] + b"garbage")
    again, third = count(plan)
    assert (again, third.baseline, third.changes) == (both, "computed", first.changes)
    assert any("damaged" in warning for warning in third.warnings)
    assert count(plan)[0] == one


def test_a_stale_baseline_is_noticed(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights, tmp_path: Path
) -> None:
    plan = dataclasses.replace(plan, kl_tokens=0, limit=4)
    run(plan, tiny_llama, weights, weights, cache=tmp_path)
    (file,) = tmp_path.glob("*.json")
    from weightbench.evaluate.baseline import read_baseline, write_baseline

    payload, _ = read_baseline(tmp_path, file.stem)
    payload[0]["documents"][0] = "0:another:document"
    write_baseline(tmp_path, file.stem, payload)
    evaluation = run(plan, tiny_llama, weights, weights, cache=tmp_path)
    assert evaluation.baseline == "computed"
    assert any("other documents" in warning for warning in evaluation.warnings)


def test_half_precision_weights_are_widened(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights, text_file: Path
) -> None:
    plan = dataclasses.replace(plan, mode="perplexity")
    narrow = {n: a.astype(ml_dtypes.bfloat16) for n, a in weights.items()}
    wide = {n: a.astype(np.float32) for n, a in narrow.items()}
    assert run(plan, tiny_llama, wide, narrow).likelihood == run(plan, tiny_llama, narrow, wide).likelihood


def test_broken_weights_give_numbers_not_a_crash(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights
) -> None:
    broken = {n: np.full_like(a, np.nan) if "norm" in n else a for n, a in weights.items()}
    evaluation = run(dataclasses.replace(plan, limit=4), tiny_llama, weights, broken)
    assert evaluation.status == "ok"
    assert evaluation.divergence is not None
    assert np.isnan(evaluation.divergence.mean)
    assert np.isnan(change(evaluation, "tiny_bpb", "bits_per_byte").after)
    assert "nan" in dumps(evaluation.to_json())


def test_missing_and_unknown_tensors(plan: EvaluationPlan, tiny_llama: Path, weights: Weights) -> None:
    plan = dataclasses.replace(plan, mode="perplexity")
    name = "model.layers.1.mlp.up_proj.weight"
    less = {n: a for n, a in weights.items() if n != name}
    with pytest.raises(MissingTensorError, match=name):
        run(plan, tiny_llama, weights, less)
    with pytest.raises(UnknownTensorError, match=r"model\.surplus"):
        run(plan, tiny_llama, weights, {**weights, "model.surplus": np.zeros(3, np.float32)})


def test_unknown_task_names_the_nearest(plan: EvaluationPlan, tiny_llama: Path, weights: Weights) -> None:
    from lm_eval.tasks import TaskManager

    real = TaskManager.__init__

    def without_defaults(self: Any, **kwargs: Any) -> None:  # indexing 14,000 tasks takes 6 s
        real(self, **{**kwargs, "include_defaults": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskManager, "__init__", without_defaults)
        with pytest.raises(UnknownTaskError, match="tiny_choice") as caught:
            run(dataclasses.replace(plan, tasks=("tiny_choise",)), tiny_llama, weights, weights)
    assert caught.value.nearest[0] == "tiny_choice"


def test_a_task_without_its_data(
    plan: EvaluationPlan, tiny_llama: Path, weights: Weights, tmp_path: Path
) -> None:
    (tmp_path / "gone.yaml").write_text(
        "task: gone\ndataset_path: nobody/nothing\ntest_split: test\noutput_type: loglikelihood_rolling\n"
        "doc_to_text: ''\ndoc_to_target: text\nmetric_list: [{metric: bits_per_byte}]\n"
    )
    plan = dataclasses.replace(plan, include_path=str(tmp_path), tasks=("gone",))
    with pytest.raises(TaskDataError, match="hub"):
        run(plan, tiny_llama, weights, weights)


def test_patterns_choose_tasks(plan: EvaluationPlan, tiny_llama: Path, weights: Weights) -> None:
    plan = dataclasses.replace(plan, tasks=("tiny_b*",), kl_tokens=0, limit=2)
    assert {c.task for c in run(plan, tiny_llama, weights, weights).changes} == {"tiny_bpb"}


def test_other_architectures_are_skipped(plan: EvaluationPlan, weights: Weights, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).save_pretrained(tmp_path)
    evaluation = run(plan, tmp_path, weights, weights)
    assert evaluation.status == "skipped"
    assert "BertModel is not a causal language model" in evaluation.reason
    assert "no config.json" in run(plan, None, weights, weights).reason


def test_nothing_is_printed_and_progress_is_told(
    plan: EvaluationPlan,
    tiny_llama: Path,
    weights: Weights,
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    run(dataclasses.replace(plan, limit=4), tiny_llama, weights, weights, said=said)
    assert capfd.readouterr() == ("", "")
    assert any("original" in line for line in said)
    assert any("restored" in line for line in said)
