"""One look for every figure: Matplotlib settings, and for each system a colour, marker and hatch of its own.

The colours are Okabe and Ito's, which people with any colour vision tell apart; markers and hatches tell
systems apart in black and white. A system looks the same in every figure and in the report.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

__all__ = [
    "BLACK", "BLUE", "DARK_GREY", "GREEN", "GREY", "ORANGE", "PINK", "RED", "SKY", "YELLOW",
    "SystemStyle", "styled", "system_style",
]  # fmt: skip

BLACK, DARK_GREY, GREY = "#000000", "#777777", "#999999"
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
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # text in a PDF stays text
    "svg.hashsalt": "weightbench",
}


@dataclass(frozen=True, slots=True)
class SystemStyle:
    """How a system is drawn: ``colour`` as #RRGGBB, a Matplotlib ``marker``, a ``hatch`` for bars."""

    colour: str
    marker: str
    hatch: str


# The papers' systems have the clear colours; a family of variants shares one, apart by marker and hatch.
_SYSTEMS = {
    "elf": SystemStyle(ORANGE, "o", ""),
    "elves": SystemStyle(RED, "s", ""),
    "distance": SystemStyle(ORANGE, "v", "xx"),
    "zipnn": SystemStyle(BLUE, "o", ""),
    "zipnn_delta": SystemStyle(BLUE, "^", "//"),
    "zipnn_lossy": SystemStyle(BLUE, "v", "xx"),
    "zipnn_official": SystemStyle(BLUE, "D", ".."),
    "bitx": SystemStyle(SKY, "v", "//"),
    "zipllm": SystemStyle(SKY, "s", ""),
    "dedup": SystemStyle(SKY, "P", ".."),
    "fm_delta": SystemStyle(GREEN, "D", "//"),
    "qstore": SystemStyle(PINK, "s", ""),
    "qstore_chain": SystemStyle(PINK, "D", "xx"),
    "identity": SystemStyle("#bbbbbb", "x", ""),
    "zstd": SystemStyle(DARK_GREY, "o", ""),
    "lz4": SystemStyle(DARK_GREY, "v", "//"),
    "brotli": SystemStyle(DARK_GREY, "s", "xx"),
    "zlib": SystemStyle(DARK_GREY, "D", ".."),
    "xz": SystemStyle(DARK_GREY, "P", "\\\\"),
    "bg4_lz4": SystemStyle(DARK_GREY, "<", "oo"),
    "openzl": SystemStyle(BLACK, "o", "//"),
    "blosc2": SystemStyle(BLACK, "s", "xx"),
    "pcodec": SystemStyle(BLACK, "D", ".."),
    "fpzip": SystemStyle(BLACK, "P", "\\\\"),
    "sz3": SystemStyle(YELLOW, "h", ""),
    "zfp": SystemStyle(YELLOW, "s", "//"),
    "cast": SystemStyle(YELLOW, "D", "xx"),
    "int8": SystemStyle(PINK, "v", "//"),
    "int4": SystemStyle(PINK, "<", ".."),
    "nf4": SystemStyle(PINK, ">", "\\\\"),
}
_FREE = [
    SystemStyle(colour, marker, hatch)
    for marker, hatch in (("X", "++"), ("*", "**"), ("h", "--"))
    for colour in (GREEN, RED, BLACK, ORANGE)
]


def system_style(name: str) -> SystemStyle:
    """Return the look of a codec or system; of one that is not ours one that its name alone decides."""
    return _SYSTEMS.get(name) or _FREE[zlib.crc32(name.encode()) % len(_FREE)]


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style; Matplotlib's settings are as before afterwards."""
    with pyplot.rc_context(_SETTINGS):  # type: ignore[arg-type]
        yield
