from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "out_of_core.py"


@pytest.mark.slow
def test_the_benchmark_runs_and_cleans_up(tmp_path):
    command = [
        sys.executable,
        str(SCRIPT),
        "0.02",
        "--rounds",
        "1",
        "--codec",
        "lz4",
        "--folder",
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "made model0",
        "one by one",
        "overlapped, 1 thread",
        "overlapped, 2 threads",
        "add",
        "depot",
        "restore",
    ]
    assert "RssAnon" in lines[-1]
    assert not list(tmp_path.iterdir())
