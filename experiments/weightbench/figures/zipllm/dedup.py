"""What finding equal content saves, level by level, and what an index of it takes."""

from __future__ import annotations

import re

import pandas

from weightbench.figures.charts import OURS, PAPER
from weightbench.figures.published import published
from weightbench.figures.rows import NoRowsError, Rows, numbers, records
from weightbench.figures.sheet import Sheet
from weightbench.figures.tables import draw_table
from weightbench.figures.zipllm.hubs import hub_cells, reduction

from matplotlib import pyplot  # isort: skip - after weightbench, whose style chooses the backend
from matplotlib.figure import Figure

__all__ = ["SHEETS"]

_DEDUP = "result.workload.dedup"
_LEVELS = ("file", "layer", "tensor", "chunk", "parameter")
_LEVEL = {"model": "file", "layer": "layer", "tensor": "tensor", "parameter": "parameter"}
_COLUMNS = {
    "hashes": "unique\nhashes",
    "average_bytes": "average\nsize",
    "reduction": "found equal,\n% of raw",
    "reduction_counted": "saved, index\ncounted, %",
    "metadata_bytes": "index, as\nmeasured",
    "projected_bytes": "index at\n17 PB",
}


def _data(rows: Rows) -> pandas.DataFrame:
    cells = hub_cells(rows.where(system="dedup"), f"{_DEDUP}.unique_bytes")
    entries, unique = numbers(cells, f"{_DEDUP}.entries"), numbers(cells, f"{_DEDUP}.unique_bytes")
    values = cells["granularity"] == "parameter"  # kept apart in each model: what the index has are models
    payload, projected = (
        numbers(cells, f"result.{name}")
        for name in ("sizes.payload_bytes", "workload.dedup.projected_metadata_bytes")
    )
    width = numbers(cells, "result.model.parameters")
    width = numbers(cells, f"{_DEDUP}.bytes") / width
    hashes = entries.where(~values, payload / width)
    quantities = {
        "hashes": hashes,
        "average_bytes": (unique / entries).where(~values, width),
        "reduction": 100 * (1 - unique.where(~values, payload) / numbers(cells, f"{_DEDUP}.bytes")),
        "reduction_counted": reduction(cells),
        "metadata_bytes": numbers(cells, f"{_DEDUP}.metadata_bytes"),
        # A line of the index for every entry; where values are entries, ours counts models, by their share.
        "projected_bytes": projected * hashes / entries,
    }
    common = {
        "series": [_level(row["granularity"]) for row in records(cells)],
        "granularity": cells["granularity"],
        "case": cells["case"],
        "source": OURS,
        "cell": cells["id"],
    }
    made = [pandas.DataFrame(common | {"x": name, "value": value}) for name, value in quantities.items()]
    paper = published("zipllm", "dedup_levels").assign(source=PAPER)
    parts = paper["x"].str.partition("|")
    paper = paper.assign(x=parts[0], case=parts[2], granularity="")
    return pandas.concat([*made, paper], ignore_index=True)


def _level(granularity: str) -> str:
    return _LEVEL.get(granularity, "chunk")


def _draw(data: pandas.DataFrame) -> Figure:
    if data.empty:
        raise NoRowsError("no level")
    table: list[list[str]] = []
    keys = ["case", "granularity", "source"]
    for level in _LEVELS:
        part = data[data["series"] == level]
        for number, ((case, granularity, source), line) in enumerate(part.groupby(keys, sort=False)):
            known = dict(zip(line["x"], line["value"], strict=True))
            said = f"paper: {case}" if source == PAPER else _said(str(case), str(granularity), level)
            cells = [_written(name, known.get(name)) for name in _COLUMNS]
            table.append([level if number == 0 else "", said, *cells])
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.27 * len(table)))
    header = ["level", "of what", *_COLUMNS.values()]
    draw_table(axes, header, table, widths=[1.1, 4.6, *[1.4] * len(_COLUMNS)], left=2)
    return figure


def _said(case: str, granularity: str, level: str) -> str:
    found = re.fullmatch(r"(\w+) (\d+)", granularity)
    if level != "chunk" or found is None:
        return case
    return f"{case}; {found[1]} {_bytes(float(found[2]), 1024)}"


def _written(name: str, value: float | None) -> str:
    if value is None or value != value:
        return "–"
    if name == "hashes":
        return f"{value:,.0f}"
    if name.startswith("reduction"):
        return f"{0.0 if abs(value) < 5e-3 else value:.2f}".replace("-", "−")  # no minus before a zero
    return _bytes(value, 1000)


def _bytes(value: float, step: int) -> str:
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB") if step == 1000 else ("B", "KiB", "MiB", "GiB", "TiB")
    place = 0
    while value >= step and place + 1 < len(units):
        value, place = value / step, place + 1
    return f"{value:.3g} {units[place]}"


SHEETS = (
    Sheet(
        name="dedup_levels",
        title="Dedup by level: what is found, and what the index takes",
        after="ZipLLM's table of dedup levels",
        note="Ours: 'file' stands for all values of a model, 'parameter' for values that are equal within a "
        "model; saved: of files, whose headers are kept coded. Index at 17 PB: 64 bytes for each unique "
        "entry, as if a hub were more of the same, the paper's arithmetic. Our tensors are small, so more of "
        "them fit into 17 PB than of models of billions of weights; ours are distinct fine-tunes, "
        "the paper's hub holds copies.",
        experiments=("dedup_levels", "zipllm_chunks"),
        data=_data,
        draw=_draw,
    ),
)
