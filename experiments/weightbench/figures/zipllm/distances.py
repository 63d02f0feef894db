"""Bit distances of the models of a hub, and the families that they make."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas

from weightbench.figures.charts import OURS
from weightbench.figures.lineage import lineage_figure
from weightbench.figures.rows import NoRowsError, Rows, numbers, parsed, records
from weightbench.figures.sheet import Sheet
from weightbench.lineage.clusters import APART, STRANGERS, linkage_of

from matplotlib.figure import Figure  # isort: skip - after weightbench, whose style chooses the backend

__all__ = ["SHEETS"]

_DISTANCES, _THRESHOLDS = "result.workload.distances", "result.workload.thresholds"


def _data(rows: Rows) -> pandas.DataFrame:
    """Return every pair of the hub with most models; NaN where two models were not compared."""
    found = rows.where(workload="hub").having(_DISTANCES, _THRESHOLDS)
    if found.cells.empty:
        raise NoRowsError("no hub with distances and their thresholds (workload=hub)")
    cells = found.one_each()
    cells = cells.assign(count=numbers(cells, "result.model.models")).sort_values("count", kind="stable")
    row = records(cells)[-1]
    [models] = parsed(cells.iloc[-1:], "result.workload.models")
    bits, thresholds = (
        {frozenset(line[:2]): line[2] for line in parsed(cells.iloc[-1:], column)[0]}
        for column in (_DISTANCES, _THRESHOLDS)
    )
    bases = {model["name"]: model["base"] or model["name"] for model in models}
    if len(bases) < 2:
        raise NoRowsError("no hub of two models and more")
    return pandas.DataFrame(
        {
            "series": a,
            "x": b,
            "value": bits.get(frozenset((a, b)), np.nan),
            "threshold": thresholds.get(frozenset((a, b)), np.nan),
            "base_of_series": bases[a],
            "base_of_x": bases[b],
            "dtype": row["dtype"],
            "source": OURS,
            "cell": row["id"],
        }
        for a, b in combinations(bases, 2)
    )


def _draw(data: pandas.DataFrame) -> Figure:
    names = list(dict.fromkeys([*data["series"], *data["x"]]))
    place = {name: number for number, name in enumerate(names)}
    distances, nearness = np.zeros((2, len(names), len(names)))
    at = data["series"].map(place), data["x"].map(place)
    for matrix, values in (
        (distances, data["value"]),
        (nearness, (data["value"] / data["threshold"]).fillna(APART)),
    ):
        matrix[at] = matrix[at[::-1]] = values
    return lineage_figure(names, distances, nearness < STRANGERS, linkage_of(nearness), STRANGERS)


SHEETS = (
    Sheet(
        name="bit_distances",
        title="Bit distances of a hub's models, and their families",
        after="ZipLLM's clustering by bit distance",
        note="Nobody said who came from whom. A dash: architectures that differ, not compared. Each pair "
        "has a threshold of its own, what unrelated weights with as many ones in each bit would have, less "
        "a margin; the tree is of distances over thresholds and cut at 1. The paper's threshold and "
        "distances are not at hand.",
        experiments=("zipllm_distances",),
        data=_data,
        draw=_draw,
    ),
)
