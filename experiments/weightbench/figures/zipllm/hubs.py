"""Rows of hubs: each system named by what it compares, each hub so that one tells it apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas

from weightbench.figures.rows import NoRowsError, Rows, numbers, records

__all__ = ["case_order", "hub_cells", "reduction"]

_DEDUP = "dedup"


def hub_cells(rows: Rows, *columns: str, threads: bool = False) -> pandas.DataFrame:
    """Return the cells of hubs whose lineage was found by the bits, with columns ``series`` and ``case``.

    ``series`` is the system's label. Of ``dedup`` it says the granularity; of others only cells of
    granularity tensor are taken. ``case`` says how many models, around which, in which format.

    Args:
        rows: to choose from.
        columns: that a row must have a value in.
        threads: cells with other numbers of threads are other cells.

    Raises:
        NoRowsError: there is none.
    """
    found = rows.where(workload="hub", cell__workload__lineage="distance").having(
        "result.workload.dedup.entries", *columns
    )
    if found.cells.empty:
        raise NoRowsError("no hub (workload=hub)" + (" with " + ", ".join(columns) if columns else ""))
    cells = found.one_each(threads=threads)
    cells = cells[(cells["system"] == _DEDUP) | (cells["granularity"] == "tensor")]
    if cells.empty:
        raise NoRowsError("no hub stored tensor by tensor, or by codec=dedup")
    models = numbers(cells, "result.model.models")
    return cells.assign(
        series=[_series(row) for row in records(cells)],
        case=[
            f"{count:g} models, {model} and others, {dtype}"
            for count, model, dtype in zip(models, cells["model"], cells["dtype"], strict=True)
        ],
    )


def _series(row: dict[str, Any]) -> str:
    if row["system"] == _DEDUP:
        return f"{_DEDUP} ({row['granularity']})"
    once = row.get("cell.dedup") is True and row["system"] not in ("zipllm", "elves")
    return f"{row['label']} + dedup" if once else str(row["label"])


def reduction(cells: pandas.DataFrame) -> pandas.Series[float]:
    """Return the data reduction ratio in %: what of the raw files is saved, everything stored counted."""
    stored, raw = numbers(cells, "result.sizes.stored_bytes"), numbers(cells, "result.sizes.raw_bytes")
    return 100 * (1 - stored / raw)


def case_order(series: Iterable[str]) -> list[str]:
    """Return the series in one order for all sheets: raw, dedup, codecs, deltas, systems."""
    first = (
        "identity", "dedup", "zstd", "zipnn", "elf", "bitx", "zipnn_delta", "fm_delta", "elves", "zipllm",
    )  # fmt: skip

    def place(name: str) -> tuple[int, str]:
        system = name.split(" ")[0]
        return (first.index(system) if system in first else len(first), name)

    return sorted(set(series), key=place)
