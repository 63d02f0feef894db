"""Hydra's launchers for real: rows in one store, and the exit code and the summary in the parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from .clusters import LOOPBACK, ray_head, slurm
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
    assert {row["cell"]["model"]["name"] for row in session.rows()} == {weights.name}
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


def test_submitit_local(session: Session) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    check_members(session, "hydra/launcher=submitit_local")


@pytest.mark.slow
def test_submitit_local_sweeps(session: Session, weights: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    check_sweep(session, weights, "hydra/launcher=submitit_local")


@pytest.mark.slow
def test_submitit_local_with_timings(session: Session) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    check_timings(session, "hydra/launcher=submitit_local")


@pytest.fixture(scope="module")
def slurm_variables() -> Iterator[dict[str, str]]:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    with slurm() as variables:
        yield variables


@pytest.fixture
def on_slurm(session: Session, slurm_variables: dict[str, str]) -> Session:
    return replace(session, env={**session.env, **slurm_variables})


@pytest.mark.slurm
def test_slurm(on_slurm: Session, weights: Path) -> None:
    check_sweep(on_slurm, weights, "hydra/launcher=submitit_slurm")


@pytest.mark.slurm
def test_slurm_with_timings(on_slurm: Session) -> None:
    check_timings(on_slurm, "hydra/launcher=submitit_slurm")
    (script,) = (on_slurm.results / "logs").rglob("*submission.sh")
    assert "--cpus-per-task=1\n" in script.read_text()


@pytest.mark.slurm
def test_slurm_with_members(on_slurm: Session) -> None:
    check_members(on_slurm, "hydra/launcher=submitit_slurm")


@pytest.mark.slurm
def test_a_job_killed_on_slurm_loses_nothing_finished(on_slurm: Session, weights: Path) -> None:
    """Ctrl-C leaves the jobs in the queue and says so; then kill -9, and the same command goes on."""
    rounds = ("measure.min_seconds=5", "eval=none", "cores_per_cell=1")
    sweep = ("-m", "codec=zstd,lz4,zlib", f"model={weights}", *rounds, "hydra/launcher=submitit_slurm")
    process = subprocess.Popen(
        on_slurm.command(*sweep), env=on_slurm.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (finished := list((on_slurm.results / "cells").glob("*.json"))):
        assert process.poll() is None
        time.sleep(0.02)
    before = {file: file.stat().st_mtime_ns for file in finished}
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "jobs in Slurm's queue go on; to end them: scancel " in said
    claims = on_slurm.results / "claims"
    while not (held := list(claims.glob("*.json"))):
        time.sleep(0.02)
    os.kill(json.loads(held[0].read_text())["pid"], signal.SIGKILL)
    on_slurm.run(*sweep)
    assert [row["status"] for row in on_slurm.rows()] == ["ok"] * 3
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.ray
def test_ray_on_this_machine(session: Session, weights: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    ours = replace(session, env={**session.env, **LOOPBACK})
    check_sweep(ours, weights, "hydra/launcher=ray")


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    with ray_head() as variables:
        yield variables


@pytest.fixture
def on_ray(session: Session, head: dict[str, str]) -> Session:
    return replace(session, env={**session.env, **head})


@pytest.mark.ray
def test_a_ray_cluster(on_ray: Session, weights: Path) -> None:
    check_sweep(on_ray, weights, "hydra/launcher=ray")


@pytest.mark.ray
def test_a_ray_cluster_with_timings(on_ray: Session) -> None:
    check_timings(on_ray, "hydra/launcher=ray")


@pytest.mark.ray
def test_a_ray_cluster_with_members(on_ray: Session) -> None:
    check_members(on_ray, "hydra/launcher=ray")


@pytest.mark.ray
def test_a_ray_cluster_refuses_strangers(on_ray: Session, weights: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    stranger = replace(on_ray, env={**on_ray.env, "RAY_AUTH_TOKEN_PATH": str(token)})
    said = stranger.run("-m", "codec=zstd,lz4", f"model={weights}", *QUICK, "hydra/launcher=ray", code=1)
    assert "error: the launcher found no cluster" in said.stderr
    assert stranger.rows() == []


@pytest.mark.ray
def test_a_killed_ray_worker_loses_nothing(on_ray: Session, weights: Path) -> None:
    """Ray gives the job of a worker that was killed to another, which takes the cell over."""
    cells = ("codec=zstd,lz4", f"model={weights}", "measure.min_seconds=5", "eval=none", "cores_per_cell=1")
    process = subprocess.Popen(
        on_ray.command("-m", *cells, "hydra/launcher=ray"),
        env=on_ray.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (held := list((on_ray.results / "claims").glob("*.json"))):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(1)
    os.kill(json.loads(held[0].read_text())["pid"], signal.SIGKILL)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert [row["status"] for row in on_ray.rows()] == ["ok"] * 2
