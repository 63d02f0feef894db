"""Figures after QStore (PVLDB 19(3), 2026): a checkpoint and its quantised version, together or apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas

from weightbench.figures.charts import OURS, PAPER, bars, lines, reference_line
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, numbers, parsed, records
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

__all__ = ["SHEETS"]

_LOADS = "result.save_load.loading.loads"
_MB = 1e6
_CHAIN = "qstore_chain"


def _case(row: Mapping[str, Any]) -> str:
    return f"{row['model']}, {row['dtype']} + {row['cell.workload.low']}"


def _pairs(rows: Rows, *columns: str) -> pandas.DataFrame:
    cells = rows.where(workload="pair").having("cell.workload.low", *columns).one_each()
    return cells.assign(case=[_case(row) for row in records(cells)])


# Storage ------------------------------------------------------------------------------------------------


def _storage_data(rows: Rows) -> pandas.DataFrame:
    cells = _pairs(rows.where(cell__granularity__kind="tensor"))
    cells = cells[cells["system"] != _CHAIN]
    stored, raw = numbers(cells, "result.sizes.stored_bytes"), numbers(cells, "result.sizes.raw_bytes")
    columns = {"series": cells["label"], "x": cells["case"], "source": OURS, "value": 100 * stored / raw}
    data = pandas.DataFrame(columns | {"cell": cells["id"]})
    paper = published("qstore", "storage").assign(source=PAPER)
    like = [paper.assign(x=case) for case in data["x"].unique() if case.endswith(paper["x"][0])]
    return pandas.concat([data, *like], ignore_index=True)


def _draw_storage(data: pandas.DataFrame) -> Figure:
    figure, axes = pyplot.subplots(figsize=(8, 1.5 + 1.1 * data["x"].nunique()))
    bars(axes, data, text="{:.1f}")
    reference_line(axes, 100, "raw pair", vertical=True)
    axes.set_xlabel("stored size, % of both checkpoints raw")
    return figure


# Loading ------------------------------------------------------------------------------------------------


def _loads(cells: pandas.DataFrame) -> Iterator[dict[str, Any]]:
    for row, loads in zip(records(cells), parsed(cells, _LOADS), strict=True):
        for load in loads:
            yield {**load, "label": row["label"], "case": row["case"], "id": row["id"]}


_WHOLE = {
    "save both": "result.save_load.save_seconds",
    "load both, cold": "result.save_load.load_cold_seconds",
    "load both, warm": "result.save_load.load_warm_seconds",
}
_ENDS = ("median", "ci_low", "ci_high")


def _times_data(rows: Rows) -> pandas.DataFrame:
    cells = _pairs(rows, _LOADS)
    made = []
    for row in records(cells):
        for what, column in _WHOLE.items():
            made.append(_time(row, what, {end: row.get(f"{column}.{end}") for end in _ENDS}))
    by_id = {row["id"]: row for row in records(cells)}
    names = {"high": "load high", "low": "load low alone"}
    for load in _loads(cells):
        if load["load"] in names and load["bandwidth_mb_per_s"] is None:
            cold = "cold" if load["cold"] else "warm"
            made.append(_time(by_id[load["id"]], f"{names[load['load']]}, {cold}", load["seconds"]))
    data = pandas.DataFrame(made).dropna(subset=["value"])
    if data.empty:
        raise NoRowsError("no pair was saved and loaded")
    return data


def _time(row: Mapping[str, Any], what: str, seconds: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "case": row["case"], "series": row["label"], "x": what, "source": OURS,
        "value": seconds["median"], "low": seconds["ci_low"], "high": seconds["ci_high"], "cell": row["id"],
    }  # fmt: skip


def _draw_times(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby("case", sort=False))
    height = 0.6 + 0.55 * data["x"].nunique()
    figure, grid = pyplot.subplots(len(cases), 1, figsize=(8, 1 + height * len(cases)), squeeze=False)
    for axes, (case, part) in zip(grid[:, 0], cases, strict=True):
        axes.set_title(case)
        bars(
            axes,
            part,
            order=sorted(data["series"].unique()),
            groups=sorted(part["x"].unique()),
            text="{:.3g}",
        )
        axes.set_xlabel("seconds (median, 95 % interval)")
    return figure


def _bandwidth_data(rows: Rows) -> pandas.DataFrame:
    cells = _pairs(rows, _LOADS)
    made = [
        {
            "case": load["case"], "load": load["load"].removeprefix("plain "),
            "series": "identity (plain files)" if load["load"].startswith("plain ") else load["label"],
            "x": load["bandwidth_mb_per_s"], "source": OURS, "value": load["seconds"]["median"],
            "low": load["seconds"]["ci_low"], "high": load["seconds"]["ci_high"], "cell": load["id"],
        }
        for load in _loads(cells)
        if load["bandwidth_mb_per_s"] is not None
    ]  # fmt: skip
    if not made:
        raise NoRowsError("no pair was loaded at a limited bandwidth")
    # Every codec's row has the plain files beside its own loads: one line of them is enough.
    return pandas.DataFrame(made).drop_duplicates(["case", "load", "series", "x"])


def _draw_bandwidth(data: pandas.DataFrame) -> Figure:
    cases = list(data.groupby(["case", "load"], sort=False))
    figure, grid = pyplot.subplots(len(cases), 1, figsize=(8, 3.2 * len(cases)), squeeze=False)
    what = {"high": "the high-precision checkpoint", "low": "the low-precision one alone"}
    for axes, ((case, load), part) in zip(grid[:, 0], cases, strict=True):
        axes.set_title(f"{case}: loading {what.get(str(load), load)}")
        lines(axes, part, order=list(dict.fromkeys(data["series"])))
        _logarithmic(axes, sorted(part["x"].unique()))
        axes.set_xlabel("bandwidth of the link, MB/s (simulated)")
        axes.set_ylabel("seconds to load")
    return figure


def _logarithmic(axes: Axes, places: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xticks(places)


# Entropies ----------------------------------------------------------------------------------------------

_GIVEN = {
    "given nothing": ("high_entropy",),
    "given the tensor": ("high_entropy_in_tensor",),
    "given code and scale, bytes apart": (
        "high_byte_given_low.miller_madow",
        "low_byte_given_low.miller_madow",
    ),
    "given code and scale": ("high_given_low.miller_madow",),
    "bins alone (log2 of codes in one)": ("log2_codes_in_bin",),
}


def _entropy_data(rows: Rows) -> pandas.DataFrame:
    cells = _pairs(rows.where(cell__distributions=True, system="identity"))
    made = []
    for row in records(cells):
        high, low = row["dtype"], row["cell.workload.low"]
        for name, fields in _GIVEN.items():
            parts = [row.get(f"result.distributions.pair.{high}_{low}.{field}", np.nan) for field in fields]
            line = {"series": f"{high} given {low}, {row['model']}", "x": name, "source": OURS}
            made.append(line | {"value": sum(parts), "cell": row["id"]})
    data = pandas.DataFrame(made, columns=["series", "x", "source", "value", "cell"]).dropna()
    if data.empty:
        raise NoRowsError("no pair of a 16-bit checkpoint has distributions")
    return data


def _draw_entropies(data: pandas.DataFrame) -> Figure:
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.9 * data["x"].nunique()))
    bars(axes, data, systems=False)
    reference_line(axes, 16, "raw", vertical=True)
    axes.set_xlabel("bits a weight that the 16-bit value still costs")
    return figure


# The chain 16 → 8 → 4 -----------------------------------------------------------------------------------


def _chain_data(rows: Rows) -> pandas.DataFrame:
    cells = _pairs(rows.where(cell__granularity__kind="tensor"), "result.workload.low_alone.blob_bytes")
    made = []
    for (model, dtype), part in cells.groupby(["model", "dtype"]):
        alone = part[part["cell.workload.low"] == "nf4"].set_index("label")[
            "result.workload.low_alone.blob_bytes"
        ]
        for row in records(part[part["cell.workload.low"] == "int8"]):
            # QStore's pairs share a blob, so its NF4 version has no size of its own: ZipNN's stands in.
            third = "zipnn" if row["system"] == "qstore" else row["label"]
            if row["system"] != _CHAIN and third not in alone:
                continue
            more = 0.0 if row["system"] == _CHAIN else float(alone[third])
            made.append({
                "series": row["label"], "x": f"{model}, {dtype} + int8 + nf4", "source": OURS,
                "value": (row["result.sizes.stored_bytes"] + more) / _MB, "cell": row["id"],
            })  # fmt: skip
    data = pandas.DataFrame(made)
    if data.empty or not (data["series"].str.startswith(_CHAIN)).any():
        raise NoRowsError(f"no row of {_CHAIN} beside pairs with INT8 and NF4")
    return data


def _draw_chain(data: pandas.DataFrame) -> Figure:
    figure, axes = pyplot.subplots(figsize=(8, 1.4 + 1.3 * data["x"].nunique()))
    bars(axes, data)
    axes.set_xlabel("MB (10⁶ bytes) for the checkpoint, its INT8 and its NF4 version")
    return figure


SHEETS = (
    Sheet(
        name="storage",
        title="A checkpoint and its quantised version: stored size",
        after="QStore's storage comparison (PVLDB 19(3), 2026)",
        note="Everything counted: scales, headers, tensors without a partner; the paper leaves these "
        "out. Its 45 % is its best of seven models of 7B to 33B. Ours are small; our quantisers "
        "made INT8 and NF4.",
        experiments=("qstore_pairs",),
        data=_storage_data,
        draw=_draw_storage,
    ),
    Sheet(
        name="times",
        title="Saving a pair, and loading from it",
        after="QStore's save and load times",
        note="One thread, whole way through files, flushed to the disk when saving; cold: dropped from "
        "the page cache. The paper reports up to 1.7x faster saving and 1.8x faster loading than "
        "other codecs with 48 threads; its times are not at hand, so none are drawn.",
        experiments=("qstore_loading",),
        data=_times_data,
        draw=_draw_times,
    ),
    Sheet(
        name="bandwidth",
        title="Loading from a pair over a limited link",
        after="QStore's load time against read bandwidth",
        note="Measured through a throttled reader, files in the page cache; the paper limits a real "
        "disk. Loading the high checkpoint brings the low one with it in QStore.",
        experiments=("qstore_loading",),
        data=_bandwidth_data,
        draw=_draw_bandwidth,
    ),
    Sheet(
        name="entropies",
        title="What a 16-bit weight still costs once its code is known",
        after="QStore's grouping and its motivation",
        note="Order-0 entropies; given code and scale with Miller and Madow's correction, without which "
        "small cells look too cheap. Bins alone: coding the place in the quantisation bin, every "
        "code alike, as variant=fast does. The paper's own numbers are not at hand.",
        experiments=("distributions_pair",),
        data=_entropy_data,
        draw=_draw_entropies,
    ),
    Sheet(
        name="chain",
        title="Three versions of a model: 16, 8 and 4 bits",
        after="QStore's model chain",
        note="The chain stores all three in one; the others are the INT8 pair, and the NF4 version by "
        "the same codec (beside qstore: by zipnn). The paper estimates chains of GPTQ models "
        "without code tables; here they are INT8 and NF4, stored and counted.",
        experiments=("qstore_pairs", "qstore_chain"),
        data=_chain_data,
        draw=_draw_chain,
    ),
)
