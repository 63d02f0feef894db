"""Families: what all fine-tunes come to, in which float format, and layer by layer."""

from __future__ import annotations

import re

import pandas

from weightbench.figures.charts import OURS, PAPER, bars, hollow_bars, legend_outside, look, reference_line
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, numbers
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_LAYER = re.compile(r"\.layers?\.(\d+)\.|\.h\.(\d+)\.|encoder\.layer\.(\d+)\.")
_FEWEST = 3  # models of a set that is a family
_LAYERED = "fm_delta"
_DELTA_SYSTEMS = ("fm_delta", "bitx", "zipnn_delta", "zipnn")


def _families(rows: Rows) -> pandas.DataFrame:
    sets = rows.where(workload="family").having("result.workload.ratio_base_not_counted")
    if sets.cells.empty:
        raise NoRowsError("no family (workload=family)")
    cells = sets.one_each()
    cells = cells[(numbers(cells, "result.model.models") >= _FEWEST) & ~cells["model"].str.contains("step_")]
    if cells.empty:
        raise NoRowsError(f"no family of {_FEWEST} models and more")
    return cells


def _table_data(rows: Rows) -> pandas.DataFrame:
    cells = _families(rows)
    cells = cells[cells["system"] != "identity"]
    where = cells["model"] + ", " + cells["dtype"]
    common = {"series": cells["label"], "x": where, "source": OURS, "cell": cells["id"]}
    made = [
        pandas.DataFrame(
            common | {"base": base, "value": 100 / numbers(cells, f"result.workload.ratio_base_{base}")}
        )
        for base in ("counted", "not_counted")
    ]
    paper = published("fm_delta", "families").assign(source=PAPER, base="not_counted")
    return pandas.concat([*made, paper], ignore_index=True)


def _draw_table(data: pandas.DataFrame) -> Figure:
    order = list(dict.fromkeys(data.loc[data["source"] == OURS, "series"]))
    order += [series for series in dict.fromkeys(data["series"]) if series not in order]
    ours = list(dict.fromkeys(data.loc[data["source"] == OURS, "x"]))
    papers = list(dict.fromkeys(data.loc[data["source"] == PAPER, "x"]))
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 1.5 + 0.16 * len(order) * len(ours) + 0.3 * len(papers)), sharex=True,
        gridspec_kw={"width_ratios": [1, 1]},
    )  # fmt: skip
    left.set_title("base counted")
    bars(left, data[(data["base"] == "counted")], order=order, groups=ours, text="{:.0f}")
    left.get_legend().remove()
    right.set_title("fine-tunes alone")
    part = data[data["base"] == "not_counted"]
    bars(right, part[part["source"] == OURS], order=order, groups=[*ours, *papers], text="{:.0f}")
    hollow_bars(right, part, order=order, groups=[*ours, *papers], text="{:.0f}")
    for axes in (left, right):
        reference_line(axes, 100, "raw", vertical=True)
        axes.set_xlabel("% of the raw bytes that is left")
    return figure


def _dtype_data(rows: Rows) -> pandas.DataFrame:
    cells = _families(rows)
    cells = cells[cells["system"].isin(_DELTA_SYSTEMS)]
    if cells.empty:
        raise NoRowsError(f"no family coded by {', '.join(_DELTA_SYSTEMS)}")
    columns = {"series": cells["label"], "x": cells["dtype"], "source": OURS, "family": cells["model"]}
    ratio = numbers(cells, "result.workload.ratio_base_not_counted")
    return pandas.DataFrame(columns | {"value": 100 / ratio, "cell": cells["id"]})


def _draw_dtype(data: pandas.DataFrame) -> Figure:
    families = list(data.groupby("family", sort=False))
    figure, grid = pyplot.subplots(len(families), 1, figsize=(8, 0.5 + 2.8 * len(families)), squeeze=False)
    for axes, (name, part) in zip(grid[:, 0], families, strict=True):
        axes.set_title(f"family of {name}")
        bars(axes, part, text="{:.1f}")
        reference_line(axes, 100, "raw", vertical=True)
        axes.set_xlabel("% of the fine-tunes' raw bytes that is left")
    return figure


def _layer_data(rows: Rows) -> pandas.DataFrame:
    cells = _families(rows)
    cells = cells[(cells["system"] == _LAYERED) & (cells["granularity"] == "tensor")]
    if cells.empty:
        raise NoRowsError(f"no family coded by {_LAYERED} tensor by tensor")
    tensors = rows.tensors()
    joined = tensors.merge(cells[["id", "model", "dtype", "label"]], on="id")
    joined = joined[joined["codec"] == _LAYERED]
    name, _, tensor = zip(*(key.partition(":") for key in joined["key"]), strict=True)
    joined = joined.assign(x=[_part(key) for key in tensor], member=name)
    keys = ["model", "dtype", "label", "member", "x", "id"]
    total = joined.groupby(keys, sort=False)[["raw_bytes", "stored_bytes"]].sum().reset_index()
    total["value"] = 100 * total["stored_bytes"] / total["raw_bytes"]
    return total.rename(columns={"member": "series", "id": "cell"}).assign(source=OURS)


def _part(tensor: str) -> str:
    """Return a tensor's layer and kind in it, or its name where it is in no layer."""
    if found := _LAYER.search(tensor):
        return f"layer {int(next(filter(None, found.groups()))):2d}"
    return tensor.removesuffix(".weight").rpartition(".")[2]


def _draw_layers(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby(["model", "dtype"], sort=False))
    order = list(dict.fromkeys(data["series"]))
    figure, grid = pyplot.subplots(len(cases), 1, figsize=(9, 3.0 * len(cases)), squeeze=False)
    for axes, ((model, dtype), part) in zip(grid[:, 0], cases, strict=True):
        axes.set_title(f"family of {model}, {dtype}")
        places = sorted(part["x"].unique(), key=lambda place: (not place.startswith("embed"), place))
        for name, line in part.groupby("series", sort=False):
            drawn = look(str(name), order, systems=False)
            line = line.set_index("x").reindex(places)
            axes.plot(
                places, line["value"], color=drawn.colour, marker=drawn.marker, markersize=4, label=name
            )
        axes.set_ylabel("% of raw bytes left")
        axes.set_ylim(0, 105)
        axes.tick_params(axis="x", rotation=35)
        reference_line(axes, 100, "raw")
        legend_outside(axes)
    return figure


SHEETS = (
    Sheet(
        name="families",
        title="A base and its fine-tunes: what is left of them",
        after="FM-Delta's table 4 and its appendix",
        note="Ours: five full fine-tunes of a small Llama, RMS change 0.12 % to 5.9 %, and what else was "
        "stored as a family; hollow: the paper's families of 10 to 100 models, whole family, from a "
        "third party's digest; it is not known whether they count a base.",
        experiments=("fm_delta_families",),
        data=_table_data,
        draw=_draw_table,
    ),
    Sheet(
        name="dtypes",
        title="Fine-tunes in float32, float16 and bfloat16",
        after="FM-Delta's table 6",
        note="Casting rounds small changes away, so narrow formats leave less. The paper's values are not "
        "at hand; its order is bfloat16 < float16 < float32.",
        experiments=("fm_delta_families",),
        data=_dtype_data,
        draw=_draw_dtype,
    ),
    Sheet(
        name="layers",
        title="Rate of each layer, fine-tune by fine-tune",
        after="FM-Delta's figure 11",
        note="Payload and description of a layer's tensors over their raw bytes; norms are a few hundred "
        "values each. The paper's values are not at hand.",
        experiments=("fm_delta_families",),
        data=_layer_data,
        draw=_draw_layers,
    ),
)
