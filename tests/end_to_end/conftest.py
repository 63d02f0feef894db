"""run.py as a user runs it: in a process of its own, with results in a folder of the test's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
QUICK = ("measure=smoke", "eval=none")


@dataclass(frozen=True)
class Session:
    """A results folder and the means to run cells into it."""

    results: Path
    env: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(ROOT / "run.py"), *arguments, f"results={self.results}"]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, env=self.env, cwd=self.results.parent
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def rows(self) -> list[dict[str, Any]]:
        files = sorted((self.results / "cells").glob("*.json"))
        return [json.loads(file.read_text()) for file in files]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return Session(tmp_path / "results", env)


@pytest.fixture
def with_package(session: Session, tmp_path: Path) -> Callable[[str, str], Session]:
    """Install a codec package (its source, its YAML) where run.py finds it."""

    def install(source: str, configuration: str) -> Session:
        site = tmp_path / "site"
        package = site / "other_codec"
        (package / "conf" / "codec").mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        (package / "conf" / "codec" / "other.yaml").write_text(configuration)
        info = site / "other_codec-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-codec\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[weightcodecs.codecs]\nother = other_codec:Other\n")
        return Session(session.results, {**session.env, "PYTHONPATH": str(site)})

    return install
