"""Hydra's launchers for real: rows in one store, and the exit code and the summary in the parent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from .conftest import QUICK, Session


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    values = np.random.default_rng(5).normal(0, 0.02, (64, 96)).astype(np.float32)
    save_file({"w": values}, folder / "model.safetensors")
    return folder


def check_sweep(session: Session, weights: Path, *launcher: str) -> str:
    """Run good cells and one of wrong input; return what was said."""
    cells = ("codec=zstd,lz4", f"model={weights},{weights}/nothing", *QUICK)
    done = session.run("-m", *cells, *launcher, code=2)
    assert [row["status"] for row in session.rows()] == ["ok"] * 2
    assert {row["cell"]["model"]["name"] for row in session.rows()} == {str(weights)}
    assert "[4 of 4]" in done.stdout
    assert "2 of 4 cells did not work (2 wrong input)" in done.stdout
    assert (session.results / "cells.parquet").exists()
    assert "bit-exact" in next((session.results / "logs").rglob("0/output.txt")).read_text()
    assert "bit-exact" not in done.stdout
    # The same sweep again, serially: found done, whatever launcher ran it.
    again = session.run("-m", "codec=zstd,lz4", f"model={weights}", *QUICK)
    assert again.stdout.count("was there") == 2
    return done.stdout


def check_timings(session: Session, *launcher: str) -> None:
    """Timings are refused on shared cores, and run on cores of their own, which the rows say."""
    cells = (
        "codec=zstd,lz4",
        "model=synthetic",
        "model.nbytes=100000",
        "eval=none",
        "measure.min_seconds=0.1",
    )
    refused = session.run("-m", *cells, *launcher, code=2)
    assert refused.stderr.count("error: ") == 1
    assert "add cores_per_cell=1" in refused.stderr
    assert session.rows() == []
    session.run("-m", *cells, *launcher, "cores_per_cell=1")
    rows = session.rows()
    assert [row["status"] for row in rows] == ["ok"] * 2
    assert all(len(row["environment"]["pinned_to"]) == 1 for row in rows)
    assert {row["environment"]["pinned_to"][0] for row in rows} <= os.sched_getaffinity(0)


def check_members(session: Session, *launcher: str) -> None:
    """Names in workload.members are composed where the job runs."""
    members = "workload.members=[llama_kjv_1e-6]"
    cell = ("codec=zstd", "model=llama", "workload=family", members, "granularity=tensor", *QUICK)
    session.run("-m", *cell, *launcher)
    (row,) = session.rows()
    assert row["status"] == "ok", row["reason"]
    assert "llama_kjv_1e-6" in json.dumps(row["cell"]["workload"])


def test_joblib(session: Session, weights: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    check_sweep(session, weights, "hydra/launcher=joblib")


def test_joblib_with_timings(session: Session) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    check_timings(session, "hydra/launcher=joblib")
