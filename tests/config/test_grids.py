"""What an experiment is made of, and which of its cells a row stands for."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml

from weightbench.grids import PlannedCell, UnknownExperimentError, missing, planned_cells, rows_of

CONF = Path(__file__).parents[2] / "conf" / "experiment"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_the_product_of_the_axes(name: str) -> None:
    sweeper = yaml.safe_load((CONF / f"{name}.yaml").read_text()).get("hydra", {}).get("sweeper", {})
    axes = sweeper.get("params") or {}
    if any(str(value).startswith(("choice(", "interval(", "range(", "tag(")) for value in axes.values()):
        return  # a search draws its cells
    cells = planned_cells(name)
    assert len(cells) == prod(len(str(value).split(",")) for value in axes.values())
    assert len({cell.words for cell in cells}) == len(cells)
    assert len({tuple(sorted((k, str(v)) for k, v in cell.columns.items())) for cell in cells}) == len(cells)


def test_an_unknown_experiment_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownExperimentError, match="systems"):
        planned_cells("sistems")


ROW: dict[str, Any] = {
    "id": "1", "status": "ok", "system": "zstd", "label": "zstd", "cell.codec.name": "zstd",
    "cell.model.name": "llama", "cell.model.dtype": None, "cell.workload.kind": "single", "rounds": 6,
    "cell.granularity.kind": "tensor", "cell.measure.name": "timing",
}  # fmt: skip
WANTED = {
    "cell.codec.name": "zstd", "cell.model.name": "llama", "cell.model.dtype": None,
    "cell.workload.kind": "single", "cell.granularity.kind": "tensor", "rounds": 1, "disk": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "wanted", "found"),
    [
        ({}, {}, True),
        ({"status": "failed"}, {}, False),
        ({"status": "skipped", "rounds": 0}, {"rounds": 6}, True),
        ({"rounds": 1}, {"rounds": 6}, False),
        ({"cell.model.dtype": "bfloat16"}, {}, False),
        ({"cell.model.dtype": "bfloat16"}, {"cell.model.dtype": "bfloat16"}, True),
        ({"label": "zstd (level=19)"}, {}, False),
        ({}, {"disk": True}, False),
        ({"result.save_load.load_warm_mb_per_s.median": 1.0}, {"disk": True}, True),
        ({}, {"cell.distributions": True}, False),
    ],
)
def test_a_row_stands_for_a_cell_if_what_was_asked_for_is_in_it(
    row: dict[str, Any], wanted: dict[str, Any], found: bool
) -> None:
    rows = pandas.DataFrame([ROW | row])
    cell = PlannedCell(("codec=zstd", "model=llama"), WANTED | wanted)
    assert (len(rows_of(cell, rows)) == 1) is found
    assert (missing([cell], rows) == []) is found
