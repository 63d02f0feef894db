"""Lineage as tables: text for a screen, and rows for CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .distance import Distance
from .inference import Lineage

__all__ = ["MODEL_COLUMNS", "PAIR_COLUMNS", "model_rows", "pair_rows", "text_table", "write_csv"]

_MEASURED = ("bits", "low", "high", "independent", "threshold", "agreeing", "share", "samples", "related")
MODEL_COLUMNS = ("model", "base", "how", *_MEASURED, "reason")
PAIR_COLUMNS = ("a", "b", *_MEASURED)

Row = tuple[object, ...]


def model_rows(lineage: Lineage) -> Iterator[Row]:
    """Yield a row of `MODEL_COLUMNS` for each model."""
    for name, parent in lineage.items():
        yield name, parent.base or "", parent.how, *_measured(parent.distance), parent.reason


def pair_rows(distances: Mapping[tuple[str, str], Distance | None]) -> Iterator[Row]:
    """Yield a row of `PAIR_COLUMNS` for each pair, in order; without a distance its columns are empty."""
    for (a, b), distance in sorted(distances.items()):
        yield a, b, *_measured(distance)


def text_table(lineage: Lineage) -> str:
    """Return a table with a line a model, and under each what speaks for or against its base."""
    lines = [("model", "base", "how", "bits that differ, per weight", "threshold")]
    for name, parent in lineage.items():
        measured, threshold = "–", "–"
        if (distance := parent.distance) is not None:
            measured = f"{distance.bits:.3f} ± {(distance.high - distance.low) / 2:.3f}"
            threshold = f"{distance.threshold:.3f}"
        lines.append((name, parent.base or "–", parent.how, measured, threshold))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    text += ["", *(f"{name}: {parent.reason}" for name, parent in lineage.items())]
    return "\n".join(line.rstrip() for line in text)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows under a line of column names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _measured(distance: Distance | None) -> Row:
    if distance is None:
        return ("",) * len(_MEASURED)
    return tuple(
        f"{value:.6f}" if isinstance(value := getattr(distance, name), float) else value for name in _MEASURED
    )
