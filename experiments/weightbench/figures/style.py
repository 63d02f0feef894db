"""One look for every figure: Matplotlib settings, and colours that mean the same everywhere.

The colours are Okabe and Ito's, which people with any colour vision tell apart; hatches tell bars apart in
black and white.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PINK", "RED", "SKY", "YELLOW", "styled"]

BLACK, GREY = "#000000", "#999999"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, RED, PINK = "#0072B2", "#D55E00", "#CC79A7"

_SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "weightbench",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style; Matplotlib's settings are as before afterwards."""
    with pyplot.rc_context(_SETTINGS):  # type: ignore[arg-type]
        yield
