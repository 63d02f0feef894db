"""A cell of one checkpoint: archive on disk, measured in memory, verified, evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightbench.archive import (
    ArchiveReader,
    ArchiveSummary,
    archive_writing,
    open_archive,
    refused_formats,
    write_archive,
)
from weightbench.cells.distributions import distributions_of_single
from weightbench.cells.sections import (
    model_section,
    require_kept,
    sizes_section,
    speed_section,
    tensor_records,
)
from weightbench.errors import Skip
from weightbench.evaluate import Evaluation, evaluate, skipped
from weightbench.granularity import units
from weightbench.measure import (
    Load,
    Measurement,
    OnRead,
    SaveLoad,
    Sink,
    measure_save_load,
    measure_units,
    plain_load,
    write_plain,
)
from weightbench.models import Model
from weightbench.request import Request
from weightbench.runner import Task
from weightbench.systems import Coder
from weightcodecs import Blob, get_format

__all__ = ["SingleCell", "refuse_unsupported"]

ARCHIVE = "archive.wba"


def refuse_unsupported(coder: Coder, models: list[Model]) -> None:
    """Raise `Skip` if a coder takes none of the models' float formats."""
    refused = {format: reason for model in models for format, reason in refused_formats(model, coder).items()}
    formats = {info.format for model in models for info in model.tensors.values()}
    floats = {format for format in formats if get_format(format).is_float}
    if floats and floats <= refused.keys():
        reasons = "; ".join(f"{name}: {refused[name]}" for name in sorted(floats))
        raise Skip(f"{coder.name} takes none of this model's float formats ({reasons})")


@dataclass(frozen=True, slots=True)
class SingleCell:
    """One checkpoint and what codes it."""

    request: Request
    model: Model
    coder: Coder
    task: Task

    def run(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the sections of the result and the tensor records.

        Raises:
            Skip: the coder takes none of the model's float formats.
            Violated: what came back is not what the coder promises.
        """
        refuse_unsupported(self.coder, [self.model])
        if self.request.measure.single_round:
            summary, measurement = self._measure_into_archive()
        else:
            # Written before and apart: writing 500 MB to the disk would disturb the rounds that follow.
            summary = self._write()
            measurement = self._measure()
            require_kept(measurement)
        self.task.progress("verifying the archive")
        archive = open_archive(self._path)
        # The blobs of a single round have been decoded and compared with the originals, and are what is in
        # the archive: checksums show that they still are. References (parameter granularity) stand beside the
        # blobs and have not been looked at, nor have blobs that were coded twice: those are decoded here.
        measured = self.request.measure.single_round and summary.sizes.side == 0
        archive.verify(deep=not measured)
        evaluation = self._evaluate(archive)
        saved = self._save_load() if self.request.measure.uses_disk else None
        timings = {timing.key: timing for timing in measurement.units}
        result = {
            "model": model_section([self.model]),
            "sizes": sizes_section(summary.raw_bytes, summary.sizes, summary.units),
            "speed": speed_section(measurement),
            "error": measurement.verdict.plain(),
            "evaluation": evaluation.to_json(),
            "save_load": saved.plain() if saved else None,
        }
        if self.request.distributions:
            result["distributions"] = distributions_of_single(self.model, self.task)
        return result, tensor_records(summary.units, timings)

    @property
    def _path(self) -> Path:
        return self.task.workdir / ARCHIVE

    def _write(self) -> ArchiveSummary:
        return write_archive(
            self._path,
            self.model,
            self.coder,
            self.request.granularity,
            dedup=self.request.keeps_once,
            threads=self.request.measure.threads,
            known_sha256=self.model.known_sha256(),
            progress=lambda done, total: self.task.progress(
                "writing the archive", done / 1e6, total / 1e6, "MB"
            ),
        )

    def _measure(self, sink: Sink | None = None) -> Measurement:
        refused = refused_formats(self.model, self.coder)
        coded = [unit for unit in units(self.model, self.request.granularity) if unit.format not in refused]

        def show(_: str, done: float, total: float, unit: str) -> None:
            self.task.progress("measuring", done, total, unit)

        plan = self.request.measure
        return measure_units(
            self.coder, coded, plan, sink=sink, progress=show, yardstick=not plan.single_round
        )

    def _measure_into_archive(self) -> tuple[ArchiveSummary, Measurement]:
        """Measure, and write the very blobs that were measured: a single round need not encode twice."""
        left = units(self.model, self.request.granularity)
        with archive_writing(
            self._path,
            self.model,
            self.coder,
            self.request.granularity,
            dedup=self.request.keeps_once,
            threads=self.request.measure.threads,
            known_sha256=self.model.known_sha256(),
        ) as writing:

            def store(key: str, blob: Blob) -> None:
                for unit in left:
                    if unit.key == key:
                        writing.add(unit, blob)
                        return
                    writing.add(unit)  # a format that the coder refuses: not measured, stored raw

            measurement = self._measure(store)
            require_kept(measurement)
            for unit in left:
                writing.add(unit)
        summary = writing.summary
        assert summary is not None  # the block has ended well
        return summary, measurement

    def _evaluate(self, archive: ArchiveReader) -> Evaluation:
        plan = self.request.evaluation
        lossless = all(bound.lossless for bound in archive.index.bounds.values())
        # identity is evaluated all the same: it is the noise floor of the evaluation itself.
        if lossless and plan.mode != "none" and self.coder.name != "identity":
            return skipped(plan, "the archive is bit-exact, so every difference is exactly zero")
        # Tied tensors are absent from the model; the evaluation's own model ties them again.
        return evaluate(
            plan,
            directory=self.model.directory,
            original=self.model.read,
            restored=archive.read_tensor,
            names=self.model.tensors,
            baseline_cache=Path(self.request.results) / "cache" / "baselines",
            identity=self.model.revision(),
            progress=self.task.progress,
        )

    def _save_load(self) -> SaveLoad:
        self.task.progress("saving and loading")
        plan, raw = self.request.measure, self.model.nbytes

        def write() -> None:
            self._write()

        def read(on_read: OnRead | None = None) -> None:
            archive = open_archive(self._path, threads=plan.threads, on_read=on_read)
            for name in archive.tensors():
                archive.read_tensor(name)

        loads = []
        if plan.bandwidths_mb_per_s:
            plain = plain_load("plain", write_plain(self.model, self.task.workdir / "plain"))
            loads = [Load("all", read, raw, (self._path,), plain.name), plain]
        return measure_save_load(
            write, read, self._path, plan, original_bytes=raw, loads=loads, progress=self.task.progress
        )
