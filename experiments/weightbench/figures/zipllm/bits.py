"""Which bits of a weight fine-tuning flips."""

from __future__ import annotations

from typing import Any

import pandas

from weightbench.figures import style
from weightbench.figures.charts import OURS, PAPER, legend_outside, lines
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, parsed, records
from weightbench.figures.sheet import Sheet
from weightcodecs.formats import get_format

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_DELTAS = "result.distributions.deltas"
_PANELS = 6  # families and formats that are drawn; the CSV has all
_PAPERS_FORMAT = "bfloat16"


def _data(rows: Rows) -> pandas.DataFrame:
    found = rows.where(cell__distributions=True).having(_DELTAS)
    cells = found.one_each() if not found.cells.empty else found.cells
    made: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for row, deltas in zip(records(cells), parsed(cells, _DELTAS), strict=True):
        for delta in deltas:
            for dtype, section in delta["formats"].items():
                for place, flips in enumerate(section.get("flips", [])):
                    bit = len(section["flips"]) - 1 - place
                    made.setdefault((delta["base"], delta["model"], dtype, bit), {
                        "base": delta["base"], "dtype": dtype, "series": delta["model"], "x": bit,
                        "field": _field(dtype, bit), "value": flips / section["values"], "source": OURS,
                        "cell": row["id"],
                    })  # fmt: skip
    if not made:
        raise NoRowsError("no fine-tune with the bits that differ (workload=family distributions=true)")
    ours = pandas.DataFrame(made.values())
    paper = published("zipllm", "bit_flips").assign(source=PAPER, dtype=_PAPERS_FORMAT)
    paper = paper.assign(x=paper["x"].astype(int))
    paper["field"] = [_field(_PAPERS_FORMAT, bit) for bit in paper["x"]]
    return pandas.concat([ours, paper], ignore_index=True)


def _field(dtype: str, bit: int) -> str:
    """Return the part of a float of this format that a bit belongs to; bit 0 is the lowest."""
    mantissa, exponent = get_format(dtype).mantissa_bits, get_format(dtype).exponent_bits
    return "mantissa" if bit < mantissa else "exponent" if bit < mantissa + exponent else "sign"


def _draw(data: pandas.DataFrame) -> Figure:
    ours, paper = data[data["source"] == OURS], data[data["source"] == PAPER]
    panels = list(ours.groupby(["base", "dtype"], sort=False))[:_PANELS]
    figure, grid = pyplot.subplots(len(panels), 1, figsize=(9, 2.9 * len(panels)), squeeze=False)
    for axes, ((base, dtype), part) in zip(grid[:, 0], panels, strict=True):
        axes.set_title(f"fine-tunes of {base}, {dtype}")
        _shade(axes, part)
        lines(axes, part, systems=False, legend=False)
        for name, line in paper[paper["dtype"] == dtype].groupby("series"):
            axes.plot(line["x"], line["value"], color=style.BLACK, linestyle="--", marker="s", markersize=5,
                      linewidth=1.2, markerfacecolor="white", label=f"{name}\n(third party's)")  # fmt: skip
        legend_outside(axes)
        axes.set_xlim(part["x"].max() + 0.5, -0.5)
        axes.set_ylim(-0.02, 0.62)
        axes.set_xticks(range(int(part["x"].max()), -1, -1 if part["x"].max() < 20 else -2))
        axes.set_xlabel("bit (left: the sign)")
        axes.set_ylabel("share of weights\nwhere it differs")
        axes.grid(axis="x", visible=False)
    return figure


_SHADES = {"sign": "#d9d9d9", "exponent": "#eef4fa", "mantissa": "#ffffff"}


def _shade(axes: Axes, part: pandas.DataFrame) -> None:
    for field, bits in part.groupby("field", sort=False)["x"]:
        low, high = bits.min() - 0.5, bits.max() + 0.5
        axes.axvspan(low, high, color=_SHADES[str(field)], zorder=0, linewidth=0)
        axes.axvline(low, color=style.GREY, linewidth=0.6, zorder=1)
        axes.text((low + high) / 2, 0.6, str(field), ha="center", va="top", fontsize=8, color="#444444",
                  rotation=90 if field == "sign" else 0)  # fmt: skip


SHEETS = (
    Sheet(
        name="bit_flips",
        title="Which bits fine-tuning flips",
        after="ZipLLM's figure 5",
        note="All weights that have a counterpart in the base, counted exactly; ½ is what independent bits "
        "would do. The paper shows 311 fine-tunes of Llama 3, 3.1, Mistral and Qwen2.5, whose numbers are "
        "not at hand; dashed: a third party's measurement of one such pair, in bfloat16.",
        experiments=("distributions_family",),
        data=_data,
        draw=_draw,
    ),
)
