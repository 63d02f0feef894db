"""The figures of the papers, drawn from stored rows; nothing is measured.

    python -m weightbench.figures zipnn                        one paper's figures
    python -m weightbench.figures all --rows results           all, from the rows of one folder alone
    python -m weightbench.figures elves --only granularity
    python -m weightbench.figures all --where cell.model.name=llama

Each figure is written as PNG, PDF, and its numbers as CSV. Cells of an experiment that no row stands for are
named with the command that makes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas

from weightbench import results
from weightbench.errors import WeightbenchError
from weightbench.figures.catalogue import SHEETS
from weightbench.figures.rows import NoRowsError, Rows, read_cells
from weightbench.figures.sheet import Sheet, write_sheet
from weightbench.grids import PlannedCell, command, missing, planned_cells

__all__ = ["main"]

DRAWN, INCOMPLETE, WRONG_INPUT = 0, 1, 2
REFERENCE = Path(__file__).parents[3] / "results" / "reference"
_NAMED = 3  # missing cells that are named; of more, their number


def main(arguments: Sequence[str]) -> int:
    """Draw; return 0 if every figure was drawn, 1 if one had no rows, 2 for wrong input."""
    options = _parser().parse_args(arguments)
    try:
        folders = [Path(folder) for folder in options.rows] if options.rows else _usual_folders()
        cells = _selected(read_cells(folders), options.where)
        chosen = _chosen(options)
    except WeightbenchError as error:
        print(f"weightbench.figures: {error}", file=sys.stderr)
        return WRONG_INPUT
    rows = Rows(cells[cells["status"] == "ok"], tuple(folders))
    drawn = [_draw(paper, sheet, rows, options.out) for paper, sheet in chosen]
    _say_missing(chosen, cells)
    return DRAWN if all(drawn) else INCOMPLETE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m weightbench.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paper", choices=[*SHEETS, "all"])
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this figure; repeatable")
    parser.add_argument(
        "--rows", nargs="+", metavar="DIR",
        help="results folders, the first preferred (default: results, then results/reference for the rest)",
    )  # fmt: skip
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only rows like that; repeatable"
    )
    parser.add_argument("--out", type=Path, default=results.default_root() / "figures", metavar="DIR")
    return parser


def _usual_folders() -> list[Path]:
    own = results.default_root()
    return [own, REFERENCE] if (own / "cells").is_dir() and own.resolve() != REFERENCE else [REFERENCE]


def _selected(cells: pandas.DataFrame, where: Sequence[str]) -> pandas.DataFrame:
    for condition in where:
        column, _, value = condition.partition("=")
        if column not in cells:
            raise NoRowsError(f"--where {condition}: no row has the column {column!r}")
        cells = cells[cells[column].astype(str) == value]
    return cells


def _chosen(options: argparse.Namespace) -> list[tuple[str, Sheet]]:
    papers = list(SHEETS) if options.paper == "all" else [options.paper]
    found = [(paper, sheet) for paper in papers for sheet in SHEETS[paper]]
    names = [sheet.name for _, sheet in found]
    if strange := [name for name in options.only if name not in names]:
        raise NoRowsError(f"no figure {strange[0]!r}; there are: {', '.join(names)}")
    return [(paper, sheet) for paper, sheet in found if not options.only or sheet.name in options.only]


def _draw(paper: str, sheet: Sheet, rows: Rows, out: Path) -> bool:
    try:
        paths = write_sheet(sheet, rows, out / paper)
    except NoRowsError as error:
        print(f"{paper}/{sheet.name}: not drawn, {error}; make them: {_commands(sheet.experiments)}")
        return False
    print(f"{paper}/{sheet.name}: {paths[0]}")
    return True


def _commands(experiments: Sequence[str]) -> str:
    return " && ".join(command(name) for name in experiments)


def _say_missing(chosen: Sequence[tuple[str, Sheet]], cells: pandas.DataFrame) -> None:
    experiments = dict.fromkeys(name for _, sheet in chosen for name in sheet.experiments)
    for experiment in experiments:
        planned = planned_cells(experiment)
        if absent := missing(planned, cells):
            print(f"missing: {len(absent)} of {len(planned)} cells of {experiment} ({_named(absent)}); "
                  f"make them: {command(experiment)}")  # fmt: skip


def _named(absent: Sequence[PlannedCell]) -> str:
    said = [" ".join(cell.words) or "its only cell" for cell in absent[:_NAMED]]
    return "; ".join([*said, "…"] if len(absent) > _NAMED else said)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
