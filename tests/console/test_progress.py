"""The progress bar, as a terminal gets it."""

from __future__ import annotations

import io

import pytest

from weightbench import console
from weightbench.runner import Progress


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


STEPS = (
    Progress("writing the archive", 1, 8, "MB"),
    Progress("measuring, round 1", 38, 38, "units"),
    Progress("importing lm-eval"),
)


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with console.progress() as show:
        for step in STEPS:
            show(step)
    for step in STEPS:
        assert step.message in terminal.getvalue()
    assert "1/8 MB" in terminal.getvalue()


def test_a_file_gets_a_line_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    with console.progress() as show:
        for step in (*STEPS, STEPS[-1]):
            show(step)
    assert file.getvalue().splitlines() == [f"  … {step.message}" for step in STEPS]
