"""Checkpoints along a fine-tuning run: their folders, their table, and that the shipped tables are whole."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from weightbench.lineage.model_card import declared_base
from weightbench.models import LocalSource, open_model
from weightbench.zoo import ZOO, directory, tasks_directory
from weightbench.zoo.train.change import change
from weightbench.zoo.train.corpus import DOMAINS
from weightbench.zoo.train.series import MODELS, STEPS, checkpoint_folder, main

CURVES = tasks_directory().parent / "curves"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "0", "1"], "must ascend, from 1 to 400"),
        (["--steps", "5", "2"], "must ascend, from 1 to 400"),
        (["--steps", "2", "2"], "must ascend, from 1 to 400"),
        (["--steps", "401"], "must ascend, from 1 to 400"),
        (["--steps", "one"], "invalid int value"),
        (["--only", "llama"], "invalid choice: 'llama'"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--work", str(tmp_path), "--curves", str(tmp_path), *arguments])
    assert told in capsys.readouterr().err


def test_change() -> None:
    before = {"a": np.array([1.0, -2.0], np.float32), "b": np.array([[0.0], [4.0]], np.float32)}
    after = {"b": np.array([[3.0], [4.0]], np.float32), "a": np.array([1.0, 2.0], np.float32)}
    found = change(before, after)
    assert (found.euclidean, found.unchanged) == (5.0, 0.5)
    assert found.rms == pytest.approx((25 / 21) ** 0.5)
    assert found.median == 0.0  # of 0, 2 and 0: what was 0 before has no relative change
    # 3.0 is 0x40400000, and the sign is in the first byte
    assert found.unchanged_bytes == (0.5, 0.75, 1.0, 1.0)
    assert change(before, before).unchanged_bytes == (1.0,) * 4


@pytest.mark.parametrize("name", MODELS)
def test_shipped_tables(name: str) -> None:
    """They end at the shipped weights, and agree with the curve of the run that made these."""
    rows = {int(row["step"]): row for row in table(CURVES / f"{name}.series.csv")}
    assert tuple(rows) == (0, *STEPS)
    for curve in table(CURVES / f"{name}.heldout.csv"):
        for domain in DOMAINS:
            column = f"bits_per_byte_{domain}"
            assert float(curve[column]) == pytest.approx(float(rows[int(curve["step"])][column]), abs=2e-3)
    base = ZOO[name].base
    assert base is not None
    weights = [load_file(directory(each) / "model.safetensors") for each in (base, name)]
    assert change(*weights).rms == pytest.approx(float(rows[400]["rms_relative_change"]), rel=1e-3)
    distances = [float(row["euclidean_distance"]) for row in rows.values()]
    assert distances == sorted(distances)


@pytest.mark.slow
def test_two_steps(tmp_path: Path) -> None:
    """A tiny corpus: two checkpoints that load and name their base, and a second run that makes the same."""
    documents = [
        {"id": str(number), "text": f"In the beginning was number {number}. " * 40} for number in range(20)
    ]
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    for domain in DOMAINS:
        for split in ("train", "heldout"):
            (tmp_path / f"{domain}.{split}.jsonl").write_text(lines)
    command = [
        sys.executable,
        "-m",
        "weightbench.zoo.train.series",
        "--work",
        str(tmp_path),
        "--only",
        MODELS[1],
    ]
    command += ["--steps", "1", "2", "--curves"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    made = []
    for curves in (tmp_path / "one", tmp_path / "two"):
        subprocess.run([*command, str(curves)], env=environment, check=True, capture_output=True)
        folders = [checkpoint_folder(tmp_path, MODELS[1], step) for step in (1, 2)]
        made.append([(folder / "model.safetensors").read_bytes() for folder in folders])
    assert made[0] == made[1]
    rows = table(tmp_path / "one" / f"{MODELS[1]}.series.csv")
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["euclidean_distance"]) == 0 < float(rows[1]["euclidean_distance"])
    own = "bits_per_byte_kjv"
    assert float(rows[2][own]) < float(rows[1][own]) < float(rows[0][own])
    for folder in folders:
        declared = declared_base(open_model(LocalSource(str(folder))))
        assert declared is not None
        assert declared.bases == ("llama",)
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() == 2_016_960
