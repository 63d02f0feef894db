"""`python -m weightbench.lineage`: the table, the CSV files, the picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from networks import Make, front, tuned, weights

from weightbench.figures import style
from weightbench.figures.lineage import lineage_figure
from weightbench.lineage.__main__ import main


def test_folders(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = weights(0)
    make("base", base)
    make("tuned", tuned(base, 1), card=front(base_model="org/base"))
    make("stranger", weights(2))
    make("half", weights(3, dtype=np.float16))
    folders = [str(tmp_path / name) for name in ("tuned", "stranger", "half", "base")]
    assert main([*folders, "--out", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == [
        "model",
        "base",
        "how",
        "bits",
        "that",
        "differ,",
        "per",
        "weight",
        "threshold",
    ]
    assert [line.split()[:3] for line in table[2:6]] == [
        ["base", "–", "none"],
        ["half", "–", "none"],
        ["stranger", "–", "none"],
        ["tuned", "base", "declared"],
    ]
    with (tmp_path / "out/models.csv").open() as file:
        models = {row["model"]: row for row in csv.DictReader(file)}
    assert models["tuned"]["base"] == "base"
    assert models["tuned"]["related"] == "True"
    assert models["base"]["bits"] == ""
    with (tmp_path / "out/pairs.csv").open() as file:
        pairs = {(row["a"], row["b"]): row for row in csv.DictReader(file)}
    assert {pair for pair, row in pairs.items() if row["related"] == "True"} == {("base", "tuned")}
    assert float(pairs["base", "stranger"]["bits"]) > float(pairs["base", "stranger"]["threshold"])
    assert (tmp_path / "out/lineage.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out/lineage.pdf").read_bytes().startswith(b"%PDF")


def test_zoo_names_and_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["llama_kjv_1e-4", "llama"]) == 0
    assert "llama_kjv_1e-4  llama  given" in capsys.readouterr().out
    assert main(["llama", "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "lineage.png").exists()


def test_mistakes_are_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/folder"]) == 2
    assert capsys.readouterr().err.startswith("lineage: there is no /no/such/folder")
    with pytest.raises(SystemExit):
        main(["llama", "--samples", "0"])


@pytest.mark.parametrize("count", [2, 60])
def test_figures_of_any_size(count: int, tmp_path: Path) -> None:
    from scipy.cluster.hierarchy import linkage

    rng = np.random.default_rng(count)
    points = rng.random((count, 3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    tree = linkage(points, "average")
    distances[0, 1] = distances[1, 0] = np.nan
    names = [f"organisation/model-with-a-name-of-some-length-{i}" for i in range(count)]
    with style.styled():
        figure = lineage_figure(names, distances, distances < 0.5, tree, 0.5)
        figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes) == 3
