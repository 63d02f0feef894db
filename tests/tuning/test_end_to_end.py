"""A real tuning of the bundled model by the command line: rows, answer, picture; nothing runs twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_elf_on_the_bundled_model(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "weightbench.tuning", "codec=elf,int8", "model=llama", f"results={tmp_path}"),
        *("eval.kl_tokens=1024", "tune.values=[1e-4,5e-2]", "tune.parameter=error_bound_absolute"),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1  # int8 has no such option, and says so
    assert "error_bound_absolute" in ran.stderr.splitlines()[-1]
    assert "elf" in ran.stdout
    (answer,) = [json.loads(path.read_text()) for path in (tmp_path / "tuning").glob("*.json")]
    assert answer["best"]["value"] == 1e-4
    assert [probe["judgement"] for probe in answer["probes"]] == ["within", "beyond"]
    assert len(list((tmp_path / "tuning").glob("*.png"))) == 1
    rows = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert len(rows) == 2
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "measuring" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in rows} == rows
