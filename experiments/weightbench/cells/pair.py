"""A cell of a pair: a checkpoint and its quantised version, both kept; low and high loads timed apart.

Conventional codecs code both files, a pair codec (QStore) codes them together. Raw means both files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightbench.cells.distributions import distributions_of_pair
from weightbench.cells.named import NamedUnit, named_units, unit_name
from weightbench.cells.pair_coder import LowCoder, PairCoder
from weightbench.cells.pair_loading import measure_pair
from weightbench.cells.sections import (
    model_section,
    require_kept,
    sizes_section,
    speed_section,
    tensor_records,
)
from weightbench.cells.single import refuse_unsupported
from weightbench.depot import Added, Depot, create_depot
from weightbench.errors import Skip
from weightbench.evaluate import skipped
from weightbench.granularity import Granularity, units
from weightbench.measure import Measurement, SaveLoad, measure_units
from weightbench.models import Model, ModelError
from weightbench.models.quantised import quantised
from weightbench.pairing import PairOf, pair_tensors
from weightbench.request import Request
from weightbench.runner import Task
from weightbench.systems import Coder, PlainSystem, System
from weightbench.workload import WorkloadError
from weightcodecs import get_codec
from weightcodecs.pair import PairCodec

__all__ = ["PairCell", "pair_codec"]

TENSOR = Granularity("tensor")
DEPOT = "depot"


@dataclass(frozen=True, slots=True)
class PairCell:
    """A checkpoint and its quantised version."""

    request: Request
    models: Sequence[Model]
    task: Task

    def run(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the sections of the result and the tensor records.

        Raises:
            WorkloadError: not two checkpoints that are a pair.
            Skip: system and workload do not go together, or no float format is taken.
            Violated: what came back is not what the codec promises.
        """
        high, low = self._checkpoints()
        pairs = pair_tensors(high, low)
        if not pairs:
            raise WorkloadError(f"no tensor of {low.name} is the quantised version of one of {high.name}")
        codec = pair_codec(self.request.system)
        if codec is not None and self.request.granularity.kind != "tensor":
            raise Skip(f"{codec.name} codes tensor by tensor: granularity=tensor")
        if self.request.system.needs_base:
            raise Skip(
                f"{self.request.system.name} codes a model against its base: workload=family or workload=hub"
            )
        depot = create_depot(self.task.workdir / DEPOT)
        self.task.progress("storing both checkpoints")
        if codec is None:
            added, measured, low_alone = self._apart(depot, high, low)
        else:
            added, measured, low_alone = self._together(depot, high, low, pairs, codec)
        self.task.progress("verifying the depot")
        depot.verify(deep=True)
        sizes = depot.sizes()
        records = [
            dataclasses.replace(unit, key=unit_name(model, unit.key))
            for model, one in zip((high, low), added, strict=True)
            for unit in one.units
        ]
        both_bytes, low_bytes = _tensor_bytes(high) + _tensor_bytes(low), _tensor_bytes(low)
        plan = self.request.evaluation
        saved = self._save_load(high, low, pairs, codec) if self.request.measure.uses_disk else None
        result = {
            "model": model_section([high, low]),
            "sizes": sizes_section(high.nbytes + low.nbytes, sizes, records),
            "speed": _for_bytes(speed_section(measured), both_bytes),
            "error": measured.verdict.plain(),
            "evaluation": skipped(plan, "a pair is stored losslessly or evaluated by itself").to_json(),
            "save_load": saved.plain() if saved else None,
            "workload": {
                "kind": "pair",
                "low": low.name,
                "pairs": len(pairs),
                "high_raw_bytes": high.nbytes,
                "low_raw_bytes": low.nbytes,
                "disk_bytes": sizes.disk,
                "high_decode_seconds": _seconds(measured, high),
                "low_alone": _for_bytes(speed_section(low_alone), low_bytes),
            },
        }
        if self.request.distributions:
            result["distributions"] = distributions_of_pair(high, low, pairs, self.task)
        return result, tensor_records(records, {timing.key: timing for timing in measured.units})

    def _checkpoints(self) -> tuple[Model, Model]:
        if len(self.models) > 2:
            raise WorkloadError("a pair is two checkpoints; workload.members names the quantised one")
        high, *rest = self.models
        if rest:
            return high, rest[0]
        try:
            return high, quantised(high, self.request.workload.low)
        except ModelError as error:
            raise WorkloadError(str(error)) from error

    def _apart(
        self, depot: Depot, high: Model, low: Model
    ) -> tuple[tuple[Added, ...], Measurement, Measurement]:
        """Store, and measure, each file by itself."""
        granularity, system = self.request.granularity, self.request.system
        coders: dict[str, Coder] = {}
        todo: list[NamedUnit] = []
        added = []
        for model in (high, low):
            coder = system.coder(model, units(model, granularity), None)
            refuse_unsupported(coder, [high, low])
            added.append(depot.add(model, coder, granularity, dedup=self.request.keeps_once))
            kept = {unit.key for unit in added[-1].units if unit.repeats is None and not unit.passed_through}
            named = [one for one in named_units(model, granularity) if one.unit.key in kept]
            coders |= dict.fromkeys((one.key for one in named), coder)
            todo += named
        of_low = [one for one in todo if one.unit.source.model is low]
        return (
            tuple(added),
            self._measure("measuring", todo, coders.__getitem__),
            self._measure("measuring the low one alone", of_low, coders.__getitem__),
        )

    def _together(
        self, depot: Depot, high: Model, low: Model, pairs: Sequence[PairOf], codec: PairCodec
    ) -> tuple[tuple[Added, ...], Measurement, Measurement]:
        """Store, and measure, pairs together and everything else by itself."""
        alone: Coder = get_codec(self.request.workload.standalone)
        added = depot.add_pair(
            high,
            low,
            pairs,
            codec,
            alone,
            dedup=self.request.keeps_once,
            threads=self.request.measure.threads,
        )
        highs = {unit_name(high, pair.high): pair for pair in pairs}
        lows = {unit_name(low, pair.low): pair for pair in pairs}
        scales = {unit_name(low, pair.scales) for pair in pairs if pair.scales}
        kept = {
            unit_name(model, unit.key)
            for model, one in zip((high, low), added, strict=True)
            for unit in one.units
            if unit.repeats is None and not unit.passed_through
        }
        of_low = [named for named in named_units(low, TENSOR) if named.key not in scales]
        rest = [named for named in of_low if named.key not in lows and named.key in kept]
        of_high = [named for named in named_units(high, TENSOR) if named.key in highs or named.key in kept]
        rest_of_low = [named for named in of_low if named.key in lows or named.key in kept]
        both, low_alone = PairCoder(codec, high, low, highs), LowCoder(codec, high, low, lows)
        return (
            added,
            self._measure("measuring", [*of_high, *rest], _either(both, highs, alone), both.prepare),
            self._measure(
                "measuring the low one alone", rest_of_low, _either(low_alone, lows, alone), low_alone.prepare
            ),
        )

    def _save_load(
        self, high: Model, low: Model, pairs: Sequence[PairOf], codec: PairCodec | None
    ) -> SaveLoad:
        self.task.progress("saving and loading")
        once, threads = self.request.keeps_once, self.request.measure.threads

        def store(depot: Depot, high: Model, low: Model) -> None:
            if codec is not None:
                alone = get_codec(self.request.workload.standalone)
                depot.add_pair(high, low, pairs, codec, alone, dedup=once, threads=threads)
                return
            for model in (high, low):
                coder = self.request.system.coder(model, units(model, self.request.granularity), None)
                depot.add(model, coder, self.request.granularity, dedup=once, threads=threads)

        scales = {pair.scales for pair in pairs if pair.scales}
        folder, plan = self.task.workdir / DEPOT, self.request.measure
        return measure_pair(high, low, scales, store, folder, plan, self.task.progress)

    def _measure(
        self,
        said: str,
        todo: Sequence[NamedUnit],
        coder_of: Callable[[str], Coder],
        prepare: Callable[[str], None] | None = None,
    ) -> Measurement:
        measurement = measure_units(
            coder_of(todo[0].key),
            todo,
            self.request.measure,
            coder_of=coder_of,
            references=prepare,
            progress=lambda _, done, total, unit: self.task.progress(said, done, total, unit),
            yardstick=not self.request.measure.single_round,
        )
        require_kept(measurement)
        return measurement


def pair_codec(system: System) -> PairCodec | None:
    """Return the pair codec that is asked for, None for what codes each file by itself."""
    plain = isinstance(system, PlainSystem) and isinstance(system.codec, PairCodec)
    return system.codec if plain else None  # type: ignore[attr-defined]


def _either(pairs: Coder, keys: Mapping[str, PairOf], alone: Coder) -> Callable[[str], Coder]:
    return lambda key: pairs if key in keys else alone


def _tensor_bytes(model: Model) -> int:
    return sum(info.nbytes for info in model.tensors.values())


def _for_bytes(speed: dict[str, Any], nbytes: int) -> dict[str, Any]:
    """Return speeds for all bytes that were coded: of a pair, the loop has counted one tensor."""
    factor = nbytes / speed["original_bytes"] if speed["original_bytes"] else 1.0
    if factor == 1.0:
        return speed
    for operation in ("encode", "decode"):
        for rate in ("mb_per_s", "share_of_memcpy_fresh", "share_of_memcpy_reused"):
            if speed[operation] and speed[operation][rate]:
                speed[operation][rate] = _scaled(speed[operation][rate], factor)
    return {**speed, "original_bytes": nbytes}


def _scaled(summary: dict[str, Any], factor: float) -> dict[str, Any]:
    return {name: value * factor if isinstance(value, float) else value for name, value in summary.items()}


def _seconds(measurement: Measurement, model: Model) -> float:
    """Return the sum of the median times of decoding the units of one model."""
    prefix = unit_name(model, "")
    return sum(unit.decode_seconds for unit in measurement.units if unit.key.startswith(prefix))
