"""How small: over all models, one model at a time, and as distributions over models and tensors."""

from __future__ import annotations

from itertools import product

import pandas

from weightbench.figures.charts import OURS, PAPER, cumulative, named_bars, reference_line
from weightbench.figures.elves.compared import DEQUANTISED, NAMES, compared
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, numbers
from weightbench.figures.sheet import Sheet
from weightcodecs import get_format

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_EXPERIMENTS = ("elves_codecs", "elves_sz3", "elves_ablation")
_QUANTISATION = "quantisation (kind unknown)"
_MARKS = "|v^<>1234"
_FEWEST = 3  # systems that make a panel
_PANELS = 12  # models and formats that are drawn by themselves; the CSV has all
_SMALLEST = 1 << 14  # bytes of a tensor that counts in a distribution: below, descriptions weigh
_TICKS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 16, 32)
_RAW, _STORED = "result.sizes.raw_bytes", "result.sizes.stored_bytes"


def _per_model_data(rows: Rows) -> pandas.DataFrame:
    cells = compared(rows)
    columns = {
        "series": cells["series"],
        "x": cells["model"] + ", " + cells["dtype"],
        "model": cells["model"],
        "dtype": cells["dtype"],
        "value": cells["ratio"],
        "raw_bytes": cells[_RAW],
        "stored_bytes": cells[_STORED],
        "bits": cells["bits"],
        "max_abs_error": numbers(cells, "result.error.max_abs_error"),
        "model_note": cells.get("result.model.note", pandas.Series("", cells.index)).fillna(""),
        "source": OURS,
        "cell": cells["id"],
    }
    data = pandas.DataFrame(columns)
    width = [-get_format(name).bits for name in data["dtype"]]
    return data.assign(_width=width).sort_values("_width", kind="stable").drop(columns="_width")


def _overall_data(rows: Rows) -> pandas.DataFrame:
    """Return each model's ratio and, of the systems that coded every model of a format, the overall one."""
    single = _per_model_data(rows)
    single = single[~single["model_note"].str.contains(DEQUANTISED)]
    if single.empty:
        raise NoRowsError("no checkpoint but dequantised ones")
    totals = []
    for dtype, part in single.groupby("dtype", sort=False):
        # Sums compare only if they are over the same models: those that most of the systems coded.
        systems = part.groupby("model")["series"].nunique()
        part = part[part["model"].isin(systems.index[systems >= part["series"].nunique() / 2])]
        models = part["model"].nunique()
        summed = part.groupby("series", sort=False).agg(
            raw_bytes=("raw_bytes", "sum"), stored_bytes=("stored_bytes", "sum"), models=("model", "nunique")
        )
        summed = summed[summed["models"] == models].reset_index()
        summed = summed.assign(
            x="overall", dtype=dtype, source=OURS, value=summed["raw_bytes"] / summed["stored_bytes"]
        )
        totals += [summed, part.assign(x=part["model"])]
    paper = published("elves", "overall").assign(source=PAPER, dtype="float32")
    known = {**NAMES, "quantisation": _QUANTISATION}
    paper["series"] = paper["series"].map(known)
    return pandas.concat([*totals, paper], ignore_index=True)


def _draw_overall(data: pandas.DataFrame) -> Figure:
    formats = list(dict.fromkeys(data["dtype"]))
    names = [*NAMES.values()]
    names.insert(names.index(NAMES["cast"]), _QUANTISATION)
    order = [name for name in names if (data["series"] == name).any()]
    models = list(dict.fromkeys(data.loc[data["x"] != "overall", "model"].dropna()))
    figure, grid = pyplot.subplots(1, len(formats), figsize=(8, 4.4), sharey=True, squeeze=False)
    for axes, dtype in zip(grid[0], formats, strict=True):
        here = data[data["dtype"] == dtype]
        named_bars(axes, here[here["x"] == "overall"], order=order)
        for number, model in enumerate(models):
            single = here[here["x"] == model]
            places = [order.index(name) + 0.28 for name in single["series"]]
            axes.plot(single["value"], places, _MARKS[number % len(_MARKS)], color="black", markersize=4,
                      markerfacecolor="none", label=model)  # fmt: skip
        counted = here.loc[(here["x"] == "overall") & (here["source"] == OURS), "models"].max()
        axes.set_title(f"{dtype}, {counted:.0f} models")
        axes.set_xlabel("ratio (raw / stored)")
        _mark_raw(axes)
    grid[0, 0].plot(
        [], [], "D", color="black", markerfacecolor="white", markersize=5, label="the paper, overall"
    )
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=7)
    return figure


def _draw_per_model(data: pandas.DataFrame) -> Figure:
    coded = data.groupby("x")["series"].nunique()
    cases = list(coded.index[coded >= min(_FEWEST, coded.max())])[:_PANELS]
    order = [name for name in NAMES.values() if data.loc[data["x"].isin(cases), "series"].eq(name).any()]
    rows = (len(cases) + 1) // 2
    figure, grid = pyplot.subplots(rows, 2, figsize=(8, 2.3 * rows), sharey=True, squeeze=False)
    for axes in grid.flat[len(cases) :]:
        axes.set_visible(False)
    for axes, case in zip(grid.flat, cases, strict=False):
        here = data[data["x"] == case]
        named_bars(axes, here, order=order)
        starred = "*" if here["model_note"].str.contains(DEQUANTISED).any() else ""
        axes.set_title(f"{case}{starred}")
        axes.set_xlabel("ratio (raw / stored)")
        _mark_raw(axes)
    return figure


def _mark_raw(axes: Axes) -> None:
    """Mark ratio 1, with room for its name above the bars."""
    reference_line(axes, 1.0, "raw", vertical=True)
    axes.set_ylim(top=-1.6)


def _distribution_data(rows: Rows) -> pandas.DataFrame:
    """Return the ratio of each system over each model and format, and over each tensor of them."""
    models = _per_model_data(rows).assign(panel="models")
    tensors = rows.tensors()
    tensors = tensors[tensors["id"].isin(models["cell"]) & (tensors["raw_bytes"] >= _SMALLEST)]
    # A repeated tensor costs nothing by itself and has no ratio.
    tensors = tensors[tensors["stored_bytes"] > 0].drop_duplicates(["id", "index"])
    joined = tensors.rename(columns={"id": "cell"})[
        ["cell", "key", "raw_bytes", "stored_bytes", "side_bytes"]
    ]
    joined["stored_bytes"] += joined.pop("side_bytes").fillna(0)
    joined = joined.merge(models[["cell", "series", "model", "dtype"]], on="cell")
    joined = joined.assign(
        value=joined["raw_bytes"] / joined["stored_bytes"], source=OURS, panel="tensors",
        x=joined["model"] + ", " + joined["dtype"],
    )  # fmt: skip
    columns = [
        "panel",
        "series",
        "x",
        "model",
        "dtype",
        "key",
        "value",
        "raw_bytes",
        "stored_bytes",
        "source",
        "cell",
    ]
    return pandas.concat([models, joined], ignore_index=True)[columns]


def _draw_distribution(data: pandas.DataFrame) -> Figure:
    """Draw a row a format: to the left models, to the right tensors."""
    formats, panels = (list(dict.fromkeys(data[column])) for column in ("dtype", "panel"))
    order = [name for name in NAMES.values() if data["series"].eq(name).any()]
    figure, grid = pyplot.subplots(
        len(formats),
        len(panels),
        figsize=(8, 1 + 2.8 * len(formats)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for (dtype, panel), axes in zip(product(formats, panels), grid.flat, strict=True):
        here = data[(data["dtype"] == dtype) & (data["panel"] == panel)]
        cumulative(axes, here, order=order)
        axes.get_legend().remove()
        axes.set_title(f"{here['series'].value_counts().max()} {panel}, {dtype}")
        axes.set_xscale("log")
        reference_line(axes, 1.0, "raw", vertical=True)
        axes.set_ylabel(f"share of {panel}")
        axes.set_ylim(0, 1.25)  # room for the name of the line
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    for axes in grid[-1]:
        ticks = [tick for tick in _TICKS if data["value"].min() / 1.1 <= tick <= data["value"].max() * 1.1]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("ratio (raw / stored)")
    handles = dict(
        pair for axes in grid.flat for pair in zip(*reversed(axes.get_legend_handles_labels()), strict=True)
    )
    figure.legend([handles[name] for name in order], order, loc="outside right upper")
    return figure


_MODELS = (
    "Models of ours: small language models, bundled and from the package index, where the paper has hundreds "
    "of a hub."
)
SHEETS = (
    Sheet(
        name="overall",
        title="Elves and its baselines: overall ratio, sum of sizes over sum of sizes",
        after="the overall ratios of Elves' abstract (PVLDB 17(8), 2024)",
        note=f"{_MODELS} Bars: all models of a format together; small marks: each by itself; diamonds: "
        "the paper's, of which only these are known (1.52 is printed, the others follow from it). Its "
        "quantisation is of unknown width: ours is shown as a cast and as INT8, apart. Models "
        "dequantised from a grid are left out. elf, sz3, cast and int8 are lossy, elves may be.",
        experiments=_EXPERIMENTS,
        data=_overall_data,
        draw=_draw_overall,
    ),
    Sheet(
        name="per_model",
        title="Elves and its baselines: ratio of each model",
        after="the per-model ratios of Elves (PVLDB 17(8), 2024)",
        note="Per-model values of the paper are not known. *: dequantised from a 4-bit grid, so that "
        "values repeat. Each tensor by itself; elves keeps equal ones once. No SZ3 for float16. elf, "
        "sz3, cast and int8 are lossy, elves may be.",
        experiments=_EXPERIMENTS,
        data=_per_model_data,
        draw=_draw_per_model,
    ),
    Sheet(
        name="distribution",
        title="Elves and its baselines: share of models, and of tensors, up to a ratio",
        after="the distribution over models of Elves (PVLDB 17(8), 2024)",
        note=f"{_MODELS} So few models make coarse steps; their tensors of 16 KiB and more stand beside "
        "them, those dequantised from a grid too. The paper's curves are not known.",
        experiments=_EXPERIMENTS,
        data=_distribution_data,
        draw=_draw_distribution,
    ),
)
