"""The launchers' configurations, what is refused before a sweep starts, and cores of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from weightbench.errors import MissingExtraError, RunnerError
from weightbench.launchers import (
    cells_beside,
    is_parallel,
    refuse_shared_cores,
    require_plugin,
    runs_here,
    worker_loss,
)
from weightbench.measure.plan import MeasurePlan
from weightbench.request import BadRequestError, register_schema, request_of
from weightbench.runner.cores import cores_of_this_machine, leased
from weightbench.sweep import Refusal, SweepCallback, stop_following

CONF = Path(__file__).parents[2] / "conf"
LAUNCHERS = sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_compose(launcher: str) -> None:
    config = composed(f"hydra/launcher={launcher}", "limits.timeout_s=100", "cores_per_cell=2")
    assert is_parallel(config)
    settings: Any = OmegaConf.to_container(config.hydra.launcher, resolve=False)
    assert settings["_target_"].startswith("hydra_plugins.")
    if launcher.startswith("submitit"):
        assert config.hydra.launcher.cpus_per_task == 2
    if launcher == "submitit_slurm":
        assert config.hydra.launcher.timeout_min == 32
    if launcher == "ray":
        assert config.hydra.launcher.ray.remote.num_cpus == 2


def test_the_basic_launcher_is_not_parallel() -> None:
    config = composed()
    assert not is_parallel(config)
    require_plugin(config)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_missing_extra_is_said_with_the_command(launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed(f"hydra/launcher={launcher}")
    plugin = str(config.hydra.launcher._target_).split(".")[1]
    monkeypatch.setitem(sys.modules, f"hydra_plugins.{plugin}", None)
    with pytest.raises(MissingExtraError, match=r"pip install -c constraints\.txt -e '\.\[(sweeps|ray)\]'"):
        require_plugin(config)


@pytest.mark.parametrize(
    ("overrides", "here"),
    [
        ([], True),
        (["hydra/launcher=joblib"], True),
        (["hydra/launcher=submitit_local"], True),
        (["hydra/launcher=submitit_slurm"], False),
        (["hydra/launcher=ray", "hydra.launcher.ray.init.address=local"], True),
        (["hydra/launcher=ray", "hydra.launcher.ray.init.address=10.0.0.1:6379"], False),
    ],
)
def test_where_cells_run(overrides: list[str], here: bool) -> None:
    assert runs_here(composed(*overrides)) is here


@pytest.mark.parametrize(
    ("overrides", "waits"),
    [
        (["hydra/launcher=joblib", "cores_per_cell=1"], [7.0]),
        (["hydra/launcher=joblib", "cores_per_cell=1", "dry_run=true"], []),
        (["hydra/launcher=joblib", "measure=ratio"], []),
        (["measure=timing"], []),  # each cell looks for itself
    ],
)
def test_a_parallel_sweep_of_timings_looks_for_a_quiet_machine_before_it_starts(
    overrides: list[str], waits: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = list[float]()
    monkeypatch.setattr("weightbench.sweep.callback.settle", waited.append)
    monkeypatch.setenv("WEIGHTBENCH_SWEEP", "{}")  # put back afterwards
    SweepCallback().on_multirun_start(composed(*overrides, "quiet_wait_s=7", f"results={tmp_path}"))
    stop_following()
    assert waited == waits


def test_no_slurm_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunnerError, match="no Slurm here"):
        require_plugin(composed("hydra/launcher=submitit_slurm"))


def test_timings_on_shared_cores_are_refused() -> None:
    with pytest.raises(BadRequestError, match="add cores_per_cell=2"):
        refuse_shared_cores(MeasurePlan(threads=2), None)
    refuse_shared_cores(MeasurePlan(), 1)
    refuse_shared_cores(MeasurePlan(min_rounds=1, min_seconds=0.0), None)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["cores_per_cell=0"], "too few for 1 thread"),
        (["measure.threads=4", "cores_per_cell=2"], "too few for 4 threads"),
        (["measure.pin_cores=[0]", "cores_per_cell=1"], "give one of them"),
    ],
)
def test_cores_that_do_not_fit(overrides: list[str], reason: str) -> None:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)
    with pytest.raises(BadRequestError, match=reason):
        request_of(plain)


def test_a_sweep_of_timings_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.setenv("WEIGHTBENCH_SWEEP", "")  # put back afterwards
    with pytest.raises(Refusal, match="takes timings"):
        SweepCallback().on_multirun_start(composed("hydra/launcher=joblib", f"results={tmp_path}"))


def test_errors_of_launchers_are_told_from_ours() -> None:
    assert worker_loss(ValueError("x")) is None
    lost = pytest.importorskip("joblib.externals.loky.process_executor").TerminatedWorkerError("gone\nmore")
    assert worker_loss(lost) == "the launcher failed (joblib, TerminatedWorkerError: gone)"


def test_cores_are_held_by_one_at_a_time() -> None:
    count = len(cores_of_this_machine())
    with leased(None) as none, ExitStack() as held:
        assert none == ()
        taken = [held.enter_context(leased(1)) for _ in range(count)]
        assert len({thread for threads in taken for thread in threads}) == count
        assert {thread for threads in taken for thread in threads} <= os.sched_getaffinity(0)
        said: list[str] = []
        got = threading.Event()

        def wait() -> None:
            with leased(count, said.append):
                got.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        assert not got.is_set()
        held.close()
        waiting.join(20)
        assert got.is_set()
        assert len(said) == 1
    with pytest.raises(RunnerError, match="cores"), leased(count + 1):
        pass


def test_a_killed_process_gives_its_cores_back() -> None:
    code = (
        "from weightbench.runner.cores import *; import time\n"
        "with leased(len(cores_of_this_machine())): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        other.kill()
    with leased(len(cores_of_this_machine())):
        pass


def test_hardware_threads_of_one_core_count_once(tmp_path: Path) -> None:
    for thread in os.sched_getaffinity(0):
        folder = tmp_path / f"cpu{thread}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text("0-1\n" if thread < 2 else f"{thread}\n")
    found = cores_of_this_machine(tmp_path)
    allowed = os.sched_getaffinity(0)
    assert len(found) == len(allowed - {0, 1}) + bool(allowed & {0, 1})


@pytest.mark.parametrize(
    ("overrides", "cores_per_cell", "beside"),
    [
        ([], None, 1),
        (["hydra/launcher=joblib"], None, 8),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"], None, 3),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=-2"], None, 7),
        (["hydra/launcher=joblib"], 3, 2),
        (["hydra/launcher=joblib"], 16, 1),
        (["hydra/launcher=submitit_local"], None, 8),
        (["hydra/launcher=submitit_local", "cores_per_cell=2"], 2, 4),
        (["hydra/launcher=submitit_slurm"], None, 1),
        (["hydra/launcher=ray"], None, 8),
        (["hydra/launcher=ray", "cores_per_cell=4"], 4, 2),
        (["hydra/launcher=ray", "hydra.launcher.ray.remote.num_cpus=0.5"], None, 16),
    ],
)
def test_cells_side_by_side(overrides: list[str], cores_per_cell: int | None, beside: int) -> None:
    pytest.importorskip(
        f"hydra_plugins.hydra_{overrides[0].split('=')[1].split('_')[0]}_launcher" if overrides else "os"
    )
    assert cells_beside(composed(*overrides).hydra.launcher, cores_per_cell, 8) == beside
