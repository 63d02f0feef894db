"""Laws of every sheet, the papers' values, and the command that draws them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas
import pytest

from weightbench.figures import published, style
from weightbench.figures.__main__ import REFERENCE, main
from weightbench.figures.catalogue import SHEETS, sheet_named
from weightbench.figures.rows import NoRowsError, Rows, read_cells
from weightbench.figures.sheet import Sheet, write_sheet
from weightbench.grids import missing, planned_cells

ALL = [(paper, sheet) for paper, sheets in SHEETS.items() for sheet in sheets]
IDS = [f"{paper}/{sheet.name}" for paper, sheet in ALL]
EXPERIMENTS = sorted({name for _, sheet in ALL for name in sheet.experiments})
PAPERS = [paper for paper in SHEETS if (Path(published.__file__).parent / "papers" / f"{paper}.csv").exists()]


@cache
def reference() -> Rows:
    return Rows.read([REFERENCE])


@pytest.fixture
def rows() -> Rows:
    return reference()


@cache
def data_of(paper: str, name: str) -> pandas.DataFrame:
    return sheet_named(paper, name).data(reference())


def test_names_are_unique_and_tell_files_apart() -> None:
    assert len(set(IDS)) == len(IDS)
    assert all(re.fullmatch(r"[a-z0-9_]+", sheet.name) for _, sheet in ALL)


@pytest.mark.parametrize(("paper", "sheet"), ALL, ids=IDS)
def test_every_sheet_is_drawn_from_the_reference_rows(
    paper: str, sheet: Sheet, rows: Rows, tmp_path: Path
) -> None:
    png, pdf, csv = write_sheet(sheet, rows, tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    data = pandas.read_csv(csv)
    assert set(data["source"]) <= {"ours", "paper"}
    ours = data[data["source"] == "ours"]
    assert not ours.empty
    known = set(rows.cells["id"])
    if "cell" in ours:
        assert set(ours["cell"].dropna()) <= known, "a number that comes from no row"


@pytest.mark.parametrize(("paper", "sheet"), ALL, ids=IDS)
def test_axes_say_what_they_show(paper: str, sheet: Sheet) -> None:
    with style.styled():
        figure = sheet.draw(data_of(paper, sheet.name))
    shown = [axes for axes in figure.axes if axes.axison and axes.has_data()]
    assert shown or len(figure.axes[0].texts) > 10, "neither a chart nor a table was drawn"
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
    assert any(labels) or not shown
    style.pyplot.close(figure)


@pytest.mark.parametrize(("paper", "sheet"), ALL, ids=IDS)
def test_without_rows_a_sheet_says_so(paper: str, sheet: Sheet, rows: Rows) -> None:
    with pytest.raises(NoRowsError):
        sheet.data(Rows(rows.cells.iloc[:0], rows.folders))


@pytest.mark.parametrize("paper", PAPERS)
def test_papers_values_say_where_they_are_from(paper: str) -> None:
    table = published._table(paper)
    assert tuple(table.columns) == published.COLUMNS
    assert np.isfinite(table["value"]).all()
    for column in ("figure", "series", "unit", "where", "setting"):
        assert (table[column].str.strip() != "").all(), f"{column} is empty"
    assert set(table["figure"]) <= {sheet.name for sheet in SHEETS[paper]}, "values that no sheet shows"


@pytest.mark.parametrize(("paper", "sheet"), ALL, ids=IDS)
def test_what_is_said_of_the_paper_is_in_its_table(paper: str, sheet: Sheet) -> None:
    data = data_of(paper, sheet.name)
    shown = data[data["source"] == "paper"]
    if shown.empty:
        return
    known = published.published(paper, sheet.name)["value"].to_numpy(np.float64)
    numbers = shown["value"].to_numpy(np.float64)
    assert all(np.isclose(known, value, rtol=1e-9).any() for value in numbers)


@cache
def reference_cells() -> pandas.DataFrame:
    return read_cells([REFERENCE])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_reference_rows_hold_every_cell_of_the_experiments(experiment: str) -> None:
    absent = missing(planned_cells(experiment), reference_cells())
    assert [cell.words for cell in absent] == []


def test_command_says_what_is_missing_and_how_to_make_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["pareto", "--only", "speed", "--rows", str(REFERENCE), "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert (tmp_path / "pareto" / "speed.csv").exists()
    assert "missing" not in capsys.readouterr().out
    assert main([*arguments, "--where", "cell.codec.name=zstd"]) == 1
    said = capsys.readouterr().out
    assert "not drawn" in said
    assert "python run.py experiment=systems" in said


@pytest.mark.parametrize(
    "wrong", [["--only", "nothing"], ["--where", "cell.nothing=1"], ["--rows", "/nonexistent"]]
)
def test_wrong_input_is_one_line(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pareto", "--rows", str(REFERENCE), "--out", str(tmp_path), *wrong]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
