"""The zoo's tasks: data that ships, found from anywhere, solved by the base, lost by coarse weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer, PreTrainedModel

from weightbench.zoo import directory, tasks_directory
from weightbench.zoo.train.coarsen import round_mantissa, round_uniform
from weightbench.zoo.train.measure import ALL_TASKS, load

DOMAINS = ("pydoc", "wordnet", "jargon", "kjv")
SLICE = 200


def _rows(file: str) -> list[dict[str, object]]:
    with (tasks_directory() / file).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _accuracy(model: PreTrainedModel) -> float:
    tokenizer = AutoTokenizer.from_pretrained(directory("llama"))
    results = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=64, device="cpu"),
        tasks=["wb_continuation"],
        task_manager=TaskManager(include_path=str(tasks_directory()), include_defaults=False),
        limit=SLICE,
        bootstrap_iters=0,
    )["results"]
    return float(results["wb_continuation"]["acc,none"])


@pytest.fixture(scope="module")
def base_accuracy() -> float:
    torch.set_num_threads(1)
    return _accuracy(load("llama"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_tasks_are_listed() -> None:
    manager = TaskManager(include_path=str(tasks_directory()), include_defaults=False)
    assert set(manager.all_tasks) == {*ALL_TASKS, "wb_bpb"}
    loaded = manager.load(list(ALL_TASKS))["tasks"]
    assert {name: len(task.eval_docs) for name, task in loaded.items()} == {
        "wb_continuation": len(_rows("continuation.jsonl")),
        **{f"wb_bpb_{domain}": len(_rows(f"{domain}.jsonl")) for domain in DOMAINS},
    }


@pytest.mark.parametrize("domain", DOMAINS)
def test_passages(domain: str) -> None:
    texts = [str(row["text"]) for row in _rows(f"{domain}.jsonl")]
    assert len(set(texts)) == len(texts)
    assert 40_000 < sum(len(text.encode()) for text in texts) < 130_000


def test_continuation_items() -> None:
    rows = _rows("continuation.jsonl")
    assert len(rows) == 1200
    tokenizer = AutoTokenizer.from_pretrained(directory("llama"))
    answers = [0, 0, 0, 0]
    for row in rows:
        choices, answer, context = row["choices"], row["answer"], row["context"]
        assert isinstance(choices, list)
        assert isinstance(answer, int)
        assert isinstance(context, str)
        assert len(choices) == len(set(choices)) == 4
        assert all(choice.startswith(" ") for choice in choices)
        assert not context.endswith(" ")
        assert {len(tokenizer(choice)["input_ids"]) for choice in choices} == {5}
        assert max(map(len, choices)) - min(map(len, choices)) <= 8
        answers[answer] += 1
    # The position says nothing: each is within four standard deviations of a quarter.
    assert all(abs(count - 300) < 4 * (1200 * 0.25 * 0.75) ** 0.5 for count in answers)
    # A limit takes the first items, so they must be a fair sample of the domains.
    first = [row["domain"] for row in rows[:SLICE]]
    assert all(first.count(domain) > SLICE / 4 - 25 for domain in DOMAINS)


def test_base_is_clearly_above_chance(base_accuracy: float) -> None:
    chance, deviation = 0.25, (0.25 * 0.75 / SLICE) ** 0.5
    assert base_accuracy > chance + 6 * deviation


def test_coarse_weights_cost_accuracy(base_accuracy: float) -> None:
    model = load("llama")
    for parameter in model.parameters():
        parameter.copy_(round_uniform(parameter.data, 3))
    assert _accuracy(model) < base_accuracy - 0.08


def test_round_mantissa_agrees_with_the_hardware_types() -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(1))
    assert torch.equal(round_mantissa(values, 7), values.bfloat16().float())
    normal = values[values.abs() > 2**-14]
    assert torch.equal(round_mantissa(normal, 10), normal.half().float())
    assert torch.equal(round_mantissa(values, 23), values)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_round_uniform_grid(bits: int) -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(2))
    rounded = round_uniform(values, bits)
    assert rounded.unique().numel() <= 2**bits - 1
    step = values.abs().max() / (2 ** (bits - 1) - 1)
    assert (rounded - values).abs().max() <= step / 2 * (1 + 1e-5)
    assert torch.equal(round_uniform(torch.zeros(3), bits), torch.zeros(3))


@pytest.mark.slow
def test_lm_eval_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={directory('llama')}",
    ]
    command += ["--tasks", "wb_continuation,wb_bpb_kjv", "--include_path", str(tasks_directory())]
    command += ["--device", "cpu", "--batch_size", "64", "--limit", "20"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "wb_continuation" in done.stdout
    assert "bits_per_byte" in done.stdout
