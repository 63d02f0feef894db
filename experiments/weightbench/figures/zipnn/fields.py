"""What weights are made of: which exponents occur, and what is left of each byte of a weight."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas

from weightbench.figures import style
from weightbench.figures.charts import OURS, PAPER, look
from weightbench.figures.rows import NoRowsError, Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import PAPER_MARK, papers_values, split_x, together
from weightcodecs import get_format

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS", "Fields", "distributed"]

_EXPERIMENTS = ("zipnn_distributions",)
_WANTED = "a checkpoint by itself with distributions=true"
_BIAS = 127  # of float32 and bfloat16: the scale that all formats are drawn on
_PANELS = 7  # models that are drawn; the CSV has all
_VISIBLE = 2e-3  # share of weights below which an exponent does not widen the axis
_GROUPS = ("1", "2", "3", "4", "all")
_DARK = 38.0  # % left below which a field is dark
_EXTRACTED, _GROUPED = "exponent extraction", "byte grouping"

Fields = Mapping[str, Any]


def distributed(rows: Rows) -> Iterator[tuple[dict[str, Any], Fields]]:
    """Yield each checkpoint's row once, with ``result.distributions.values`` of the format of most bytes.

    Raises:
        NoRowsError: there is none.
    """
    cells = rows.where(workload="single", cell__distributions=True).cells
    if cells.empty:
        raise NoRowsError(f"no row of {_WANTED}")
    found = Rows(cells, rows.folders).one_each().drop_duplicates(["model", "dtype"], keep="last")
    for row in found.to_dict("records"):
        prefix = f"result.distributions.values.{row['dtype']}."
        known = {
            str(key).removeprefix(prefix): value for key, value in row.items() if str(key).startswith(prefix)
        }
        if known and known["values"] > 0:
            lists = {key: json.loads(value) for key, value in known.items() if isinstance(value, str)}
            yield {str(key): value for key, value in row.items()}, {**known, **lists}


def _exponent_data(rows: Rows) -> pandas.DataFrame:
    lines: list[dict[str, Any]] = []
    for row, fields in distributed(rows):
        common = {"series": f"{row['model']} {row['dtype']}", "model": row["model"], "dtype": row["dtype"],
                  "cell": row["id"]}  # fmt: skip
        shift = fields["exponent.first"] - get_format(row["dtype"]).bias + _BIAS
        lines += [
            {**common, "quantity": "share", "x": place + shift, "value": count / fields["values"]}
            for place, count in enumerate(fields["exponent.counts"])
        ]
        lines.append({**common, "quantity": "distinct", "value": fields["exponent.distinct"]})
        lines.append({**common, "quantity": "12 most frequent", "value": fields["exponent.share_of_12"]})
    papers = papers_values("exponents")
    numbers = pandas.to_numeric(papers["x"], errors="coerce")
    papers = papers.assign(
        quantity=papers["x"].mask(numbers.notna(), "share"), x=numbers, model=papers["series"]
    )
    return together(pandas.DataFrame(lines), papers, _WANTED)


def _draw_exponents(data: pandas.DataFrame) -> Figure:
    ours = data[data["source"] == OURS]
    models = list(dict.fromkeys(ours["model"]))[:_PANELS]
    height = -(-(len(models) + 1) // 2)
    figure, grid = pyplot.subplots(
        height, 2, figsize=(8, 2.9 * height), sharex=True, sharey=True, squeeze=False
    )
    panels = list(grid.flat)
    formats = sorted(dict.fromkeys(ours["dtype"]), key=lambda dtype: (-get_format(dtype).bits, dtype))
    for axes, model in zip(panels, models, strict=False):
        axes.set_title(model)
        _curves(axes, ours[ours["model"] == model], formats)
    axes = panels[len(models)]
    axes.set_title("other models, read off the paper's figure")
    _peaks(axes, data[data["source"] == PAPER])
    for axes in panels[len(models) + 1 :]:
        axes.axis("off")
    seen = data[(data["quantity"] == "share") & (data["value"] > _VISIBLE) & (data["x"] > 0)]
    panels[0].set_xlim(seen["x"].min() - 1, seen["x"].max() + 3)
    panels[0].set_ylim(0, 1.65 * seen["value"].max())
    for axes in panels[: len(models) + 1]:
        axes.set_xlabel(f"exponent field e: |w| from 2^(e−{_BIAS})", fontsize=8)
        axes.set_ylabel("share of weights", fontsize=8)
        axes.tick_params(labelbottom=True)
    return figure


def _curves(axes: Axes, part: pandas.DataFrame, formats: list[str]) -> None:
    for dtype in (dtype for dtype in formats if (part["dtype"] == dtype).any()):
        drawn, lines = look(dtype, formats, systems=False), part[part["dtype"] == dtype]
        shares, told = lines[lines["quantity"] == "share"], lines.set_index("quantity")["value"]
        label = f"{dtype}: {told['distinct']:.0f} occur, 12 cover {told['12 most frequent']:.1%}"
        place = formats.index(dtype)  # equal curves show as marks within marks
        axes.plot(shares["x"], shares["value"], color=drawn.colour, marker=drawn.marker, label=label,
                  markersize=max(3, 8 - 2.5 * place), markerfacecolor="none", linewidth=1,
                  linestyle=("-", "--", "-.", ":")[place % 4])  # fmt: skip
    axes.legend(loc="upper left", fontsize=6.5)


def _peaks(axes: Axes, papers: pandas.DataFrame) -> None:
    order = list(dict.fromkeys(papers["series"]))
    for name, lines in papers.groupby("series", sort=False):
        drawn = look(str(name), order, systems=False)
        shares, told = lines[lines["quantity"] == "share"], lines[lines["quantity"] != "share"]
        words = [
            f"{value:.0f} occur" if quantity == "distinct"
            else f"{quantity.split()[0]} cover {value:.1%}"
            for quantity, value in zip(told["quantity"], told["value"], strict=True)
        ]  # fmt: skip
        axes.plot(shares["x"], shares["value"], color=drawn.colour, marker=drawn.marker, markersize=5,
                  linestyle=":", linewidth=0.8, markerfacecolor="none",
                  label=f"{name}: about {', '.join(words)}")  # fmt: skip
    axes.legend(loc="upper left", fontsize=6.5)


def _group_data(rows: Rows) -> pandas.DataFrame:
    lines = []
    for row, fields in distributed(rows):
        for series, streams in (
            (_EXTRACTED, _extracted(row["dtype"], fields)),
            (_GROUPED, fields.get("planes", [])),
        ):
            shares = {str(place): 100 * s["huffman"] / s["bits"] for place, s in enumerate(streams, 1)}
            shares["all"] = 100 * sum(s["huffman"] for s in streams) / sum(s["bits"] for s in streams)
            lines += [
                {"series": series, "x": f"{row['model']} {row['dtype']}", "group": group, "value": value,
                 "unit": "% of its bytes, Huffman code of the counts", "cell": row["id"]}
                for group, value in shares.items()
            ]  # fmt: skip
    return together(pandas.DataFrame(lines), split_x(papers_values("byte_groups"), "group"), _WANTED)


def _extracted(dtype: str, fields: Fields) -> list[dict[str, float]]:
    """Return the streams of ZipNN; a format whose exponent does not fill a byte keeps its bytes."""
    if get_format(dtype).exponent_bits != 8:
        return list(fields["planes"])
    parts = [
        {name: fields[f"{field}.{name}"] for name in ("bits", "huffman")}
        for field in ("exponent", "sign_mantissa")
    ]
    return [*parts, *fields["mantissa"][1:]]


def _draw_groups(data: pandas.DataFrame) -> Figure:
    longest = max(part["x"].nunique() for _, part in data.groupby("series"))
    figure, grid = pyplot.subplots(1, 2, figsize=(9.5, 1.3 + 0.24 * longest))
    for axes, name, paper in zip(grid, (_EXTRACTED, _GROUPED), ("2411.05239", "2404.15198"), strict=True):
        axes.set_title(f"{name.capitalize()}\nours: Huffman; paper {paper}", fontsize=9)
        _fields_table(axes, data[data["series"] == name])
    return figure


def _fields_table(axes: Axes, part: pandas.DataFrame) -> None:
    found = {(row["x"], row["source"], row["group"]): row["value"] for row in part.to_dict("records")}
    every = dict.fromkeys((x, source) for x, source, _ in found)
    names = [name for kind in (OURS, PAPER) for name in every if name[1] == kind]
    shown = np.array([[found.get((*name, group), np.nan) for group in _GROUPS] for name in names])
    axes.imshow(np.ma.masked_invalid(shown), cmap="Blues_r", vmin=-20, vmax=105, aspect="auto")
    for (y, x), value in np.ndenumerate(shown):
        if np.isfinite(value):
            axes.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=7,
                      color="white" if value < _DARK else "black")  # fmt: skip
    ours = sum(source == OURS for _, source in names)
    axes.axhline(ours - 0.5, color=style.BLACK, linewidth=1)
    axes.axvline(len(_GROUPS) - 1.5, color=style.BLACK, linewidth=1)
    labels = [x + PAPER_MARK * (source == PAPER) for x, source in names]
    axes.set_yticks(range(len(names)), labels, fontsize=7)
    axes.set_xticks(range(len(_GROUPS)), ["highest", "2nd", "3rd", "4th", "all"], fontsize=7)
    axes.set_xlabel("% that is left of the bytes at a place, highest first", fontsize=8)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.tick_params(length=0)


SHEETS = (
    Sheet(
        name="exponents",
        title="Which exponents occur",
        after="ZipNN (arXiv 2411.05239), figure 2",
        note="All weights of each model, counted; the paper looked at 1 GB of each of its models, which "
        "are not ours. Its curves are known at their peaks alone. Exponent fields of float16 are "
        "moved by 112 to the scale of the others; its lowest one holds the subnormals; zeros (field "
        "0) lie outside the axis.",
        experiments=_EXPERIMENTS,
        data=_exponent_data,
        draw=_draw_exponents,
    ),
    Sheet(
        name="byte_groups",
        title="What is left of each byte of a weight",
        after="ZipNN (arXiv 2411.05239), table II, and its predecessor (arXiv 2404.15198), table II",
        note="Ours are estimates from counts: optimal Huffman codes of the bytes at a place over the whole"
        " model, without tables or chunks. Left, sign moved below the exponent, which then fills the "
        "highest byte (float32 and bfloat16; others as they are); right, bytes as they are. The "
        "predecessor coded them with zstd-3. Other models than ours; smollm2, if shown, was "
        "dequantised from 4 bits and is 'clean' by that.",
        experiments=_EXPERIMENTS,
        data=_group_data,
        draw=_draw_groups,
    ),
)
