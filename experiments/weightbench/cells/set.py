"""A cell of a family or a hub: models kept together in a depot, bases first, what repeats once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from weightbench.cells.distributions import distributions_of_set
from weightbench.cells.named import named_units, unit_name
from weightbench.cells.sections import (
    model_section,
    require_kept,
    sizes_section,
    speed_section,
    tensor_records,
)
from weightbench.cells.single import refuse_unsupported
from weightbench.dedup import projected_metadata_bytes
from weightbench.depot import Added, Base, Depot, DepotSizes, create_depot
from weightbench.evaluate import skipped
from weightbench.granularity import Unit, units
from weightbench.lineage import BaseValues, match_tensors
from weightbench.measure import Measurement, measure_units
from weightbench.models import Model
from weightbench.models.model import Array
from weightbench.request import Request
from weightbench.runner import Task
from weightbench.systems import Coder
from weightbench.workload import ModelSet, model_set
from weightcodecs import get_format

__all__ = ["SetCell"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A model of the set, and how it is coded."""

    model: Model
    base: Base | None
    coder: Coder


@dataclass(frozen=True, slots=True)
class _Member(_Plan):
    """A model of the set, and what became of it."""

    added: Added


@dataclass(frozen=True, slots=True)
class SetCell:
    """The models of a family or a hub."""

    request: Request
    models: Sequence[Model]
    task: Task

    def run(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the sections of the result and the tensor records.

        Raises:
            WorkloadError: the models do not make such a set.
            Skip: none of the models' float formats is taken.
            Violated: what came back is not what the system promises.
        """
        self.task.progress("looking for bases")
        known = model_set(self.request.workload, self.models)
        plans = [self._plan(model, known) for model in known.models]
        self._warm_up(plans)
        depot = create_depot(self.task.workdir / "depot")
        begun = time.perf_counter()
        members = list(self._ingest(plans, depot))
        ingest = time.perf_counter() - begun
        sizes = depot.sizes()
        measurement = self._measure(members)
        require_kept(measurement)
        restore = self._restore(depot)
        records = [self._renamed(member) for member in members]
        all_units = [unit for units_of_one in records for unit in units_of_one]
        raw = sum(model.nbytes for model in self.models)
        result = {
            "model": model_section(self.models),
            "sizes": sizes_section(raw, sizes, all_units),
            "speed": speed_section(measurement),
            "error": measurement.verdict.plain(),
            "evaluation": self._no_evaluation(),
            "save_load": None,
            "workload": {
                "kind": self.request.workload.kind,
                "disk_bytes": sizes.disk,
                "models": [_member_section(member, known) for member in members],
                "distances": [
                    [*names, distance.bits] for names, distance in known.lineage.distances.items() if distance
                ],
                "thresholds": [
                    [*names, distance.threshold]
                    for names, distance in known.lineage.distances.items()
                    if distance
                ],
                **_ratios(members, known, sizes.total),
                "dedup": _dedup_section(members, sizes, raw),
                "ingest": {"seconds": ingest, "mb_per_s": raw / ingest / 1e6},
                "restore": {"seconds": restore, "mb_per_s": raw / restore / 1e6},
            },
        }
        if self.request.distributions:
            result["distributions"] = distributions_of_set(known, self.task)
        timings = {timing.key: timing for timing in measurement.units}
        return result, tensor_records(all_units, timings)

    def _plan(self, model: Model, known: ModelSet) -> _Plan:
        system, base, values = self.request.system, known.base_of(model), None
        if base is not None and system.uses_base:
            values = BaseValues(base, match_tensors(model, base))
        coder = system.coder(model, units(model, self.request.granularity), values)
        refuse_unsupported(coder, [model])
        return _Plan(model, None if base is None or values is None else Base(base.name, values), coder)

    def _warm_up(self, plans: Sequence[_Plan]) -> None:
        """Code a unit of every format, with a base and without: compiling is in nobody's throughput."""
        self.task.progress("warming up")
        warm: set[tuple[str, bool]] = set()
        for plan in plans:
            for unit in units(plan.model, self.request.granularity):
                kind = (unit.format, plan.base is not None)
                if kind in warm or plan.coder.unsupported(get_format(unit.format)):
                    continue
                warm.add(kind)
                reference = None if plan.base is None else plan.base.values.reference(unit)
                blob = plan.coder.encode(unit.array(), reference=reference)
                plan.coder.decode(blob, reference=reference)

    def _ingest(self, plans: Sequence[_Plan], depot: Depot) -> Iterator[_Member]:
        for number, plan in enumerate(plans):
            added = depot.add(
                plan.model,
                plan.coder,
                self.request.granularity,
                dedup=self.request.keeps_once,
                base=plan.base,
                threads=self.request.measure.threads,
                progress=partial(self._show, f"storing {plan.model.name} ({number + 1} of {len(plans)})"),
            )
            yield _Member(plan.model, plan.base, plan.coder, added)

    def _show(self, said: str, done: int, total: int) -> None:
        self.task.progress(said, done / 1e6, total / 1e6, "MB")

    def _measure(self, members: Sequence[_Member]) -> Measurement:
        """Code every unit that was stored (repeats were not coded) again, in memory and timed."""
        coders: dict[str, Coder] = {}
        bases: dict[str, tuple[Unit, BaseValues]] = {}
        todo = []
        for member in members:
            coded = {u.key for u in member.added.units if u.repeats is None and u.passed_through is None}
            for named in named_units(member.model, self.request.granularity):
                if named.unit.key in coded:
                    coders[named.key] = member.coder
                    todo.append(named)
                    if member.base is not None:
                        bases[named.key] = named.unit, member.base.values

        def reference(key: str) -> Array | None:
            if key not in bases:
                return None
            unit, base = bases[key]
            return base.reference(unit)

        return measure_units(
            members[0].coder,
            todo,
            self.request.measure,
            coder_of=coders.__getitem__,
            references=reference,
            progress=lambda _, done, total, unit: self.task.progress("measuring", done, total, unit),
            yardstick=not self.request.measure.single_round,
        )

    def _restore(self, depot: Depot) -> float:
        """Read all files back; then check every byte of the depot, and the files' SHA-256. Return seconds."""
        self.task.progress("restoring all files")
        begun = time.perf_counter()
        for name in depot.models():
            stored = depot.open(name)
            for file in stored.files:
                for _ in stored.file_bytes(file):
                    pass
        seconds = time.perf_counter() - begun
        self.task.progress("verifying the depot")
        depot.verify(deep=True)
        return seconds

    @staticmethod
    def _renamed(member: _Member) -> list[Any]:
        return [
            dataclasses.replace(unit, key=unit_name(member.model, unit.key)) for unit in member.added.units
        ]

    def _no_evaluation(self) -> dict[str, Any]:
        plan = self.request.evaluation
        return skipped(plan, "a set is not evaluated; workload=single evaluates each of its models").to_json()


def _member_section(member: _Member, known: ModelSet) -> dict[str, Any]:
    parent = known.lineage[member.model.name]
    distance = parent.distance
    added = member.added
    return {
        "name": member.model.name,
        "base": parent.base,
        "how": parent.how,
        "reason": parent.reason,
        "bit_distance": None if distance is None else distance.bits,
        "bit_distance_interval": None if distance is None else [distance.low, distance.high],
        "raw_bytes": member.model.nbytes,
        "added_bytes": added.added_bytes,
        "ratio": member.model.nbytes / added.added_bytes,
        "units": len(added.units),
        "repeated_units": sum(unit.repeats is not None for unit in added.units),
        "repeated_files": len(added.repeated_files),
        "units_against_base": sum(unit.against_base for unit in added.units),
    }


def _ratios(members: Sequence[_Member], known: ModelSet, total: int) -> dict[str, Any]:
    """Ratios with the bases counted and not counted, whether or not the system uses them: papers use both."""
    children = [member for member in members if known.lineage[member.model.name].base is not None]
    raw, stored = (sum(m.model.nbytes for m in children), sum(m.added.added_bytes for m in children))
    return {
        "ratio_base_counted": sum(member.model.nbytes for member in members) / total,
        "ratio_base_not_counted": raw / stored if stored else None,
    }


def _dedup_section(members: Sequence[_Member], sizes: DepotSizes, raw: int) -> dict[str, Any]:
    """Say what was there already. Units of repeated files were not looked at one by one."""
    every = [unit for member in members for unit in member.added.units]
    unique = [unit for unit in every if unit.repeats is None]
    nbytes = sum(info.nbytes for member in members for info in member.model.tensors.values())
    unique_bytes = sum(unit.raw_bytes for unit in unique)
    return {
        "files": sum(len(member.model.files) for member in members),
        "repeated_files": sum(len(member.added.repeated_files) for member in members),
        "units": len(every),
        "entries": len(unique),
        "bytes": nbytes,
        "unique_bytes": unique_bytes,
        "ratio": nbytes / unique_bytes if unique_bytes else None,
        "metadata_bytes": sizes.index + sizes.side,
        "projected_metadata_bytes": projected_metadata_bytes(len(unique), raw),
    }
