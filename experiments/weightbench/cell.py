"""One cell, from weights to numbers: this is what runs in the child process.

units → archive on disk → measured in memory → verified → evaluated → a result for the row, and a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weightbench.archive import (
    ArchiveReader,
    ArchiveSummary,
    UnitRecord,
    archive_writing,
    open_archive,
    refused_formats,
    write_archive,
)
from weightbench.errors import Skip, Violated
from weightbench.evaluate import Evaluation, evaluate, skipped
from weightbench.granularity import units
from weightbench.measure import Measurement, SaveLoad, Sink, UnitTiming, measure_save_load, measure_units
from weightbench.models import Model
from weightbench.request import Request, open_requested, request_of
from weightbench.runner import Task
from weightcodecs import Blob, get_format
from weightcodecs.identity import Identity

__all__ = ["run"]

ARCHIVE, PICTURE = "archive.wba", "cell.png"


def run(argument: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Run the cell that a composed configuration describes.

    Returns:
        ``result``, ``tensors`` and ``artifacts`` of the row, see docs/results.md.

    Raises:
        Skip: the codec takes none of the model's float formats.
        Violated: what came back is not what the codec promises.
    """
    request = request_of(argument)
    model = open_requested(request)
    _refuse_unsupported(request, model)
    path = task.workdir / ARCHIVE
    if request.measure.single_round:
        summary, measurement = _measure_into(request, model, path, task)
    else:
        # Written before and apart: writing 500 MB to the disk would disturb the rounds that follow.
        summary = _write(request, model, path, task)
        measurement = _measure(request, model, task)
        _require_kept(measurement)
    task.progress("verifying the archive")
    archive = open_archive(path)
    # The blobs of a single round have been decoded and compared with the originals, and are what is in the
    # archive: checksums show that they still are. References (parameter granularity) stand beside the blobs
    # and have not been looked at, nor have blobs that were coded a second time: those are decoded here.
    measured = request.measure.single_round and summary.sizes.side == 0
    archive.verify(deep=not measured)
    evaluation = _evaluate(request, model, archive, Path(request.results) / "cache", task)
    saved = _save_load(request, model, path, task) if request.measure.cold_cache else None
    result: dict[str, Any] = {
        "model": _model(model),
        "sizes": _sizes(summary),
        "speed": _speed(measurement),
        "error": measurement.verdict.plain(),
        "evaluation": evaluation.to_json(),
        "save_load": saved.plain() if saved else None,
    }
    tensors = _tensors(summary, measurement)
    task.progress("drawing")
    artifacts, result["picture_error"] = _draw(
        result, tensors, request.cell(model.name, model.revision()), task
    )
    return {"result": result, "tensors": tensors, "artifacts": artifacts}


def _draw(
    result: Mapping[str, Any], tensors: list[dict[str, Any]], cell: Mapping[str, Any], task: Task
) -> tuple[list[str], str | None]:
    """Draw the picture; return the artifacts, and what went wrong if anything did.

    Whatever goes wrong with a picture (fonts, a full disk), the measurement is done and must not be lost.
    """
    try:
        # Matplotlib takes longer to import than a small cell to run.
        from weightbench.figures.cell import draw_cell

        draw_cell(result, tensors, cell, task.workdir / PICTURE)
    except Exception as error:
        return [], f"{type(error).__name__}: {error}"
    return [PICTURE], None


def _refuse_unsupported(request: Request, model: Model) -> None:
    if request.codec.needs_reference:
        raise Skip(
            f"{request.codec.name} codes a model against its base, which workload=single does not have"
        )
    refused = refused_formats(model, request.codec)
    floats = {info.format for info in model.tensors.values() if get_format(info.format).is_float}
    if floats and floats <= refused.keys():
        reasons = "; ".join(f"{name}: {refused[name]}" for name in sorted(floats))
        raise Skip(f"{request.codec.name} takes none of this model's float formats ({reasons})")


def _write(request: Request, model: Model, path: Path, task: Task) -> ArchiveSummary:
    return write_archive(
        path,
        model,
        request.codec,
        request.granularity,
        dedup=request.dedup,
        threads=request.measure.threads,
        known_sha256=model.known_sha256(),
        progress=lambda done, total: task.progress("writing the archive", done / 1e6, total / 1e6, "MB"),
    )


def _measure(request: Request, model: Model, task: Task, sink: Sink | None = None) -> Measurement:
    refused = refused_formats(model, request.codec)
    coded = [unit for unit in units(model, request.granularity) if unit.format not in refused]

    def show(_: str, done: float, total: float, unit: str) -> None:
        task.progress("measuring", done, total, unit)

    return measure_units(request.codec, coded, request.measure, sink=sink, progress=show)


def _measure_into(
    request: Request, model: Model, path: Path, task: Task
) -> tuple[ArchiveSummary, Measurement]:
    """Measure, and write the very blobs that were measured: a single round need not encode twice."""
    left = units(model, request.granularity)
    with archive_writing(
        path,
        model,
        request.codec,
        request.granularity,
        dedup=request.dedup,
        threads=request.measure.threads,
        known_sha256=model.known_sha256(),
    ) as writing:

        def store(key: str, blob: Blob) -> None:
            for unit in left:
                if unit.key == key:
                    writing.add(unit, blob)
                    return
                writing.add(unit)  # a format that the codec refuses: not measured, stored raw

        measurement = _measure(request, model, task, store)
        _require_kept(measurement)
        for unit in left:
            writing.add(unit)
    summary = writing.summary
    assert summary is not None  # the block has ended well
    return summary, measurement


def _require_kept(measurement: Measurement) -> None:
    if measurement.verdict.violated:
        raise Violated(measurement.verdict.message(), measurement.verdict.plain())


def _evaluate(request: Request, model: Model, archive: ArchiveReader, cache: Path, task: Task) -> Evaluation:
    plan = request.evaluation
    lossless = all(bound.lossless for bound in archive.index.bounds.values())
    # identity is evaluated all the same: it is the noise floor of the evaluation itself.
    if lossless and plan.mode != "none" and not isinstance(request.codec, Identity):
        return skipped(plan, "the archive is bit-exact, so every difference is exactly zero")
    # Tied tensors are absent from the model; the evaluation's own model ties them again.
    return evaluate(
        plan,
        directory=model.directory,
        original=model.read,
        restored=archive.read_tensor,
        names=model.tensors,
        baseline_cache=cache / "baselines",
        identity=model.revision(),
        progress=task.progress,
    )


def _save_load(request: Request, model: Model, path: Path, task: Task) -> SaveLoad:
    task.progress("saving and loading")

    def write() -> None:
        _write(request, model, path, task)

    def read() -> None:
        archive = open_archive(path)
        for name in archive.tensors():
            archive.read_tensor(name)

    return measure_save_load(write, read, path, request.measure, original_bytes=model.nbytes)


def _model(model: Model) -> dict[str, Any]:
    formats: dict[str, dict[str, int]] = {}
    for info in model.tensors.values():
        counts = formats.setdefault(info.format, {"tensors": 0, "parameters": 0, "nbytes": 0})
        counts["tensors"] += 1
        counts["parameters"] += int(np.prod(info.shape, dtype=np.int64))
        counts["nbytes"] += info.nbytes
    return {
        "name": model.name,
        "family": model.family,
        "base": model.base,
        "note": model.note,
        "tensors": len(model.tensors),
        "parameters": sum(counts["parameters"] for counts in formats.values()),
        "formats": formats,
    }


def _sizes(summary: ArchiveSummary) -> dict[str, Any]:
    sizes = summary.sizes
    reasons: dict[str, str] = {}
    for unit in summary.units:
        if unit.passed_through:
            reasons[unit.format] = unit.passed_through
    return {
        "raw_bytes": summary.raw_bytes,
        "stored_bytes": sizes.total,
        "ratio": summary.ratio,
        "payload_bytes": sizes.payload,
        "side_bytes": sizes.side,
        "literals_bytes": sizes.literals,
        "index_bytes": sizes.index,
        "units": len(summary.units),
        "repeated_units": sum(unit.repeats is not None for unit in summary.units),
        "passed_through": reasons,
    }


def _speed(measurement: Measurement) -> dict[str, Any]:
    speed = measurement.plain()
    del speed["units"], speed["verdict"]  # they stand in the row's tensors and error
    return speed


def _tensors(summary: ArchiveSummary, measurement: Measurement) -> list[dict[str, Any]]:
    timings = {timing.key: timing for timing in measurement.units}
    return [_tensor(unit, timings.get(unit.key)) for unit in summary.units]


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
