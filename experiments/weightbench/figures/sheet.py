"""A sheet: one figure of a paper (or ours), as the data it shows and the drawing of just these data.

What is drawn is a tidy frame, and the same frame is written as CSV: whoever doubts a picture finds every
number that is in it, and the papers' own values beside ours in the same columns.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill

import pandas

from weightbench.figures import style
from weightbench.figures.rows import Rows

from matplotlib import pyplot  # isort: skip - after style, which chooses the backend
from matplotlib.figure import Figure

__all__ = ["Picture", "Sheet", "write_sheet"]

_WIDTH = 118  # characters of a note, for a figure of 8 inches
_INCHES = 8.0
_SCREEN_DPI = 80  # small enough that a notebook stays small


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure, which IPython shows whatever Matplotlib's backend is."""

    png: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True, slots=True)
class Sheet:
    """One figure.

    Attributes:
        name: file name, without a suffix.
        title: what it shows, one line.
        after: which figure or table of the paper it follows, or "ours".
        note: what a reader must know: how our models or data differ from the paper's, what is estimated.
        experiments: conf/experiment files whose cells it draws.
        data: from rows to the tidy frame that is drawn; raises :class:`weightbench.figures.rows.NoRowsError`
            if no row has what it needs.
        draw: from that frame alone to the figure.
    """

    name: str
    title: str
    after: str
    note: str
    experiments: tuple[str, ...]
    data: Callable[[Rows], pandas.DataFrame]
    draw: Callable[[pandas.DataFrame], Figure]

    def figure(self, rows: Rows) -> Figure:
        """Return the figure of these rows, in the project's style.

        Raises:
            NoRowsError: no row has what it needs.
        """
        with style.styled():
            return self._drawn(self.data(rows))

    def picture(self, rows: Rows) -> Picture:
        """Return the figure as a notebook shows it; raises as :meth:`figure`."""
        figure, png = self.figure(rows), io.BytesIO()
        figure.savefig(png, format="png", dpi=_SCREEN_DPI)
        pyplot.close(figure)
        return Picture(png.getvalue())

    def _drawn(self, data: pandas.DataFrame) -> Figure:
        figure = self.draw(data)
        width = int(_WIDTH * figure.get_size_inches()[0] / _INCHES)
        figure.suptitle(fill(self.title, width * 9 // 14), fontsize=11, fontweight="bold", x=0.01, ha="left")
        note = f"After {self.after}. {self.note}" if self.after != "ours" else self.note
        figure.supxlabel(fill(note, width), fontsize=7, color="#444444", x=0.01, ha="left")
        return figure


def write_sheet(sheet: Sheet, rows: Rows, folder: Path) -> list[Path]:
    """Write a sheet as PNG, PDF and CSV into a folder; return the three paths.

    Raises:
        NoRowsError: no row has what it needs; nothing is written.
    """
    data = sheet.data(rows)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{sheet.name}.{suffix}" for suffix in ("png", "pdf", "csv")]
    with style.styled():
        figure = sheet._drawn(data)
        figure.savefig(paths[0])
        figure.set_layout_engine("none")  # the places are found, and finding them again takes as long
        figure.savefig(paths[1], metadata={"CreationDate": None})  # equal rows make equal files
        pyplot.close(figure)
    data.to_csv(paths[2], index=False, lineterminator="\n")
    return paths
