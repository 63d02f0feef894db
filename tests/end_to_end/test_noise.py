"""A sweep of timings as a user starts it, on a machine that gets busy in the middle of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from weightbench.sweep.order import order

from .conftest import Session

CODEC = '''
import os, subprocess, sys
from dataclasses import dataclass
import numpy as np
from weightcodecs import ArrayCodec, Encoded


@dataclass(frozen=True)
class Other(ArrayCodec):
    """Says that it runs; number 1 leaves neighbours behind that keep all cores busy until the cell ends."""

    name = "other"
    number: int = 0

    def _encode(self, values, format, reference, threads):
        log = os.environ["OTHER_LOG"]
        with open(log, "a") as file:
            file.write(f"{self.number}:{os.getpid()}\\n")
        # The first is for the archive.
        Other._encoded = getattr(Other, "_encoded", 0) + 1
        if self.number == 1 and os.path.exists(log + ".noisy") and Other._encoded == 2:
            spin = [sys.executable, "-c", "print(flush=True)\\nwhile True: pass"]
            for _ in range(2 * os.cpu_count()):
                subprocess.Popen(spin, stdout=subprocess.PIPE).stdout.readline()
        return Encoded.of(values.tobytes())

    def _decode(self, info, reference, out, threads):
        return np.frombuffer(info.payload, info.format.dtype)
'''
TIMING = ("measure=timing", "measure.min_rounds=2", "measure.min_seconds=0", "eval=none")


@pytest.fixture
def session(with_package: Callable[[str, str], Session], tmp_path: Path) -> Session:
    made = with_package(CODEC, "name: other\nnumber: 0\n")
    (tmp_path / "log").touch()
    return replace(made, env={**made.env, "OTHER_LOG": str(tmp_path / "log")})


def cells_run(tmp_path: Path) -> list[int]:
    """The numbers of the cells that ran since the last look, in their order."""
    lines = dict.fromkeys((tmp_path / "log").read_text().split())
    (tmp_path / "log").write_text("")
    return [int(line.partition(":")[0]) for line in lines]


def test_a_machine_that_gets_busy_is_said_and_its_cell_can_be_taken_again(
    session: Session, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    values = np.random.default_rng(5).normal(0, 0.02, (64, 96)).astype(np.float32)
    save_file({"w": values}, weights / "model.safetensors")
    sweep = ("-m", "codec=other", "codec.number=0,1", f"model={weights}", *TIMING)
    (tmp_path / "log.noisy").touch()
    said = session.run(*sweep).stdout

    shuffled = order(2, 0)
    assert shuffled != [0, 1]
    assert cells_run(tmp_path) == shuffled
    assert "random order (hydra.sweeper.seed=0; null: as written)" in said
    table = said.partition("MB/s  codec")[2].splitlines()[1:3]
    assert [f"other(number={number})" in line for number, line in enumerate(table)] == [True] * 2

    rows = {row["cell"]["codec"]["number"]: row for row in session.rows()}
    for row in rows.values():
        stick = row["result"]["speed"]["yardstick"]
        assert row["started"] < stick["before"]["at"] < stick["after"]["at"] < row["finished"]
    speed = rows[1]["result"]["speed"]
    assert speed["yardstick"]["after"]["zstd_mb_per_s"] < speed["yardstick"]["before"]["zstd_mb_per_s"]
    assert any("the yardstick moved by" in flag for flag in speed["flags"])

    lines = said.partition("The machine changed: for ")[2].splitlines()
    (place,) = [at for at, line in enumerate(lines) if "other(number=1)" in line]
    assert "while it was measured" in lines[place]
    (tmp_path / "log.noisy").unlink()
    retry = lines[place + 1].strip()
    done = subprocess.run(["sh", "-c", retry], env=session.env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert cells_run(tmp_path) == [1]
    again = {row["cell"]["codec"]["number"]: row for row in session.rows()}
    assert again[1]["started"] > rows[1]["finished"]
