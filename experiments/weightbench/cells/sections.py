"""What every kind of cell says in its row: sections of the result, tensor records, and the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from weightbench.archive import Sizes, UnitRecord
from weightbench.depot import DepotSizes
from weightbench.errors import Violated
from weightbench.measure import Measurement, UnitTiming
from weightbench.models import Model
from weightbench.runner import Task

__all__ = [
    "draw",
    "model_section",
    "require_kept",
    "sizes_section",
    "speed_section",
    "tensor_records",
]

PICTURE = "cell.png"


def model_section(models: Sequence[Model]) -> dict[str, Any]:
    """Say what the models hold; name, family, base and note are those of the first."""
    formats: dict[str, dict[str, int]] = {}
    for info in (info for model in models for info in model.tensors.values()):
        counts = formats.setdefault(info.format, {"tensors": 0, "parameters": 0, "nbytes": 0})
        counts["tensors"] += 1
        counts["parameters"] += int(np.prod(info.shape, dtype=np.int64))
        counts["nbytes"] += info.nbytes
    first = models[0]
    return {
        "name": first.name,
        "family": first.family,
        "base": first.base,
        "note": first.note,
        "models": len(models),
        "tensors": sum(len(model.tensors) for model in models),
        "parameters": sum(counts["parameters"] for counts in formats.values()),
        "formats": formats,
    }


def sizes_section(raw_bytes: int, sizes: Sizes | DepotSizes, units: Sequence[UnitRecord]) -> dict[str, Any]:
    """Say what became of so many raw bytes."""
    reasons = {unit.format: unit.passed_through for unit in units if unit.passed_through}
    return {
        "raw_bytes": raw_bytes,
        "stored_bytes": sizes.total,
        "ratio": raw_bytes / sizes.total,
        "payload_bytes": sizes.payload,
        "side_bytes": sizes.side,
        "literals_bytes": sizes.literals,
        "index_bytes": sizes.index,
        "units": len(units),
        "repeated_units": sum(unit.repeats is not None for unit in units),
        "passed_through": reasons,
    }


def speed_section(measurement: Measurement) -> dict[str, Any]:
    """Return the speeds; units and verdict stand in the row's tensors and error."""
    speed = measurement.plain()
    del speed["units"], speed["verdict"]
    return speed


def require_kept(measurement: Measurement) -> None:
    """Raise `Violated` if what came back is not what the codec promises."""
    if measurement.verdict.violated:
        raise Violated(measurement.verdict.message(), measurement.verdict.plain())


def tensor_records(units: Iterable[UnitRecord], timings: Mapping[str, UnitTiming]) -> list[dict[str, Any]]:
    """Return one record a unit, with its times where it was measured."""
    return [_tensor(unit, timings.get(unit.key)) for unit in units]


def _tensor(unit: UnitRecord, timing: UnitTiming | None) -> dict[str, Any]:
    return {
        "key": unit.key,
        "format": unit.format,
        "raw_bytes": unit.raw_bytes,
        "stored_bytes": unit.stored_bytes,
        "side_bytes": unit.side_bytes,
        "codec": unit.codec,
        "passed_through": unit.passed_through,
        "repeats": unit.repeats,
        "encode_seconds": timing.encode_seconds if timing else None,
        "decode_seconds": timing.decode_seconds if timing else None,
        "memcpy_seconds": timing.memcpy_fresh_seconds if timing else None,
        "clock_sees_it": timing.visible if timing else None,
    }


def draw(
    result: Mapping[str, Any], tensors: list[dict[str, Any]], cell: Mapping[str, Any], task: Task
) -> tuple[list[str], str | None]:
    """Draw the picture; return the artifacts, and what went wrong if anything did.

    Whatever goes wrong with a picture (fonts, a full disk), the measurement is done and must not be lost.
    """
    task.progress("drawing")
    try:
        # Matplotlib takes longer to import than a small cell to run.
        from weightbench.figures.cell import draw_cell

        draw_cell(result, tensors, cell, task.workdir / PICTURE)
    except Exception as error:
        return [], f"{type(error).__name__}: {error}"
    return [PICTURE], None
