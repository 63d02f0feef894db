"""The pictures of the report, as Bokeh documents without data: the page fills in what its filters leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from bokeh.embed import json_item
from bokeh.models import (
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    LogTicker,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    Scatter,
    Segment,
    Step,
    TapTool,
    WheelZoomTool,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from weightbench.figures.style import system_style

__all__ = ["PICTURES", "library", "look", "picture"]

PICTURES = {
    "speed": "Size against speed",
    "nats": "Size against what the next-token distribution lost",
    "accuracy": "Size against loss of accuracy",
}
"""The pictures and their headings, in the page's order."""

_MARKERS = {
    "o": ("circle", 0.0), "s": ("square", 0.0), "D": ("diamond", 0.0), "P": ("plus", 0.0),
    "X": ("square_pin", 0.0), "*": ("star", 0.0), "h": ("hex", 0.0), "^": ("triangle", 0.0),
    "v": ("inverted_triangle", 0.0), "<": ("triangle", math.pi / 2), ">": ("triangle", -math.pi / 2),
    "x": ("x", 0.0), "+": ("cross", 0.0), "|": ("dash", math.pi / 2),
}  # fmt: skip
_POINTS = (
    "row",
    "x",
    "y",
    "low",
    "high",
    "colour",
    "marker",
    "angle",
    "edge",
    "fill",
    "label",
    "size",
    "value",
)


def library() -> str:
    """Return BokehJS: one file, BSD-3-Clause, that needs nothing else."""
    return (files("bokeh") / "server" / "static" / "js" / "bokeh.min.js").read_text("utf-8")


def look(system: str) -> Mapping[str, Any]:
    """Return the colour, the marker and the marker's angle of a system, as in the figures."""
    style = system_style(system)
    marker, angle = _MARKERS[style.marker]
    return {"colour": style.colour, "marker": marker, "angle": angle}


def picture(name: str) -> Mapping[str, Any]:
    """Return one of `PICTURES` as what ``Bokeh.embed.embed_item`` takes.

    Its sources are named ``points`` and ``front``; the page gives them data, and sets
    the ranges and the axis.
    """
    save = SaveTool(filename=f"weightbench-{name}")
    drawn = figure(
        name=name, height=380, min_width=200, sizing_mode="stretch_width", toolbar_location="above",
        x_range=Range1d(start=1, end=10), x_axis_type="log", x_axis_label="ratio (raw / stored)",
        y_range=Range1d(start=1, end=10), y_axis_type="log" if name == "speed" else "linear",
        y_axis_label=" ", tools=[PanTool(), BoxZoomTool(), WheelZoomTool(), ResetTool(), save],
        active_drag=None, active_scroll=None,  # a finger or a wheel on a picture moves the page
    )  # fmt: skip
    drawn.toolbar.logo = None
    points = ColumnDataSource({column: [] for column in _POINTS}, name="points")
    front = ColumnDataSource({"x": [], "y": []}, name="front")
    drawn.add_layout(Span(name="reference", dimension="width", line_dash="dotted", line_width=1.5))
    drawn.add_layout(Span(location=1.0, dimension="height", line_dash="dotted", line_width=1.5))
    # From one point of a front to the next larger ratio, only the latter's value can be had.
    drawn.add_glyph(front, Step(x="x", y="y", mode="before", line_width=1.5, line_dash="dashed"), name="line")
    spread = Segment(x0="x", x1="x", y0="low", y1="high", line_color="colour", line_width=1.5)
    drawn.add_glyph(points, spread, name="intervals")
    marks = Scatter(
        x="x", y="y", size=10, marker="marker", angle="angle", fill_color="colour", fill_alpha="fill",
        line_color="edge", line_width=0.8,
    )  # fmt: skip
    renderer = drawn.add_glyph(points, marks, name="marks")
    said = [("", "@label"), ("ratio", "@size"), ("", "@value")]
    drawn.add_tools(TapTool(renderers=[renderer]), HoverTool(renderers=[renderer], tooltips=said))
    drawn.xaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=8)
    drawn.xaxis.formatter = BasicTickFormatter(use_scientific=False)
    if name == "nats":
        drawn.yaxis.ticker = FixedTicker(ticks=[])
    if name == "speed":
        drawn.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    return json_item(drawn)
