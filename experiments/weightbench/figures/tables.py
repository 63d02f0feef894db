"""Tables as figures: lines under the header and at the ends, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightbench.figures import style

from matplotlib.axes import Axes  # isort: skip - after style, which chooses the backend

__all__ = ["draw_table"]

_PAD = 0.006  # of the width, left of a text


def draw_table(
    axes: Axes,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    widths: Sequence[float] | None = None,
    left: int = 1,
    size: float = 8.0,
) -> None:
    """Draw a table that fills the axes, whose frame goes.

    Args:
        axes: to draw on; a row is as high as the axes allow.
        header: a name a column, of at most two lines.
        rows: texts, as many in each as the header has.
        widths: of the columns, in any unit; equal ones if None.
        left: so many columns are set flush left, the others flush right: numbers.
        size: of the letters, in points.
    """
    parts = np.asarray(widths if widths is not None else [1.0] * len(header), dtype=np.float64)
    ends = np.cumsum(parts) / parts.sum()
    starts = ends - parts / parts.sum()
    high = len(rows) + 1.6  # the header takes the place of 1.6 rows
    for number, texts in enumerate([header, *rows]):
        y = high - 0.8 if number == 0 else len(rows) - number + 0.5
        for column, text in enumerate(texts):
            flush = column < left
            axes.text(starts[column] + _PAD if flush else ends[column] - _PAD, y, text, va="center",
                      ha="left" if flush else "right", fontsize=size,
                      fontweight="bold" if number == 0 else "normal")  # fmt: skip
        if number and texts[0]:  # a new group
            axes.axhline(y + 0.5, color="#dddddd", linewidth=0.6)
    for y, width in ((high, 1.2), (len(rows), 0.8), (0, 1.2)):
        axes.axhline(y, color=style.BLACK, linewidth=width)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.05, high + 0.05)
    axes.axis("off")
