"""The command beside a cell makes that very cell again: same identity, through Hydra and back."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from weightbench.arguments import name_models, with_members
from weightbench.columns import flatten
from weightbench.measure.plan import MeasurePlan
from weightbench.report import commands
from weightbench.report.commands import reproduce
from weightbench.request import register_schema, request_of

CASES = [
    "codec=elf",
    "codec=elf codec.error_bound_absolute=1e-3 codec.entropy=none granularity=chunk",
    "codec=zstd codec.level=19 granularity=chunk granularity.chunk_bytes=65536 granularity.chunking=content",
    "codec=zipnn model.dtype=bfloat16 measure=ratio eval=none dedup=true",
    "codec=lz4 model=synthetic measure=paper measure.bandwidths_mb_per_s=[] eval=kl",
    "codec=cast measure=smoke measure.seed=7 measure.threads=2 eval=lm_eval eval.limit=0.5",
    "codec=int8 eval=lm_eval_quick eval.limit=null eval.tasks=[arc_easy,'odd, name']",
    "codec=zstd model=minilm measure.name=mine measure.min_seconds=0.25",
    "codec=elf 'model=/path/to/it is'",
    "codec=zipllm workload=family workload.lineage=distance 'workload.members=[gpt2,org/name]'",
    "codec=identity distributions=true eval=none",
    "codec=qstore workload=pair workload.low=nf4 model=smollm2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def composing() -> Iterator[None]:
    register_schema()
    with initialize_config_dir(str(commands.CONF), version_base="1.3"):
        yield


def cell_of(words: list[str]) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(compose("config", name_models(words)), resolve=True)
    named = config["workload"].get("members", [])
    request = request_of(with_members(config))
    source: Any = request.model.source
    return request.cell([source.name, *named], "sha256:0")


@pytest.mark.parametrize("words", CASES)
def test_a_command_makes_its_cell(words: str) -> None:
    cell = cell_of(shlex.split(words))
    command = reproduce(flatten({"cell": cell}))
    python, script, *again = shlex.split(command)
    assert (python, script) == ("python", "run.py")
    assert cell_of(again) == cell, command


def test_without_conf_everything_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    commands._preset.cache_clear()
    commands._words.cache_clear()
    measure = MeasurePlan(name="ratio", min_rounds=1, memcpy_bytes=1 << 26).settings()
    cell = {"codec": {"name": "zstd", "version": 1, "level": 19}, "model": {"name": "m"}, "measure": measure}
    with monkeypatch.context() as patch:
        patch.setattr(commands, "CONF", Path("/nowhere"))
        command = reproduce(flatten({"cell": cell}))
    commands._preset.cache_clear()
    commands._words.cache_clear()
    words = command.split()
    assert words[:5] == ["python", "run.py", "codec=zstd", "codec.level=19", "model=m"]
    said = dict(word.removeprefix("measure.").split("=") for word in shlex.split(command)[5:])
    assert said.keys() == {field.name for field in dataclasses.fields(MeasurePlan)}
    assert (said["name"], said["memcpy_bytes"], said["verify_every_round"]) == ("ratio", "67108864", "true")


def test_a_hub_model_is_pinned() -> None:
    cell = cell_of(["codec=zstd", "model=gpt2"])
    cell["model"]["revision"] = "hub:openai-community/gpt2@0123abc"
    words = shlex.split(reproduce(flatten({"cell": cell})))
    assert words[words.index("model=gpt2") + 1] == "model.revision='0123abc'"


def test_short_commands_stay_short() -> None:
    cell = cell_of(["codec=elf"])
    expected = "python run.py codec=elf model=llama granularity=tensor measure=timing eval=lm_eval_quick"
    assert reproduce(flatten({"cell": cell})) == expected
