"""The columns of the report's table of cells: what each is called, and where in a row it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas

__all__ = ["COLUMNS", "Column", "encoded", "plain"]

Kind = Literal["choice", "text", "number"]

_DECODE, _ENCODE = "result.speed.decode", "result.speed.encode"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: its name in the page, and in what one types to filter (``ratio>1.5``).
        title: its header.
        source: the column of :func:`weightbench.figures.rows.read_cells`.
        kind: ``choice`` (few different words: also a menu to filter by), ``text`` or ``number``.
        unit: of a number.
        shown: at first; the reader chooses.
        narrow: whether also on a narrow screen.
        low, high: columns that hold the interval of a number.
    """

    key: str
    title: str
    source: str
    kind: Kind = "number"
    unit: str = ""
    shown: bool = True
    narrow: bool = False
    low: str = ""
    high: str = ""


COLUMNS = (
    Column("status", "Status", "status", "choice"),
    Column("system", "System", "system", "choice", shown=False),
    Column("label", "System and options", "label", "text"),
    Column("model", "Model", "model", "choice", narrow=True),
    Column("dtype", "Format", "dtype", "choice"),
    Column("workload", "Workload", "workload", "choice"),
    Column("granularity", "Granularity", "granularity", "choice"),
    Column("measure", "Measured", "cell.measure.name", "choice"),
    Column("threads", "Threads", "cell.measure.threads", shown=False),
    Column("raw", "Raw", "result.sizes.raw_bytes", unit="bytes", shown=False),
    Column("stored", "Stored", "result.sizes.stored_bytes", unit="bytes"),
    Column("ratio", "Ratio", "ratio", narrow=True),
    Column("bits", "Bits a parameter", "bits", shown=False),
    Column(
        "encode", "Encode", f"{_ENCODE}.mb_per_s.median", unit="MB/s",
        low=f"{_ENCODE}.mb_per_s.ci_low", high=f"{_ENCODE}.mb_per_s.ci_high",
    ),
    Column(
        "decode", "Decode", f"{_DECODE}.mb_per_s.median", unit="MB/s",
        low=f"{_DECODE}.mb_per_s.ci_low", high=f"{_DECODE}.mb_per_s.ci_high",
    ),
    Column(
        "encode_share", "Encode", f"{_ENCODE}.share_of_memcpy_fresh.median", unit="× memcpy", shown=False,
        low=f"{_ENCODE}.share_of_memcpy_fresh.ci_low", high=f"{_ENCODE}.share_of_memcpy_fresh.ci_high",
    ),
    Column(
        "decode_share", "Decode", f"{_DECODE}.share_of_memcpy_fresh.median", unit="× memcpy", narrow=True,
        low=f"{_DECODE}.share_of_memcpy_fresh.ci_low", high=f"{_DECODE}.share_of_memcpy_fresh.ci_high",
    ),
    Column("memcpy", "memcpy", "result.speed.memcpy_fresh.mb_per_s.median", unit="MB/s", shown=False),
    Column("rounds", "Rounds", "rounds", shown=False),
    Column("max_error", "Largest |error|", "result.error.max_abs_error"),
    Column("rmse", "RMSE", "result.error.rmse", shown=False),
    Column("seconds", "Took", "seconds", unit="s", shown=False),
    Column("memory", "Peak memory", "peak_memory_bytes", unit="bytes", shown=False),
    Column("finished", "Finished", "finished", "text", shown=False),
    Column("reason", "Reason", "reason", "text", shown=False),
    Column("store", "Store", "store", "choice", shown=False),
    Column("id", "Row", "id", "text", shown=False),
)  # fmt: skip


def plain(values: pandas.Series[Any]) -> list[Any]:
    """Return a column's values as JSON has them, None where there is nothing."""
    missing = values.isna()
    if not missing.any():
        return values.tolist()
    return values.astype(object).where(~missing, None).tolist()


def encoded(kind: Kind, values: Sequence[Any]) -> Mapping[str, Any]:
    """Return a column for the page: numbers as they are; texts as places in a list of the different ones."""
    if kind == "number":
        return {"values": values}
    places, words = pandas.factorize(pandas.Series(["" if value is None else str(value) for value in values]))
    return {"words": words.tolist(), "places": places.tolist()}
