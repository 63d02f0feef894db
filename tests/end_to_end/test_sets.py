"""Families, hubs and pairs as a user runs them; each row is of a depot that was verified to the last byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from .conftest import QUICK, Session

BF16 = np.dtype(ml_dtypes.bfloat16)


def weights(seed: int, rows: int = 300) -> dict[str, np.ndarray[Any, Any]]:
    """A small model in bfloat16 with an embedding of so many rows."""
    random = np.random.default_rng(seed)
    shapes = {"embed.weight": (rows, 64), **{f"layers.{i}.weight": (128, 96) for i in range(4)}}
    return {name: random.normal(0, 0.02, shape).astype(BF16) for name, shape in shapes.items()}


def tuned(base: dict[str, np.ndarray[Any, Any]], seed: int, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """A fine-tune with a resized embedding; one tensor is left as it was."""
    random = np.random.default_rng(seed)
    new = {
        name: (value.astype(np.float32) + random.normal(0, 2e-4, value.shape)).astype(BF16)
        for name, value in base.items()
    }
    fresh = random.normal(0, 0.02, (rows - len(base["embed.weight"]), 64)).astype(BF16)
    new["embed.weight"] = np.concatenate([new["embed.weight"], fresh])
    return new | {"layers.3.weight": base["layers.3.weight"]}


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Five repositories: a base, two fine-tunes, a copy of one, and a stranger of equal shape."""
    base = weights(0)
    one = tuned(base, 1, 310)
    models = {
        "lab/base": base,
        "lab/one": one,
        "lab/two": tuned(base, 2, 304),
        "mirror/one": one,
        "other/stranger": weights(9),
    }
    for name, tensors in models.items():
        folder = tmp_path / "hub" / name
        folder.mkdir(parents=True)
        save_file(tensors, folder / "model.safetensors")
    return tmp_path / "hub"


def by_name(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in row["result"]["workload"]["models"]}


def test_a_hub_is_stored_by_its_bits(session: Session, hub: Path) -> None:
    session.run("codec=zipllm", "workload=hub", f"model={hub}", *QUICK)
    (row,) = session.rows()
    assert row["status"] == "ok"
    models = by_name(row)
    related = {"lab/base", "lab/one", "lab/two", "mirror/one"}
    roots = {name for name, model in models.items() if model["base"] is None}
    assert "other/stranger" in roots
    assert len(roots & related) == 1
    assert {models[name]["base"] for name in related - roots} == roots & related
    # The copy costs a manifest; what has a base costs less than what has none.
    assert models["mirror/one"]["repeated_files"] == 1 or models["lab/one"]["repeated_files"] == 1
    shares = {name: model["added_bytes"] / model["raw_bytes"] for name, model in models.items()}
    assert max(shares[name] for name in related - roots) < 0.7 * shares["other/stranger"]
    sizes = row["result"]["sizes"]
    parts = sum(sizes[f"{part}_bytes"] for part in ("payload", "side", "literals", "index"))
    assert parts == sizes["stored_bytes"]
    assert sizes["raw_bytes"] == sum(path.stat().st_size for path in hub.rglob("*.safetensors"))


def test_dedup_finds_what_is_equal_and_nothing_else(session: Session, hub: Path) -> None:
    session.run("codec=dedup", "workload=hub", f"model={hub}", *QUICK)
    (row,) = session.rows()
    dedup = row["result"]["workload"]["dedup"]
    # 5 models of 5 tensors; one file is a copy, and layers.3 is the same in base, one and two.
    assert (dedup["repeated_files"], dedup["units"], dedup["entries"]) == (1, 20, 18)
    assert dedup["metadata_bytes"] > 0


def test_a_family_with_every_kind_of_system(session: Session, hub: Path) -> None:
    members = f"workload.members=[{hub / 'lab/one'},{hub / 'lab/two'}]"
    codecs = "codec=zstd,bitx,fm_delta,zipnn_delta,zipllm,elves"
    session.run("-m", codecs, "workload=family", f"model={hub / 'lab/base'}", members, *QUICK)
    rows = {row["cell"]["codec"]["name"]: row for row in session.rows()}
    assert len(rows) == 6
    for codec, row in rows.items():
        assert row["status"] == "ok", row["reason"]
        workload = row["result"]["workload"]
        assert [model["base"] is None for model in workload["models"]] == [True, False, False]
        against = sum(model["units_against_base"] for model in workload["models"])
        if codec in ("zstd", "elves"):
            assert against == 0
        else:
            assert against >= 8
            assert workload["ratio_base_not_counted"] > workload["ratio_base_counted"] > 1
        children = [model for model in workload["models"] if model["base"]]
        raw, added = (sum(model[what] for model in children) for what in ("raw_bytes", "added_bytes"))
        assert workload["ratio_base_not_counted"] == raw / added


def test_pairs(session: Session, hub: Path) -> None:
    choices = ("codec=zstd,zipnn,qstore", "workload.low=int8,nf4")
    session.run("-m", *choices, "workload=pair", f"model={hub / 'lab/base'}", *QUICK)
    rows = session.rows()
    assert len(rows) == 6
    for row in rows:
        assert row["status"] == "ok", row["reason"]
        workload, sizes = row["result"]["workload"], row["result"]["sizes"]
        assert workload["pairs"] == 4
        assert sizes["raw_bytes"] == workload["high_raw_bytes"] + workload["low_raw_bytes"]
        assert workload["low_alone"]["decode"]["mb_per_s"]["median"] > 0


def test_qstore_beats_codecs_that_see_one_file_at_a_time(session: Session) -> None:
    session.run("-m", "codec=zipnn,qstore", "workload=pair", "model=llama", "model.dtype=bfloat16", *QUICK)
    ratios = {row["cell"]["codec"]["name"]: row["result"]["sizes"]["ratio"] for row in session.rows()}
    assert ratios["qstore"] > 1.2 * ratios["zipnn"]


def test_a_member_that_does_not_exist_is_one_line(session: Session) -> None:
    said = session.run("workload=hub", "workload.members=[llama_kjv_1e-7]", *QUICK, code=2).stderr
    assert said.startswith("error: workload.members: unknown model 'llama_kjv_1e-7'; did you mean")
    assert len(said.splitlines()) == 1


def test_what_does_not_go_together_says_so(session: Session, hub: Path) -> None:
    said = {
        ("codec=bitx", "workload=single"): "workload=family",
        ("codec=qstore", "workload=single"): "workload=pair",
        ("codec=qstore", "workload=family", f"workload.members=[{hub / 'lab/one'}]"): "workload=pair",
        ("codec=zipllm", "workload=family", f"workload.members=[{hub / 'other/stranger'}]"): "workload=hub",
        ("codec=zstd", "workload=family"): "workload.members",
    }
    for arguments in said:
        session.run(*arguments, f"model={hub / 'lab/base'}", *QUICK)
    rows = session.rows()
    assert {row["status"] for row in rows} == {"skipped"}
    for hint in said.values():
        assert any(hint in row["reason"] for row in rows), hint


def test_a_checkpoint_with_nothing_to_quantise_is_no_pair(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "norms"
    folder.mkdir()
    save_file({"norm.weight": np.ones(64, np.float32)}, folder / "model.safetensors")
    session.run("codec=zstd", "workload=pair", f"model={folder}", *QUICK)
    (row,) = session.rows()
    assert row["status"] == "skipped"
    assert "no linear weights" in row["reason"]
