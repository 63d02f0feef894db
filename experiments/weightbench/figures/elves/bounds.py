"""What a larger error bound buys, and what it costs."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import lines, reference_line
from weightbench.figures.elves.lossy import evaluated
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_RATIO, _CHANGE, _KL = "ratio (raw / stored)", "change of accuracy, points", "KL, nats a token"
_PANELS = (_RATIO, _CHANGE, _KL)
_CASES = 2
_SMALL = 1e-9  # nats, below which the axis is linear
_SYSTEMS = ["elf", "sz3", "zfp", "zipnn_lossy"]


def _data(rows: Rows) -> pandas.DataFrame:
    """Return ratio, accuracy and divergence by absolute bound, of codecs that were run at several bounds."""
    found = evaluated(rows.where(system=_SYSTEMS)).dropna(subset=["bound"])
    found = found[found["codec"] == found["system"]]  # no other options
    found = found.sort_values("default").drop_duplicates(["model", "dtype", "system", "bound"])
    found = found[found.groupby(["model", "dtype", "system"])["bound"].transform("nunique") > 1]
    if found.empty:
        raise NoRowsError(f"none of {', '.join(_SYSTEMS)} was evaluated at more than one bound")
    shown = {
        _RATIO: found.assign(value=found["ratio"], low=np.nan, high=np.nan),
        _CHANGE: found.assign(value=100 * found["change"], low=100 * found["low"], high=100 * found["high"]),
        _KL: found.assign(value=found["kl"], low=found["kl_low"], high=found["kl_high"]),
    }
    kept = [
        "model",
        "dtype",
        "panel",
        "series",
        "x",
        "value",
        "low",
        "high",
        "max_abs_error",
        "source",
        "cell",
    ]
    parts = [
        part.assign(panel=panel, series=part["system"], x=part["bound"]) for panel, part in shown.items()
    ]
    return pandas.concat(parts, ignore_index=True)[kept].dropna(subset=["value"])


def _draw(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby(["model", "dtype"], sort=False))[:_CASES]
    figure, grid = pyplot.subplots(
        3 * len(cases), 1, figsize=(8, 7.2 * len(cases)), sharex=True, squeeze=False
    )
    for number, ((model, dtype), part) in enumerate(cases):
        for axes, panel in zip(grid[3 * number : 3 * number + 3, 0], _PANELS, strict=True):
            here = part[part["panel"] == panel]
            axes.set_ylabel(panel)
            if not here.empty:
                lines(axes, here, legend=panel == _RATIO)
            axes.set_xscale("log")
            if panel == _KL:
                axes.set_yscale("symlog", linthresh=_SMALL)
                axes.set_ylim(bottom=0)
            elif panel == _CHANGE:
                reference_line(axes, 0.0, "as before")
        grid[3 * number, 0].set_title(f"{model}, {dtype}")
    grid[-1, 0].set_xlabel("absolute error bound")
    return figure


SHEETS = (
    Sheet(
        name="error_bound",
        title="A larger error bound: what it buys and what it costs",
        after="ours",
        note="Elves has Elf's own bound alone (2^-24, the left end); larger ones are ours, and the peers "
        "are set to the same. Accuracy: a short multiple-choice task, paired 95 % intervals; KL: next "
        "token on held-out text, 95 % bootstrap intervals, linear below 1e-9.",
        experiments=("elf_error_bound",),
        data=_data,
        draw=_draw,
    ),
)
