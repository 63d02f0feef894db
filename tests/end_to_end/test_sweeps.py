"""Sweeps as a user starts them: what failed and its retry, stopping, two at once, launchers, dry runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from .conftest import QUICK, Session

CODEC = '''
import os
from dataclasses import dataclass
import numpy as np
from weightcodecs import ArrayCodec, Encoded


@dataclass(frozen=True)
class Other(ArrayCodec):
    """Says that it runs, waits until it may, and fails while a file is there."""

    name = "other"
    number: int = 0

    def _encode(self, values, format, reference, threads):
        with open(os.environ["OTHER_LOG"], "a") as log:
            log.write(f"{self.number}:{os.getpid()}\\n")
        while os.path.exists(os.environ["OTHER_LOG"] + ".wait"):
            pass
        if os.path.exists(os.environ["OTHER_LOG"] + f".broken{self.number}"):
            raise ValueError("broken")
        return Encoded.of(values.tobytes())

    def _decode(self, info, reference, out, threads):
        return np.frombuffer(info.payload, info.format.dtype)
'''


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights in a folder whose name needs quoting, for Hydra and for a shell."""
    folder = tmp_path / "it's, a $weight=1"
    folder.mkdir()
    values = np.random.default_rng(5).normal(0, 0.02, (64, 96)).astype(np.float32)
    save_file({"w": values}, folder / "model.safetensors")
    return folder


@pytest.fixture
def session(with_package: Callable[[str, str], Session], tmp_path: Path) -> Session:
    made = with_package(CODEC, "name: other\nnumber: 0\n")
    (tmp_path / "log").touch()
    return replace(made, env={**made.env, "OTHER_LOG": str(tmp_path / "log")})


def cells_run(tmp_path: Path) -> list[str]:
    """One entry for every process that ran a cell: the number in it."""
    return sorted(line.partition(":")[0] for line in set((tmp_path / "log").read_text().split()))


def shell(session: Session, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=session.env, cwd=session.results.parent
    )


def commands_in(said: str) -> list[str]:
    """The indented lines after a sweep's failures."""
    return [line.strip() for line in said.splitlines() if line.startswith("    ") and "run.py" in line]


def test_failures_are_listed_with_commands_that_retry_just_them(
    session: Session, weights: Path, tmp_path: Path
) -> None:
    sweep = ("-m", "codec=other", "codec.number=0,1,2", f"model={weights}", *QUICK)
    for number in (0, 2):
        (tmp_path / f"log.broken{number}").touch()
    said = session.run(*sweep, code=1).stdout
    assert "cell 2 of 3, 1 done" in said
    assert "2 of 3 cells did not work (2 failed)" in said
    assert said.count("ValueError: broken") >= 2
    commands = commands_in(said)
    assert len(commands) == 2
    (tmp_path / "log").write_text("")
    (tmp_path / "log.broken0").unlink()
    assert shell(session, commands[0]).returncode == 0
    assert cells_run(tmp_path) == ["0"]
    # The script takes both: what is done is not run again, and what is still broken is its exit code.
    (script,) = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("All of them: ")]
    (tmp_path / "log").write_text("")
    assert shell(session, script).returncode == 1
    assert cells_run(tmp_path) == ["2"]
    assert sorted(row["status"] for row in session.rows()) == ["failed", "ok", "ok"]


def test_a_sweep_that_stops_leaves_the_rest(session: Session, weights: Path, tmp_path: Path) -> None:
    sweep = ("-m", "codec=other", "codec.number=0,1,2", f"model={weights}", *QUICK)
    (tmp_path / "log.broken0").touch()
    said = session.run(*sweep, "on_error=stop", code=1).stdout
    assert "on_error=stop): 2 of 3 cells not run" in said
    assert cells_run(tmp_path) == ["0"]


def test_two_sweeps_at_once_share_the_work(session: Session, weights: Path, tmp_path: Path) -> None:
    """The second finds the first in its first cell, waits, and neither repeats a cell, failed or not."""
    sweep = ("-m", "codec=other", "codec.number=0,1,2", f"model={weights}", *QUICK)
    (tmp_path / "log.wait").touch()
    (tmp_path / "log.broken0").touch()
    (tmp_path / "log.broken2").touch()
    (tmp_path / "said").touch()
    with (tmp_path / "said").open("a") as said:
        both = [
            subprocess.Popen(
                session.command(*sweep), env=session.env, stdout=subprocess.PIPE, stderr=said, text=True
            )
            for _ in range(2)
        ]
    while "waiting for process" not in (tmp_path / "said").read_text():
        assert [process.poll() for process in both] == [None, None]
        time.sleep(0.05)
    (tmp_path / "log.wait").unlink()
    printed = [process.communicate(timeout=200)[0] for process in both]
    assert cells_run(tmp_path) == ["0", "1", "2"]
    assert [process.returncode for process in both] == [1, 1]
    assert all("2 of 3 cells did not work (2 failed)" in text for text in printed)
    assert sorted(row["status"] for row in session.rows()) == ["failed", "failed", "ok"]


def test_joblib_workers_report_to_the_sweep(session: Session, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    (tmp_path / "log.broken1").touch()
    said = session.run(
        *("-m", "codec=other", "codec.number=0,1", f"model={weights}", *QUICK),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        code=1,
    ).stdout
    assert "1 of 2 cells did not work (1 failed)" in said
    assert (session.results / "cells.parquet").exists()
    (command,) = commands_in(said)
    (tmp_path / "log.broken1").unlink()
    assert shell(session, command).returncode == 0
    assert cells_run(tmp_path) == ["0", "1", "1"]


@pytest.mark.slow
def test_a_killed_joblib_worker_loses_nothing_finished(
    session: Session, weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    sweep = ("-m", "codec=other", "codec.number=0,1,2,3", f"model={weights}", *QUICK)
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    process = subprocess.Popen(
        session.command(*sweep, *launcher),
        env=session.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (finished := list((session.results / "cells").glob("*.json"))):
        assert process.poll() is None
        time.sleep(0.02)
    (tmp_path / "log.wait").touch()
    before = {file: file.stat().st_mtime_ns for file in finished}
    claims = session.results / "claims"
    while not (held := list(claims.glob("*.json"))):
        time.sleep(0.02)
    subprocess.run(["kill", "-9", str(json.loads(held[0].read_text())["pid"])], check=True)
    (tmp_path / "log.wait").unlink()
    assert process.wait(100) != 0
    session.run(*sweep)
    assert [row["status"] for row in session.rows()] == ["ok"] * 4
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert not list(claims.glob("*.json"))


def test_a_dry_sweep_says_what_it_would_take(session: Session, weights: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.safetensors"
    values = np.random.default_rng(6).normal(0, 0.02, (128, 96)).astype(np.float32)
    save_file({"w": values}, twice)
    cell = (f"model={weights}", *QUICK)
    session.run("codec=zstd", *cell)
    (row,) = session.rows()
    said = session.run("-m", "codec=zstd,lz4", *cell, "dry_run=true").stdout
    assert "2 cells: 1 need not run, 1 to run; for 1 of them there is no earlier row to go by" in said
    assert "lz4(acceleration=1, level=0)" in said
    said = session.run(
        "-m", "codec=zstd", f"model={twice}", "granularity=tensor,model", *QUICK, "dry_run=true"
    )
    assert said.stdout.count(f"by the row {row['id'][:12]}, × 2)") == 2
    assert "2 to run, one after the other about" in said.stdout
    assert len(session.rows()) == 1
    assert not list((session.results / "claims").glob("*.json"))


@pytest.mark.slow
def test_the_original_is_evaluated_once_for_all_codecs_in_all_processes(session: Session) -> None:
    quick = ("model=llama", "measure=smoke", "eval=lm_eval_quick", "eval.limit=16", "eval.kl_tokens=0")
    both = [
        subprocess.Popen(session.command("-m", f"codec={codecs}", *quick), env=session.env)
        for codecs in ("elf,cast", "zipnn_lossy,distance")
    ]
    assert [process.wait(280) for process in both] == [0, 0]
    found = [row["result"]["evaluation"]["baseline"] for row in session.rows()]
    assert len(found) == 4
    assert [baseline for baseline in found if baseline != "cached"].count("computed") == 1


def interrupted(session: Session, weights: Path, tmp_path: Path, *launcher: str, beside: int = 1) -> str:
    """Start a sweep, press Ctrl-C while a cell runs that would not end; return what was said."""
    sweep = ("-m", "codec=other", "codec.number=0,1,2,3", f"model={weights}", *QUICK, *launcher)
    process = subprocess.Popen(
        session.command(*sweep),
        env=session.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the terminal's Ctrl-C goes to the whole group
    )
    cells = session.results / "cells"
    while len(finished := list(cells.glob("*.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    (tmp_path / "log.wait").touch()
    while len(cells_run(tmp_path)) < min(4, len(list(cells.glob("*.json"))) + beside):
        time.sleep(0.02)
    kept = {file: file.stat().st_mtime_ns for file in finished}
    os.killpg(process.pid, signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, complained
    assert "interrupted; what was finished is kept, the same command goes on" in complained
    assert "Traceback" not in complained
    rows = session.rows()
    assert all(row["status"] == "ok" for row in rows)
    assert f"{4 - len(rows)} of 4 cells did not come to an end; the same command goes on." in said
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert (session.results / "cells.parquet").exists()
    pids = {int(line.partition(":")[2]) for line in (tmp_path / "log").read_text().split()}
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a cell's process is still there"
        time.sleep(0.05)
    if beside == 1:  # joblib kills its workers; what they leave counts for nothing, as the next sweep shows
        assert not list((session.results / "claims").glob("*.json"))
        assert not list((session.results / "work").glob("*"))
    (tmp_path / "log.wait").unlink()
    session.run(*sweep)
    assert [row["status"] for row in session.rows()] == ["ok"] * 4
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    return said


def test_ctrl_c_keeps_what_was_finished(session: Session, weights: Path, tmp_path: Path) -> None:
    said = interrupted(session, weights, tmp_path)
    assert "2 of 4 cells did not come to an end" in said


@pytest.mark.slow
def test_ctrl_c_with_joblib(session: Session, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    interrupted(session, weights, tmp_path, *launcher, beside=2)
