"""The cells that an experiment is made of, told without opening a model, and which of them no row stands for.

A cell is described by the columns that its rows have: what the experiment sets once and what it sweeps. How
often a cell was measured and which revision of the weights it saw do not count here, so rows that were made
by other words serve as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from weightbench.arguments import register_search_path
from weightbench.errors import WeightbenchError
from weightbench.request import register_schema
from weightcodecs.errors import UnknownNameError

__all__ = ["CONF", "PlannedCell", "UnknownExperimentError", "command", "missing", "planned_cells", "rows_of"]

CONF = Path(__file__).parents[2] / "conf"
_NAMES = {
    "workload": "kind",
    "granularity": "kind",
    "model": "name",
    "codec": "name",
    "measure": "name",
    "eval": "mode",
}
"""What tells the options of a group apart in a row: ``granularity=chunk`` is ``cell.granularity.kind``."""
_DISK = "result.save_load.load_warm_mb_per_s.median"


class UnknownExperimentError(WeightbenchError):
    """No experiment of this name in conf/experiment; the message names the nearest."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell of an experiment.

    Attributes:
        words: the overrides that tell it from the experiment's others, as typed.
        columns: the columns and values by which its row is found.
    """

    words: tuple[str, ...]
    columns: Mapping[str, Any]


def command(experiment: str) -> str:
    """Return the command that makes an experiment's rows; what is there already is not run again."""
    return f"python run.py experiment={experiment}"


def planned_cells(experiment: str) -> list[PlannedCell]:
    """Return the cells of an experiment, in the order in which they run.

    Raises:
        UnknownExperimentError: there is no such file.
    """
    names = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
    if experiment not in names:
        raise UnknownExperimentError(str(UnknownNameError("experiment", experiment, names)))
    register_schema()
    register_search_path()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    sweep: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    axes = [_choices(key, value) for key, value in (sweep.get("params") or {}).items()]
    return [_planned(config, words) for words in itertools.product(*axes)]


def _choices(key: str, value: Any) -> list[str]:
    parsed = OverridesParser.create().parse_override(f"{key}={value}")
    if not parsed.is_sweep_override():
        return [f"{key}={parsed.get_value_element_as_str()}"]
    return [f"{key}={choice}" for choice in parsed.sweep_string_iterator()]


def _planned(config: Any, words: Sequence[str]) -> PlannedCell:
    columns = _fixed(config)
    for key, _, text in (word.partition("=") for word in words):
        value = OverridesParser.create().parse_override(f"{key}={text}").value()
        if "." not in key and key in _NAMES:
            columns = {name: kept for name, kept in columns.items() if not _belongs(name, key)}
            columns[f"cell.{key}.{_NAMES[key]}"] = str(value)
        else:
            columns[f"cell.{key}"] = value
    if columns.get("cell.granularity.kind") != "chunk":
        columns = {
            name: kept for name, kept in columns.items() if not name.startswith("cell.granularity.chunk")
        }
    return PlannedCell(tuple(words), columns)


def _belongs(column: str, group: str) -> bool:
    return column.startswith(f"cell.{group}.") and column not in ("cell.model.dtype",)


def _fixed(config: Any) -> dict[str, Any]:
    """Return what all cells of an experiment have, as columns of rows."""
    measure = config.measure
    columns = {
        "cell.codec.name": config.codec.name,
        "cell.model.dtype": config.model.dtype,
        "cell.workload.kind": config.workload.kind,
        "cell.granularity.kind": config.granularity.kind,
        "cell.granularity.chunk_bytes": config.granularity.chunk_bytes,
        "cell.granularity.chunking": config.granularity.chunking,
        "rounds": measure.min_rounds,
        "disk": bool(measure.cold_cache or measure.bandwidths_mb_per_s),
    }
    if name := config.model.get("name"):  # weights named by a path are called as their folder's members are
        columns["cell.model.name"] = name
    if config.workload.kind == "pair":
        columns["cell.workload.low"] = config.workload.low
    if config.eval.mode != "none":
        columns["cell.eval.mode"] = config.eval.mode
    for flag in ("dedup", "distributions"):
        if config.get(flag):
            columns[f"cell.{flag}"] = True
    return columns


def missing(planned: Sequence[PlannedCell], cells: pandas.DataFrame) -> list[PlannedCell]:
    """Return the planned cells that no row stands for; arguments as of `rows_of`."""
    return [cell for cell in planned if rows_of(cell, cells).empty]


def rows_of(cell: PlannedCell, rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows that stand for a planned cell.

    Args:
        cell: see `planned_cells`.
        rows: of any status, as :func:`weightbench.figures.rows.read_cells` gives them. The ok ones
            count, and skipped ones: their cell cannot be run.
    """
    rows = rows[rows["status"].isin(["ok", "skipped"])]
    for column, wanted in cell.columns.items():
        skipped = rows["status"] == "skipped"
        if column == "rounds":
            fits = (rows["rounds"] >= min(int(wanted), 2)) | skipped
        elif column == "disk":
            loaded = rows[_DISK].notna() if _DISK in rows else pandas.Series(False, index=rows.index)
            fits = skipped | loaded | (not wanted)
        elif column not in rows:
            fits = pandas.Series(wanted is None, index=rows.index)
        elif wanted is None:
            fits = rows[column].isna()
        else:
            fits = rows[column] == wanted
        rows = rows[fits]
    if not any(name.startswith("cell.codec.") for name in _swept(cell)):
        rows = rows[rows["label"] == rows["system"]]  # the defaults of the codec
    return rows


def _swept(cell: PlannedCell) -> list[str]:
    return [f"cell.{word.partition('=')[0]}" for word in cell.words]
