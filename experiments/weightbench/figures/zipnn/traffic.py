"""The claim of an exabyte: a hub's traffic, what of it was counted, and what of it could be saved."""

from __future__ import annotations

from typing import Any

import pandas

from weightbench.figures import style
from weightbench.figures.charts import OURS, PAPER, bars, hollow_bars
from weightbench.figures.rows import Rows
from weightbench.figures.sheet import Sheet
from weightbench.figures.zipnn.beside import papers_values, together

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_PRINTED, _AGAIN, _AT_OURS = "as printed", "computed again", "at our ratio for the format"
_MONTHS, _DAYS = 12, 365
_DEQUANTISED = "dequantised"  # in the note of a model that is not like ordinary checkpoints
_BFLOAT16 = "bfloat16"


def _traffic_data(rows: Rows) -> pandas.DataFrame:
    coded = rows.where(workload="single", granularity="tensor", label="zipnn", cell__dedup=False)
    cells = coded.cells if coded.cells.empty else coded.one_each()
    if not cells.empty and "result.model.note" in cells:
        cells = cells[~cells["result.model.note"].fillna("").str.contains(_DEQUANTISED)]
    ours: list[dict[str, Any]] = [
        {"series": "zipnn", "x": f"{row['model']} {row['dtype']}", "quantity": "remaining",
         "value": 100 / row["ratio"], "unit": "% of raw", "cell": row["id"]}
        for row in cells.to_dict("records")
    ]  # fmt: skip
    papers = papers_values("hub_traffic").rename(columns={"series": "x", "x": "quantity"})
    papers["series"] = _PRINTED
    if ours:
        sizes = cells.groupby("dtype")[["result.sizes.stored_bytes", "result.sizes.raw_bytes"]].sum()
        left = {
            str(dtype): 100 * stored / raw
            for dtype, (stored, raw) in zip(sizes.index, sizes.to_numpy(), strict=True)
        }
        ours += _computed(papers, left)
    return together(pandas.DataFrame(ours), papers, "a checkpoint coded by zipnn")


def _computed(papers: pandas.DataFrame, left: dict[str, float]) -> list[dict[str, Any]]:
    """Return the arithmetic: what each model saves a month, and how that stands to the whole traffic.

    Args:
        papers: sizes (GB), downloads (millions a month) and remaining % of the paper's models; its totals.
        left: what zipnn leaves of our models, % by format.
    """
    printed = papers.pivot_table(index="x", columns="quantity", values="value", sort=False)
    models = printed.dropna(subset=["size", "downloads", "remaining"])
    moved = models["size"] * models["downloads"]  # GB times millions: PB a month
    saved = moved * (1 - models["remaining"] / 100)
    formats = models.index.str.rpartition(" ").get_level_values(2)
    known = pandas.Series([left.get(dtype, float("nan")) for dtype in formats], models.index)
    lines = [
        {"series": series, "x": str(model), "quantity": "saved", "value": value, "unit": "PB a month"}
        for series, values in ((_AGAIN, saved), (_AT_OURS, moved * (1 - known / 100)))
        for model, value in values.dropna().items()
    ]
    hub = printed.loc["hub"]
    month = hub["total"] * _DAYS / _MONTHS
    totals = {
        f"moved by these {len(models)} models": moved.sum(),
        f"saved by these {len(models)}, computed again": saved.sum(),
        f"all traffic of the hub (2411.05239v2): {hub['total']:g} PB a day": month,
        "claimed later (2411.05239v2): 1 EB a year": hub["claimed a year"] / _MONTHS,
    }
    if _BFLOAT16 in left:
        totals["saved if all of the traffic were our bfloat16"] = month * (1 - left[_BFLOAT16] / 100)
    needed = 100 * hub["claimed a year"] / _MONTHS / month
    told = [
        {"quantity": "total", "x": name, "value": value, "unit": "PB a month"}
        for name, value in totals.items()
    ]
    share = {"quantity": "needed", "x": "1 EB a year", "value": needed, "unit": "% of all traffic"}
    return [*lines, *({"series": _AGAIN, **line} for line in (*told, share))]


def _draw_traffic(data: pandas.DataFrame) -> Figure:
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 6.6), height_ratios=(2, 1.1))
    saved = data[data["quantity"] == "saved"]
    order = [name for name in (_PRINTED, _AGAIN, _AT_OURS) if (saved["series"] == name).any()]
    groups = list(dict.fromkeys(saved.loc[saved["source"] == PAPER, "x"]))
    above.set_title("Saved by the most downloaded models of 2023")
    bars(above, saved[saved["source"] == OURS], order=order, groups=groups, systems=False, text="{:.1f}")
    hollow_bars(above, saved, order=order, groups=groups, systems=False, text="{:.1f}")
    above.set_ylabel("model, format")
    above.set_xlabel("PB (10¹⁵ bytes) a month")
    _totals(below, data)
    return figure


def _totals(axes: Axes, data: pandas.DataFrame) -> None:
    total = data[(data["quantity"] == "total") & (data["source"] == OURS)]
    claim = data[data["quantity"] == "claimed a month"]
    names = [*total["x"], *("claimed first (2404.15198): over 1 EB a month" for _ in range(len(claim)))]
    values = [*total["value"], *claim["value"]]
    colours = [style.GREY] * len(total) + ["white"] * len(claim)
    axes.barh(range(len(names)), values, color=colours, edgecolor="black", linewidth=0.8)
    for place, value in enumerate(values):
        axes.annotate(f" {value:,.1f}", (value, place), va="center", fontsize=7)
    needed = data.loc[data["quantity"] == "needed", "value"]
    axes.set_title(f"All of it: 1 EB a year needs {needed.iloc[0]:.1f} % off every byte that the hub moves")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("PB a month")


SHEETS = (
    Sheet(
        name="hub_traffic",
        title="A hub's traffic: what compression could save, and what was claimed",
        after="ZipNN's predecessor (arXiv 2404.15198), table I",
        note="Arithmetic: size × downloads a month × (1 − what is left), as printed and computed again. "
        "Caveat: a download is counted even if it was cached, cut short, or of one format of several:"
        " these seven alone would move more than the whole hub was later said to move. 'Over an "
        "exabyte a month' (2404.15198, 2411.05239v1) was extrapolated, exceeds all traffic of the "
        "hub, and became 'a year' in 2411.05239v2. At our ratio: one number a format, zipnn on our "
        "models, none of which is 'clean' as RoBERTa and CLIP are.",
        experiments=("zipnn_models",),
        data=_traffic_data,
        draw=_draw_traffic,
    ),
)
