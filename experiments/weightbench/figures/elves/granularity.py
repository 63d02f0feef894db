"""What is compared and coded at once: levels of granularity, and the size of chunks."""

from __future__ import annotations

import numpy as np
import pandas

from weightbench.figures.charts import OURS, bars, legend_outside, lines, reference_line
from weightbench.figures.rows import NoRowsError, Rows, numbers
from weightbench.figures.sheet import Sheet

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_LEVELS = ("model", "layer", "tensor", "chunk", "parameter")
_CODECS = ("zstd", "zipnn", "elf")
_HUBS = 3  # sets of models that are drawn; the CSV has all
_INDEX, _NO_INDEX = "dedup", "dedup (without its index)"
_EQUAL, _CODED = "equal pieces kept once", "pieces coded, each by itself"
_MEBI = 1 << 20


def _pieces(rows: Rows) -> pandas.DataFrame:
    """Return what dedup saves of each hub at each granularity, with and without its index, and codecs."""
    hubs = rows.where(workload="hub", label=["dedup", *_CODECS])
    cells = hubs.one_each() if not hubs.cells.empty else hubs.cells
    cells = cells[(cells["system"] == "dedup") | ~cells["cell.dedup"].astype(bool)].copy()
    if cells.empty:
        raise NoRowsError(f"no hub (workload=hub) coded by {', '.join(('dedup', *_CODECS))}")
    cells = cells.assign(hub=cells["model"] + " and relatives, " + cells["dtype"])
    equal = cells[cells["system"] == "dedup"]
    parts = [
        _lines(equal, _EQUAL, _INDEX, equal["ratio"]),
        _lines(equal, _EQUAL, _NO_INDEX, _without_index(equal)),
        *(
            _lines(cells[cells["system"] == codec], _CODED, codec, cells["ratio"])
            for codec in _CODECS
            if (cells["system"] == codec).any()
        ),
    ]
    return pandas.concat(parts, ignore_index=True)


def _without_index(cells: pandas.DataFrame) -> pandas.Series[float]:
    """Return raw over what is left without index and references: unique values and literals."""
    raw, payload, literals = (
        numbers(cells, f"result.sizes.{part}_bytes") for part in ("raw", "payload", "literals")
    )
    return raw / (payload + literals)


def _lines(cells: pandas.DataFrame, panel: str, series: str, value: pandas.Series[float]) -> pandas.DataFrame:
    columns = {
        "hub": cells["hub"],
        "panel": panel,
        "series": series,
        "level": cells["cell.granularity.kind"],
        "chunking": cells["cell.granularity.chunking"],
        "chunk_bytes": cells["cell.granularity.chunk_bytes"],
        "value": value.loc[cells.index],
        "units": numbers(cells, "result.workload.dedup.units"),
        "metadata_bytes": numbers(cells, "result.workload.dedup.metadata_bytes"),
        "source": OURS,
        "cell": cells["id"],
    }
    return pandas.DataFrame(columns)


def _levels_data(rows: Rows) -> pandas.DataFrame:
    data = _pieces(rows)
    fixed = (data["level"] != "chunk") | ((data["chunking"] == "fixed") & (data["chunk_bytes"] == _MEBI))
    data = data[fixed]
    data = data.assign(x=data["level"].replace("chunk", "chunk, 1 MiB"))
    place = {level: number for number, level in enumerate(_LEVELS)}
    order = data["level"].map(place)
    if data.empty:
        raise NoRowsError("no hub at the level of models, layers, tensors, chunks of 1 MiB or parameters")
    return data.assign(_place=order).sort_values(["hub", "_place"], kind="stable").drop(columns="_place")


def _draw_levels(data: pandas.DataFrame) -> Figure:
    panels = _panels(data)
    figure, grid = pyplot.subplots(len(panels), 1, figsize=(8, 2.8 * len(panels)), squeeze=False)
    for axes, (title, here) in zip(grid[:, 0], panels, strict=True):
        bars(axes, here, text="{:.4f}")
        axes.set_title(title)
        axes.set_xlabel("ratio (raw / stored)")
        reference_line(axes, 1.0, "raw", vertical=True)
        axes.set_ylim(top=-1.3)
    return figure


def _panels(data: pandas.DataFrame) -> list[tuple[str, pandas.DataFrame]]:
    """Return the titles and lines of what there is: hub by hub, equal pieces before coded ones."""
    hubs = list(dict.fromkeys(data["hub"]))[:_HUBS]
    found = [
        (f"{hub}: {panel}", data[(data["hub"] == hub) & (data["panel"] == panel)])
        for hub in hubs
        for panel in (_EQUAL, _CODED)
    ]
    return [(title, part) for title, part in found if not part.empty]


def _chunks_data(rows: Rows) -> pandas.DataFrame:
    data = _pieces(rows)
    data = data[data["level"] == "chunk"]
    if data["chunk_bytes"].nunique() < 2:
        raise NoRowsError("no hub with chunks of more than one size")
    kind = data["chunking"].replace("content", "content-defined")
    bare = data["series"].str.removesuffix(" (without its index)")
    without = data["series"].ne(bare).map({True: ", no index", False: ""})
    data = data.assign(series=bare + " (" + kind + without + ")", x=data["chunk_bytes"])
    return data.sort_values(
        ["hub", "panel", "chunking", "x"], ascending=[True, True, False, True], kind="stable"
    ).reset_index(drop=True)


def _draw_chunks(data: pandas.DataFrame) -> Figure:
    panels = _panels(data)
    figure, grid = pyplot.subplots(
        len(panels), 1, figsize=(8, 0.6 + 2.8 * len(panels)), squeeze=False, sharex=True
    )
    sizes = np.unique(data["x"].astype(int))
    for axes, (title, here) in zip(grid[:, 0], panels, strict=True):
        lines(axes, here, legend=False)
        axes.set_title(title)
        axes.set_ylabel("ratio (raw / stored)")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [_size(int(size)) for size in sizes])
        axes.set_xticks([], minor=True)
        axes.margins(y=0.2)
        reference_line(axes, 1.0, "raw")
        legend_outside(axes)
    grid[-1, 0].set_xlabel("size of a chunk (content-defined: on the average)")
    return figure


def _size(nbytes: int) -> str:
    return f"{nbytes / _MEBI:g} MiB" if nbytes >= _MEBI else f"{nbytes / 1024:g} KiB"


_HUB_NOTE = (
    "Ours is a bundled base with its full fine-tunes, which share no piece larger than a value; the "
    "paper's is a hub with copies. Its values are not known. Just above 1: equal headers of files are "
    "kept once."
)
SHEETS = (
    Sheet(
        name="granularity",
        title="What is compared and coded at once: models, layers, tensors, chunks, parameters",
        after="the granularity study of Elves (PVLDB 17(8), 2024)",
        note=f"{_HUB_NOTE} The index of dedup is measured, not estimated. A parameter is a distinct "
        "value kept once with packed references to it, which the codec does not see.",
        experiments=("granularities",),
        data=_levels_data,
        draw=_draw_levels,
    ),
    Sheet(
        name="chunks",
        title="Chunks of fixed size and content-defined ones: what is equal, and what small pieces cost",
        after="the granularity study of Elves (PVLDB 17(8), 2024)",
        note=f"{_HUB_NOTE} Which chunking the paper used is not known; ours cuts by a Gear hash, a "
        "quarter to four times the average size.",
        experiments=("elves_chunks",),
        data=_chunks_data,
        draw=_draw_chunks,
    ),
)
