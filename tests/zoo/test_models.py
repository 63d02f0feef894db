"""The zoo's weights: the published files, loadable, real fp32, as far apart as the table says."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from weightbench.zoo import ZOO, UnknownZooModelError, directory, names, tasks_directory
from weightbench.zoo.train.measure import relative_change

HOME = tasks_directory().parent
MANIFEST = json.loads((HOME / "manifest.json").read_text())
FINE_TUNES = [name for name, entry in ZOO.items() if entry.base is not None]


@pytest.mark.parametrize("path", sorted(MANIFEST))
def test_file_is_the_published_one(path: str) -> None:
    data = (HOME / path).read_bytes()
    assert {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} == MANIFEST[path]


@pytest.mark.parametrize("name", names())
def test_manifest_covers_a_model(name: str) -> None:
    present = {f"{name}/{path.name}" for path in directory(name).iterdir()} - {f"{name}/README.md"}
    needed = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
    assert {f"{name}/{file}" for file in needed} <= present
    assert present == {path for path in MANIFEST if path.startswith(f"{name}/")}


@pytest.mark.parametrize("name", names())
def test_model_card_names_its_base(name: str) -> None:
    card = (directory(name) / "README.md").read_text(encoding="utf-8")
    base = ZOO[name].base
    assert (f"\nbase_model: {base}\n" in card) == (base is not None)
    assert card.count("base_model:") == (0 if base is None else 1)


def test_committed_size() -> None:
    assert sum(entry["bytes"] for entry in MANIFEST.values()) < 52_000_000


def test_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(UnknownZooModelError, match="llama_kjv_1e-6") as caught:
        directory("llama_kvj_1e-6")
    assert caught.value.nearest[0] == "llama_kjv_1e-6"


def test_base_loads_and_predicts() -> None:
    model = AutoModelForCausalLM.from_pretrained(directory("llama"))
    tokenizer = AutoTokenizer.from_pretrained(directory("llama"))
    assert isinstance(model, LlamaForCausalLM)
    assert model.num_parameters() == 2_016_960
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    tokens = tokenizer("This module provides a", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(tokens).logits[0, -1]
    assert logits.isfinite().all()
    # A thing that a module provides is likelier a word than a line break.
    assert logits[tokenizer(" simple")["input_ids"][0]] > logits[tokenizer("\n")["input_ids"][0]]


@pytest.mark.parametrize("name", FINE_TUNES)
def test_fine_tune_has_the_shape_of_its_base(name: str) -> None:
    base = ZOO[name].base
    assert base is not None
    shapes = []
    for folder in (directory(base), directory(name)):
        with safe_open(folder / "model.safetensors", framework="np") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            shapes.append({key: (part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()})
    assert shapes[0] == shapes[1]
    assert {dtype for dtype, _ in shapes[0].values()} == {"F32"}
    configs = [
        AutoConfig.from_pretrained(folder).to_diff_dict() for folder in (directory(base), directory(name))
    ]
    for config in configs:
        config.pop("_name_or_path", None)
    assert configs[0] == configs[1]


@pytest.mark.parametrize("name", names())
def test_mantissas_are_full(name: str) -> None:
    """No value was rounded to a narrower type: the low 13 bits (fp16 and bf16 have none) are noise."""
    for key, values in load_file(directory(name) / "model.safetensors").items():
        low = values.view(np.uint32) & 0x1FFF
        assert np.mean(low == 0) < 0.05, key
        assert np.isfinite(values).all(), key


def test_distances_grow_with_the_learning_rate() -> None:
    changes = {name: relative_change(name) for name in FINE_TUNES}
    by_rate = sorted(FINE_TUNES, key=lambda name: ZOO[name].learning_rate)
    assert by_rate == FINE_TUNES  # the table is in that order
    for statistic in ("rms", "median"):
        values = [getattr(changes[name], statistic) for name in by_rate]
        assert values == sorted(values)
        assert values[-1] > 20 * values[0]
    # From a small published fine-tune (well below one per cent) to a large one.
    assert 1e-4 < changes[by_rate[0]].rms < 1e-2
    assert 2e-2 < changes[by_rate[-1]].rms < 0.5
    # They are full fine-tunes: hardly a weight kept its bits.
    assert all(change.unchanged < 0.1 for change in changes.values())


def test_recorded_distances_are_those_of_the_weights() -> None:
    with (HOME / "curves" / "deltas.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows) == FINE_TUNES
    for name, row in rows.items():
        assert relative_change(name).rms == pytest.approx(float(row["rms_relative_change"]), rel=1e-3)


def test_table_agrees_with_the_training_log() -> None:
    log = json.loads((HOME / "curves" / "llama.json").read_text())
    entry = ZOO["llama"]
    assert (log["steps"], log["peak_learning_rate"]) == (entry.steps, entry.learning_rate)
    assert tuple(log["trained_on"]) == entry.trained_on
    for name in FINE_TUNES:
        with (HOME / "curves" / f"{name}.heldout.csv").open(newline="") as file:
            assert int(list(csv.DictReader(file))[-1]["step"]) == ZOO[name].steps


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words",
        "  leading and trailing  ",
        "def f(x, *, y=None):\n    return {'a': x ** 2}\n",
        "naïve café – ☃ 漢字 \U0001f600",
        "\t\r\n\x00\x7f",
        "don't ,  spaced  .  out",
    ],
)
def test_tokenizer_round_trip(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directory("llama"))
    tokens = tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokens, clean_up_tokenization_spaces=False) == text
    # Nothing is added: lm-eval's loglikelihood_rolling puts <s> in front by itself.
    assert tokenizer.bos_token_id not in tokens
    assert (tokenizer.bos_token, tokenizer.eos_token, len(tokenizer)) == ("<s>", "</s>", 2048)


def test_all_models_share_one_tokenizer() -> None:
    def digests(name: str) -> list[str]:
        files: list[Path] = [directory(name) / "tokenizer.json", directory(name) / "tokenizer_config.json"]
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    assert all(digests(name) == digests("llama") for name in FINE_TUNES)
