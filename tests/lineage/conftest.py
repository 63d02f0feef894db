"""Lets the tests of this folder import what stands beside them, and write models."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from weightbench.models import LocalSource, Model, open_model

sys.path.insert(0, str(Path(__file__).parent))

from networks import Array, Make


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Write tensors as a folder with a card, and open it."""
    monkeypatch.setenv("WEIGHTBENCH_CACHE", str(tmp_path / ".cache"))

    def made(
        name: str,
        tensors: Mapping[str, Array],
        *,
        card: str | None = None,
        config: object = None,
        base: str | None = None,
        shards: Mapping[str, list[str]] | None = None,
    ) -> Model:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        files = shards or {"model.safetensors": list(tensors)}
        for file, names in files.items():
            save_file({key: np.ascontiguousarray(tensors[key]) for key in names}, folder / file)
        (folder / "config.json").write_text(json.dumps(config if config is not None else {}))
        if card is not None:
            (folder / "README.md").write_text(card)
        return open_model(LocalSource(str(folder), name=name, base=base))

    return made
