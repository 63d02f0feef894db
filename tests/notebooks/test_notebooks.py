"""Every notebook runs from top to bottom on the bundled model; what is committed of it is small and clean."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
LARGEST = 600_000  # bytes of a file, outputs included
LONGEST = 25  # lines of a cell that is not a class to learn from


def test_the_notebooks_are_there() -> None:
    assert NAMES == [
        "accuracy_against_error_bound",
        "bits_of_a_checkpoint",
        "compare_codecs",
        "family_and_deltas",
        "your_own_codec",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_committed_outputs_are_whole_and_small(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs, "commit it with its outputs"
    assert not [output for output in outputs if output.output_type == "error"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "not run from the top"
    texts = [cell.source for cell in book.cells] + [
        str({**output, "data": _text(output)}) for output in outputs
    ]
    assert not [text for text in texts if re.search(r"/(home|root|work|tmp|usr)/", text)], "a machine's path"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_notebooks_call_the_package_and_hold_no_logic(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "class " not in cell.source:
            assert "def " not in cell.source
            assert len(cell.source.splitlines()) <= LONGEST


def _text(output: nbformat.NotebookNode) -> dict[str, str]:
    return {kind: value for kind, value in output.get("data", {}).items() if kind.startswith("text/")}


@pytest.mark.notebook
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(path, as_version=4)
    pictures = _pictures(book)
    client = NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    )
    client.execute()  # raises at the first cell that fails
    assert _pictures(book) == pictures


def _pictures(book: nbformat.NotebookNode) -> int:
    return sum(
        "image/png" in output.get("data", {})
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
