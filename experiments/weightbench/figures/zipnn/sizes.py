"""What is left of whole models, and which part of the method that is owed to."""

from __future__ import annotations

import pandas

from weightbench.figures.charts import OURS, PAPER, bars, hollow_bars, legend_outside, look, reference_line
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import PAPER_MARK, papers_values, together
from weightbench.figures.zipnn.fields import distributed

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS", "STEPS"]

_SYSTEMS = ["zstd", "zipnn_official", "zipnn"]
_GROUPS = 12  # models and formats that are drawn; the CSV has all
_APART = "zipnn (entropy=zstd, paper)"
_PAPERS = "zipnn (entropy=huffman, paper)"
STEPS = {
    "zipnn": "zipnn (ours)",
    _PAPERS: "zipnn (published, Huffman)",
    _APART: "zipnn (published, zstd)",
    "zstd": "zstd",
}
"""Series of the ablation by the label of a row: part after part is taken away."""
_HUFFMAN = "Huffman alone (ours: estimated)"
_ORDER = (*list(STEPS.values())[:-1], _HUFFMAN, "zstd")
_IN_PAPER = {
    "exponents apart, Huffman": STEPS[_PAPERS],
    "exponents apart, zstd": STEPS[_APART],
    "Huffman": _HUFFMAN,
}


def _whole(rows: Rows) -> pandas.DataFrame:
    """Return a line for each model, format and codec: what is left of the model, tensor by tensor."""
    cells = rows.where(workload="single", granularity="tensor", cell__dedup=False).one_each()
    return pandas.DataFrame(
        {
            "series": cells["label"],
            "x": cells["model"] + " " + cells["dtype"],
            "value": 100 / cells["ratio"],
            "unit": "% of raw",
            "raw_bytes": cells["result.sizes.raw_bytes"],
            "stored_bytes": cells["result.sizes.stored_bytes"],
            "cell": cells["id"],
        }
    ).drop_duplicates(["series", "x"], keep="last")


def _remaining_data(rows: Rows) -> pandas.DataFrame:
    ours = _whole(rows.where(label=_SYSTEMS))
    place = {name: number for number, name in enumerate(_SYSTEMS)}
    ours = ours.assign(_place=ours["series"].map(place)).sort_values(["x", "_place"]).drop(columns="_place")
    return together(ours, papers_values("remaining"), f"a checkpoint coded by {', '.join(_SYSTEMS)}")


def _draw_remaining(data: pandas.DataFrame) -> Figure:
    ours, papers = data[data["source"] == OURS], data[data["source"] == PAPER]
    groups, others = list(dict.fromkeys(ours["x"]))[:_GROUPS], list(dict.fromkeys(papers["x"]))
    heights = (0.4 * len(groups) + 0.7, 0.2 * len(others) + 0.7)
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, sum(heights)), sharex=True, height_ratios=heights
    )
    above.set_title("Ours")
    bars(above, ours, order=[name for name in _SYSTEMS if (ours["series"] == name).any()], groups=groups,
         text="{:.1f}")  # fmt: skip
    below.set_title("The papers' models and values")
    order = list(dict.fromkeys(papers["series"]))
    for name, part in papers.groupby("series", sort=False):
        drawn = look(str(name), order, systems=False)
        below.plot(part["value"], [others.index(x) for x in part["x"]], linestyle="none", color=drawn.colour,
                   marker=drawn.marker, markerfacecolor="none", markersize=5, label=name)  # fmt: skip
    below.set_yticks(range(len(others)), others, fontsize=7)
    below.invert_yaxis()
    legend_outside(below)
    _percent(above, below)
    return figure


def _percent(*panels: Axes) -> None:
    for axes in panels:
        axes.set_xlim(0, 112)
        axes.set_xlabel("% of raw bytes that is left")
        axes.tick_params(labelbottom=True)
        reference_line(axes, 100, "raw", vertical=True)


def _ablation_data(rows: Rows) -> pandas.DataFrame:
    ours = _whole(rows.where(label=list(STEPS)))
    ours["series"] = ours["series"].map(STEPS)
    complete = ours.groupby("x")["series"].nunique() > 2  # both sides of the exponents, and what neither has
    ours = ours[ours["x"].map(complete)].assign(estimated=False)
    if ours.empty:
        raise NoRowsError(f"no checkpoint coded by zstd, {_APART} and {_PAPERS}")
    lines = [
        {"series": _HUFFMAN, "x": f"{row['model']} {row['dtype']}", "unit": "% of raw", "cell": row["id"],
         "value": 100 * fields["bytes.huffman"] / 8, "estimated": True}
        for row, fields in distributed(rows)
    ]  # fmt: skip
    huffman = pandas.DataFrame(lines)
    return together(
        pandas.concat([ours, huffman[huffman["x"].isin(ours["x"])]], ignore_index=True),
        papers_values("ablation").replace({"series": _IN_PAPER}),
        "these",
    )


def _draw_ablation(data: pandas.DataFrame) -> Figure:
    data = data.assign(x=data["x"] + (data["source"] == PAPER).map({True: PAPER_MARK, False: ""}))
    ours = data[data["source"] == OURS]
    own = list(dict.fromkeys(ours["x"]))[:_GROUPS]
    groups = own + list(dict.fromkeys(data.loc[data["source"] == PAPER, "x"]))
    figure, axes = pyplot.subplots(figsize=(8, 0.75 * len(groups) + 0.9))
    order = [name for name in _ORDER if (data["series"] == name).any()]
    bars(axes, ours, order=order, groups=groups, text="{:.1f}")
    hollow_bars(axes, data, order=order, groups=groups, text="{:.1f}")
    axes.axhline(len(own) - 0.5, color="black", linewidth=0.8)
    _percent(axes)
    return figure


SHEETS = (
    Sheet(
        name="remaining",
        title="What is left of whole models",
        after="ZipNN (arXiv 2411.05239), table II, and its predecessor (arXiv 2404.15198), table II",
        note="Ours: measured, everything counted (descriptions, checksums, headers). The papers' models "
        "are not ours: compare classes: bfloat16 about two thirds, float32 five sixths, and 'clean' "
        "ones, whose low bits are empty, less. smollm2, if shown, was dequantised from 4 bits and "
        "belongs to the last.",
        experiments=("zipnn_models",),
        data=_remaining_data,
        draw=_draw_remaining,
    ),
    Sheet(
        name="ablation",
        title="What setting the exponents apart is worth, and what the coder",
        after="ZipNN (arXiv 2411.05239), figure 4",
        note="Part after part is taken away: our chunks and coders, Huffman for zstd-3 in every group of "
        "bytes, and the groups with the exponents. 'Huffman alone' is estimated, from counts of all "
        "bytes in one alphabet, without tables; all else is measured. Hollow: the paper's models, 1 "
        "GB each, which are not ours.",
        experiments=("zipnn_ablation", "zipnn_speed", "zipnn_distributions"),
        data=_ablation_data,
        draw=_draw_ablation,
    ),
)
