"""What local weights are called in rows, whose identity must not depend on where files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from weightbench.arguments import one_line, with_members


def local(path: str, name: str = "") -> dict[str, Any]:
    return {"kind": "local", "path": path, "name": name}


def names(model: dict[str, Any], *members: Any) -> list[str]:
    made = with_members({"model": model, "workload": {"kind": "family", "members": list(members)}})
    return [node["name"] for node in (made["model"], *made["workload"]["members"])]


@pytest.mark.parametrize(
    ("paths", "called"),
    [
        (["/data/mine"], ["mine"]),
        (["/data/mine/model.safetensors"], ["model.safetensors"]),
        (["/data/mine/", "/data/./other/../yours"], ["mine", "yours"]),
        (["/data/a/model", "/data/b/model", "/data/b/last"], ["a/model", "b/model", "last"]),
        (["/one/a/model", "/two/a/model"], ["one/a/model", "two/a/model"]),
        (["/a/model", "/model"], ["a/model", "//model"]),
    ],
)
def test_as_much_of_the_path_as_tells_them_apart(paths: list[str], called: list[str]) -> None:
    assert names(*map(local, paths)) == called


def test_names_that_were_given_stay() -> None:
    assert names(local("/data/llama"), {"kind": "zoo", "name": "llama"}) == ["data/llama", "llama"]
    assert names(local("/data/llama", "mine"), local("/data/llama")) == ["mine", "llama"]


def test_a_relative_path_is_that_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert names(local("."), local("~")) == [tmp_path.name, Path.home().name]


def test_the_same_weights_twice_end_with_equal_names() -> None:
    assert len(set(names(local("/data/a"), local("/data/a")))) == 1


def test_a_single_model_is_named_too() -> None:
    made = with_members({"model": local("/data/mine"), "workload": {"kind": "single"}})
    assert made == {"model": local("/data/mine", "mine"), "workload": {"kind": "single"}}


def test_the_folder_before(tmp_path: Path) -> None:
    for step in (20, 3, 100):
        (tmp_path / "run" / f"step_{step:05d}").mkdir(parents=True)
    (tmp_path / "run" / "step_00050").touch()  # no folder
    config = OmegaConf.create({"name": "run/step_00100", "before": f"${{before:{tmp_path},${{name}}}}"})
    assert config.before == "run/step_00020"
    for name in ("run/step_00003", "run/step_00050", "none/step_00100"):
        config.name = name
        with pytest.raises(InterpolationResolutionError) as caught:
            print(config.before)
        assert "make the checkpoints first" in one_line(caught.value)
