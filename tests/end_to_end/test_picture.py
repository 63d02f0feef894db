"""A picture that cannot be drawn costs nothing but the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.numpy import save_file

from weightbench import cells
from weightbench.request import register_schema
from weightbench.runner import Task

CONF = Path(__file__).parents[2] / "conf"


def test_a_failed_drawing_keeps_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no fonts")

    monkeypatch.setattr("weightbench.figures.cell.draw_cell", fail)
    save_file({"w": np.arange(2000, dtype=np.float32)}, tmp_path / "w.safetensors")
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["codec=zstd", "model=local", f"model.path={tmp_path}", "measure=smoke", "eval=none"]
        config = OmegaConf.to_container(compose("config", overrides=overrides), resolve=False)
    work = tmp_path / "work"
    work.mkdir()
    done = cells.run(config, Task(work))  # type: ignore[arg-type]
    assert done["artifacts"] == []
    assert done["result"]["picture_error"] == "OSError: no fonts"
    assert done["result"]["error"]["bit_exact"]
