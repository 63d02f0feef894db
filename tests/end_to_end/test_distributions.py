"""distributions=true as a user asks for it: a section of the row, and a part of the cell only then."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from .conftest import QUICK, Session


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A base, a fine-tune and a copy of it, in bfloat16."""
    random = np.random.default_rng(0)
    base = {f"layers.{i}.weight": random.normal(0, 0.02, (64, 96)) for i in range(3)}
    fine = {name: value + random.normal(0, 2e-4, value.shape) for name, value in base.items()}
    for name, tensors in {"base": base, "fine": fine, "mirror": fine}.items():
        folder = tmp_path / "hub" / name
        folder.mkdir(parents=True)
        save_file({key: w.astype(ml_dtypes.bfloat16) for key, w in tensors.items()}, folder / "w.safetensors")
    return tmp_path / "hub"


def test_a_hub_and_a_pair(session: Session, hub: Path) -> None:
    session.run("codec=identity", "workload=hub", f"model={hub}", "distributions=true", *QUICK)
    (row,) = session.rows()
    assert row["cell"]["distributions"] is True
    said = row["result"]["distributions"]
    assert said["values"]["bfloat16"]["values"] == 3 * 3 * 64 * 96
    deltas = {delta["model"]: delta for delta in said["deltas"]}
    roots = {"base", "fine", "mirror"} - deltas.keys()
    assert len(roots) == 1
    assert {delta["base"] for delta in deltas.values()} == roots
    shares = [delta["formats"]["bfloat16"]["equal"] / (3 * 64 * 96) for delta in deltas.values()]
    assert sorted(shares)[0] < 0.5
    assert len(json.dumps(said)) < 10_000
    session.run("codec=identity", "workload=pair", f"model={hub / 'base'}", "distributions=true", *QUICK)
    pair = next(row for row in session.rows() if row["cell"]["workload"]["kind"] == "pair")
    found = pair["result"]["distributions"]["pair"]["bfloat16_int8"]
    assert (found["values"], found["outside_bin"]) == (3 * 64 * 96, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), {"values"}),
        (("workload=family",), {"values", "deltas"}),
        (("workload=pair", "workload.low=nf4", "model.dtype=float16"), {"values", "pair"}),
        (("workload=hub", "model.dtype=bfloat16"), {"values", "deltas"}),
    ],
)
def test_the_bundled_models(session: Session, arguments: tuple[str, ...], parts: set[str]) -> None:
    session.run("codec=identity", "model=llama", "distributions=true", *arguments, *QUICK)
    (row,) = session.rows()
    said = row["result"]["distributions"]
    assert said.keys() == parts
    assert len(json.dumps(said)) < 30_000
    for counts in said["values"].values():
        assert sum(counts["exponent"]["counts"]) == counts["values"]
        assert 0.99 < counts["below_one"] / counts["values"] <= 1
    for delta in said.get("deltas", []):
        assert delta["base"].startswith("llama")
        assert delta["base"] != delta["model"]
        for found in delta["formats"].values():
            assert len(found["flips"]) in (16, 32)
            histograms = found["classes"]["up"]["counts"], found["classes"]["down"]["counts"]
            assert sum(map(sum, histograms)) + found["equal"] == found["values"]
