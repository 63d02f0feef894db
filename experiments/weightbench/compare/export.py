"""The changes as a file: CSV, Parquet, LaTeX, Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields

import pyarrow as pa
import pyarrow.parquet as pq

from weightbench.compare.changes import Change

__all__ = ["FORMATS", "exported"]

# What a page has room for; CSV and Parquet hold every field.
_SHOWN = ("codec", "model", "granularity", "measure", "a", "b", "change", "low", "high", "verdict")
_TEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "→": r"$\to$",
}  # fmt: skip


def exported(changes: Sequence[Change], format: str) -> bytes:
    """Return the changes in one of `FORMATS`."""
    return FORMATS[format](changes)


def _csv(changes: Sequence[Change]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Change)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(change) for change in changes)
    return text.getvalue().encode()


def _parquet(changes: Sequence[Change]) -> bytes:
    types = {"a": pa.float64(), "b": pa.float64(), "change": pa.float64()}
    types |= {"low": pa.float64(), "high": pa.float64()}
    schema = pa.schema([(field.name, types.get(field.name, pa.string())) for field in fields(Change)])
    table = pa.Table.from_pylist([asdict(change) for change in changes], schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def _cells(change: Change) -> list[str]:
    return [_text(getattr(change, name)) for name in _SHOWN]


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _markdown(changes: Sequence[Change]) -> bytes:
    rows = [[text.replace("|", r"\|") for text in _cells(change)] for change in changes]
    lines = [list(_SHOWN), ["---"] * len(_SHOWN), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).encode()


def _latex(changes: Sequence[Change]) -> bytes:
    def line(texts: Sequence[str]) -> str:
        return " & ".join("".join(_TEX.get(c, c) for c in text) for text in texts) + r" \\"

    columns = "llll" + "r" * 5 + "l"
    body = [line(_cells(change)) for change in changes]
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", line(_SHOWN), r"\hline"]
    return "\n".join([*lines, *body, r"\hline", r"\end{tabular}", ""]).encode()


FORMATS: dict[str, Callable[[Sequence[Change]], bytes]] = {
    "csv": _csv,
    "parquet": _parquet,
    "latex": _latex,
    "markdown": _markdown,
}
