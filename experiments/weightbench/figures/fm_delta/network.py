"""A fine-tune over a network to somebody who has the base: coded, sent, decoded."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import OURS, legend_outside, look, reference_line
from weightbench.figures.rows import NoRowsError, Rows, records
from weightbench.figures.sheet import Sheet
from weightbench.figures.transfer import share_of_raw_time

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_WAYS = {"upload": "encode", "download": "decode"}
_MBIT = 8.0
_BANDWIDTHS = np.geomspace(10, 20_000, 34).round(3)  # Mbit/s, as the paper has them
_SYSTEMS = ["fm_delta", "bitx", "zipnn_delta", "zipnn", "zstd"]


def _data(rows: Rows) -> pandas.DataFrame:
    sets = rows.timed().where(workload="family", system=_SYSTEMS, cell__measure__threads=1)
    sets = sets.having("result.workload.ratio_base_not_counted")
    if sets.cells.empty:
        raise NoRowsError("no family with speeds of several rounds (measure=timing)")
    made = []
    for row in records(sets.one_each()):
        for way, operation in _WAYS.items():
            speed = row[f"result.speed.{operation}.mb_per_s.median"]
            ratio = row["result.workload.ratio_base_not_counted"]
            for overlapped in (False, True):
                shares = share_of_raw_time(ratio, _BANDWIDTHS / _MBIT, speed, overlapped=overlapped)
                made += [
                    {"series": row["label"], "model": row["model"], "dtype": row["dtype"], "way": way, "x": x,
                     "overlapped": overlapped, "value": 100 * share, "source": OURS, "cell": row["id"]}
                    for x, share in zip(_BANDWIDTHS.tolist(), shares.tolist(), strict=True)
                ]  # fmt: skip
    return pandas.DataFrame(made)


def _draw(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby(["model", "dtype"], sort=False))
    order = list(dict.fromkeys(data["series"]))
    figure, grid = pyplot.subplots(len(cases), 2, figsize=(11, 3.1 * len(cases)), squeeze=False)
    for line, ((model, dtype), part) in zip(grid, cases, strict=True):
        for axes, way in zip(line, _WAYS, strict=True):
            axes.set_title(f"family of {model}, {dtype}: {way}")
            here = part[part["way"] == way]
            for name, curve in here[~here["overlapped"]].groupby("series", sort=False):
                drawn = look(str(name), order)
                axes.plot(curve["x"], curve["value"], color=drawn.colour, linewidth=1.4, marker=drawn.marker,
                          markevery=5, markersize=4, label=name)  # fmt: skip
            for name, curve in here[here["overlapped"]].groupby("series", sort=False):
                colour = look(str(name), order).colour
                axes.plot(curve["x"], curve["value"], color=colour, linewidth=1.4, linestyle=":")
            reference_line(axes, 100, "raw")
            axes.set_xscale("log")
            axes.set_ylim(0, 220)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_xlabel("bandwidth, Mbit/s")
            axes.set_ylabel("% of the raw model's time")
        legend_outside(line[-1])
    return figure


SHEETS = (
    Sheet(
        name="network",
        title="Fine-tunes over a network: time against bandwidth",
        after="FM-Delta's figures 8 and 13",
        note="Arithmetic from measured bytes and speeds of one thread; lines: coding and sending one after "
        "the other, dotted: at the same time. The paper's GPT-NeoX fine-tune breaks even near 800 "
        "Mbit/s at 110 MB/s of coding; its curves are not at hand.",
        experiments=("fm_delta_speed",),
        data=_data,
        draw=_draw,
    ),
)
