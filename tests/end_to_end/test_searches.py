"""Searches as a user starts them: trials, failing ones among them, the front, killing and going on."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .conftest import Session
from .test_sweeps import CODEC, cells_run

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

SEARCH = ("-m", "hydra/sweeper=optuna", "measure=ratio", "eval=none", "objectives=[ratio,rmse]")
TINY = ("model=synthetic", "model.nbytes=200000", "model.dtype=float32")


def search_of(session: Session) -> dict[str, Any]:
    (path,) = (session.results / "searches").glob("*.json")
    assert path.with_suffix(".png").exists()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def parameters(search: dict[str, Any]) -> list[dict[str, str]]:
    return [trial["parameters"] for trial in search["trials"]]


def test_a_search_on_the_bundled_model(session: Session) -> None:
    """Sizes against errors; a trial that no codec can run neither ends the search nor is on its front."""
    values = "codec.to=choice(bfloat16,float8_e5m2,float17)"
    words = (*SEARCH, "model=llama", "codec=cast", values, "hydra.sweeper.n_trials=5")
    done = session.run(*words, code=2)
    search = search_of(session)
    trials = {trial["parameters"]["codec.to"]: trial for trial in search["trials"]}
    assert set(trials) == {"bfloat16", "float8_e5m2", "float17"}
    assert trials["float17"]["status"] == "wrong input"
    assert [trials[to]["on_front"] for to in ("bfloat16", "float8_e5m2", "float17")] == [True, True, False]
    assert trials["bfloat16"]["objectives"]["ratio"]["value"] == pytest.approx(2, abs=0.01)
    assert {trial["row"] for trial in search["trials"]} - {""} == {row["id"] for row in session.rows()}
    assert "Pareto front: 2 of 3 trials, 1 of which came to no values" in done.stdout
    assert "cell 5 of 5" in done.stdout
    assert done.stdout.count(" hydra.mode=RUN\n") >= 1


@pytest.mark.slow
def test_a_search_without_any_values(session: Session) -> None:
    words = (*SEARCH, *TINY, "codec=cast", "codec.to=choice(float17,float18)", "hydra.sweeper.n_trials=2")
    for objectives in ("objectives=[ratio,rmse]", "objectives=[ratio]"):
        done = session.run(*words, objectives, code=2)
        assert "Pareto front: 0 of" in done.stdout
        assert "most often: wrong input: " in done.stdout


@pytest.mark.slow
def test_a_search_by_a_launcher_over_codecs_with_options_of_their_own(session: Session) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = (
        *SEARCH,
        *TINY,
        "codec=choice(elf,zipnn_lossy)",
        "+spaces={elf: {codec.error_bound_absolute: 'tag(log, interval(1e-5, 1e-2))'}, "
        "zipnn_lossy: {codec.factor: 'range(4, 20)'}}",
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"),
        "hydra.sweeper.n_trials=6",
    )
    done = session.run(*words)
    assert "[6 of 6]" in done.stdout
    search = search_of(session)
    assert {trial["codec"] for trial in search["trials"]} == {"elf", "zipnn_lossy"}
    for trial in search["trials"]:
        other = "codec.factor" if trial["codec"] == "zipnn_lossy" else "codec.error_bound_absolute"
        assert set(trial["parameters"]) == {"codec", other}
    assert all(trial["objectives"] for trial in search["trials"])


@pytest.fixture
def counting(with_package: Callable[[str, str], Session], tmp_path: Path) -> Session:
    """A codec that notes each cell it runs in, and waits while a file is there."""
    made = with_package(CODEC, "name: other\nnumber: 0\n")
    (tmp_path / "log").touch()
    return replace(made, env={**made.env, "OTHER_LOG": str(tmp_path / "log")})


def killed(session: Session, tmp_path: Path, words: Sequence[str], after: int) -> set[str]:
    """Start a search and kill it, and its cell, with kill -9 in the cell after so many; return those done."""
    process = subprocess.Popen(
        session.command(*words), env=session.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cells = session.results / "cells"
    while len(done := list(cells.glob("*.json"))) < after:
        assert process.poll() is None
        time.sleep(0.02)
    (tmp_path / "log.wait").touch()
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    (tmp_path / "log.wait").unlink()
    done = list(cells.glob("*.json"))
    assert after <= len(done) < 6
    return {path.stem for path in done}


@pytest.mark.slow
@pytest.mark.parametrize("storage", [False, True])
def test_a_killed_search_goes_on(counting: Session, tmp_path: Path, storage: bool) -> None:
    words = [*SEARCH, *TINY, "codec=other", "codec.number=range(0,1000000)", "hydra.sweeper.n_trials=6"]
    if storage:
        words.append(f"hydra.sweeper.storage=sqlite:///{tmp_path}/search.db")
    done = killed(counting, tmp_path, words, after=2)
    counting.run(*words)
    search = search_of(counting)
    tried = parameters(search)
    assert len(tried) == len({trial["codec.number"] for trial in tried}) == 6
    assert all(trial["objectives"] for trial in search["trials"])
    rows = [trial["row"] for trial in search["trials"]]
    assert done <= set(rows)
    runs = cells_run(tmp_path)
    assert len(runs) <= len(set(runs)) + 1  # none but the one that was killed ran twice
    if not storage:  # the seed leads the same way
        assert len(set(runs)) == 6
        other = replace(counting, results=tmp_path / "undisturbed")
        other.run(*words)
        assert parameters(search_of(other)) == tried
