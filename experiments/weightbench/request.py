"""A request: what the user asked for, as frozen values, and the cell it stands for.

Hydra composes YAML and command line into plain values; `request_of` turns them into these dataclasses and
refuses what does not fit. The schema that Hydra checks against is made from the same dataclasses
(`register_schema`), so that a misspelt key or a wrong type is refused before anything runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from weightbench.canonical import plain
from weightbench.errors import WeightbenchError
from weightbench.evaluate import EvaluationPlan
from weightbench.granularity import Granularity
from weightbench.measure.plan import MeasurePlan
from weightbench.models import (
    HubSource,
    LocalSource,
    Model,
    ModelSource,
    SyntheticSource,
    WheelSource,
    ZooSource,
    cast,
    open_model,
)
from weightbench.systems import System, get_system_or_codec
from weightbench.workload import WorkloadPlan, relatives, repositories
from weightcodecs import FORMATS, UnknownNameError, get_codec
from weightcodecs.errors import nearest_names
from weightcodecs.typed_fields import first_misfit

__all__ = [
    "BadRequestError",
    "ModelRequest",
    "Request",
    "measure_plan",
    "model_request",
    "open_members",
    "open_requested",
    "register_schema",
    "request_of",
]

SOURCES: dict[str, type[Any]] = {
    "zoo": ZooSource,
    "local": LocalSource,
    "hub": HubSource,
    "wheel": WheelSource,
    "synthetic": SyntheticSource,
}
ON_ERROR = ("continue", "stop")
_MISSING = "???"  # OmegaConf's mark

T = TypeVar("T")


class BadRequestError(WeightbenchError):
    """The configuration asks for something that does not exist or does not fit; one line for the user."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Which weights.

    Attributes:
        source: where they come from.
        dtype: the float format to cast them to, or None for their own.
    """

    source: ModelSource
    dtype: str | None


@dataclass(frozen=True, slots=True)
class LimitsRequest:
    """What a cell may take: wall-clock seconds, and memory in GB (10^9 bytes; None: nine tenths of
    all, divided by the cells that a launcher runs side by side on one machine).

    Raises:
        ValueError: a limit is not above 0.
    """

    timeout_s: float = 3600.0
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("timeout_s", self.timeout_s), ("memory_gb", self.memory_gb)):
            if limit is not None and not limit > 0:
                raise ValueError(f"limits.{name} must be above 0, not {limit:g}")


@dataclass(frozen=True, slots=True)
class Request:
    """One cell to run, and how to run it.

    `system`, `model`, `members`, `workload`, `granularity`, `dedup`, `measure`, `evaluation` and
    `distributions` make up the cell; the rest says where results go and what a run may take, and is no part
    of the cell's identity.

    Attributes:
        system: what `codec=` names: a codec by itself, or a system.
        model: what `model=` names; in a set its first member.
        members: the other models of the workload.
        distributions: whether the row also says how the weights themselves are distributed; part of the cell.
        cores_per_cell: cores that no other cell has while this one runs, which it is put on; None: it shares.
        on_error: whether a sweep goes on after a cell that fails, or leaves the rest unrun.
        quiet_wait_s: seconds to wait before timings for a machine that nobody else uses.

    Raises:
        BadRequestError: `on_error` is neither; the cores do not fit `measure`.
    """

    system: System
    model: ModelRequest
    members: tuple[ModelRequest, ...]
    workload: WorkloadPlan
    granularity: Granularity
    dedup: bool
    measure: MeasurePlan
    evaluation: EvaluationPlan
    limits: LimitsRequest
    results: str
    force: bool
    dry_run: bool
    on_error: Literal["continue", "stop"] = "continue"
    cores_per_cell: int | None = None
    quiet_wait_s: float = 0.0
    distributions: bool = False

    def __post_init__(self) -> None:
        """Check what the schema cannot."""
        if self.on_error not in ON_ERROR:
            raise BadRequestError(str(UnknownNameError("on_error", self.on_error, ON_ERROR)))
        if not self.quiet_wait_s >= 0:
            raise BadRequestError(f"quiet_wait_s must not be negative, not {self.quiet_wait_s:g}")
        if self.cores_per_cell is None:
            return
        if self.cores_per_cell < max(1, self.measure.threads):
            threads = f"{self.measure.threads} thread{'s' * (self.measure.threads > 1)} (measure.threads)"
            raise BadRequestError(f"cores_per_cell={self.cores_per_cell} is too few for {threads}")
        if self.measure.pin_cores is not None:
            raise BadRequestError("measure.pin_cores and cores_per_cell both choose cores; give one of them")

    @property
    def keeps_once(self) -> bool:
        """Whether units with equal content are kept once: what the system demands, else what was asked."""
        return self.dedup if self.system.dedup is None else self.system.dedup

    def cell(self, names: Sequence[str], revision: str) -> dict[str, Any]:
        """Return the cell in plain values: its canonical JSON is its identity.

        Args:
            names: what the models are called that `open_members` returns.
            revision: identity of their content: `workload.revision_of`.
        """
        cell = {
            "codec": {"name": self.system.name, "version": self.system.version, **self.system.config()},
            "model": {"name": names[0], "revision": revision, "dtype": self.model.dtype},
            "workload": self.workload.settings(names[1:]),
            "granularity": asdict(self.granularity),
            "dedup": self.keeps_once,
            "measure": self.measure.settings(),
            "eval": self.evaluation.settings(),
            # Absent where not asked for: cells keep the identity they had before there was such a thing.
            **({"distributions": True} if self.distributions else {}),
        }
        return plain(cell, finite=True, where="cell")  # type: ignore[return-value]


_PARTS: dict[str, Any] = {
    "codec": dict[str, Any],
    "model": dict[str, Any],
    "workload": dict[str, Any],
    "granularity": Granularity,
    "measure": MeasurePlan,
    "eval": EvaluationPlan,
    "limits": LimitsRequest,
    "dedup": bool,
    "distributions": bool,
    "results": str,
    "force": bool,
    "dry_run": bool,
    "on_error": str,
    "cores_per_cell": int | None,
    "objectives": list[str],
    "spaces": dict[str, Any],
    "quiet_wait_s": float,
}
"""The top level of conf/config.yaml, and what each part must be."""


def request_of(config: Mapping[str, Any]) -> Request:
    """Turn a composed configuration into a request.

    Raises:
        BadRequestError: a value is of the wrong type, or names something that does not exist.
        WeightCodecsError: the codec's own refusal (unknown name, bad option, extra not installed).
    """
    _require_complete(config)
    codec, settings = dict(config["codec"]), dict(config["workload"])
    members = tuple(map(model_request, settings.pop("members", ())))
    workload = _build(WorkloadPlan, settings, "workload")
    standalone = get_codec(workload.standalone)
    return Request(
        system=get_system_or_codec(str(codec.pop("name", None)), alone=standalone, **codec),
        model=model_request(config["model"]),
        members=members,
        workload=workload,
        granularity=_build(Granularity, config["granularity"], "granularity"),
        dedup=config["dedup"],
        measure=measure_plan(config["measure"]),
        evaluation=_build(EvaluationPlan, config["eval"], "eval"),
        limits=_build(LimitsRequest, config["limits"], "limits"),
        results=config["results"],
        force=config["force"],
        dry_run=config["dry_run"],
        on_error=config["on_error"],
        cores_per_cell=config["cores_per_cell"],
        quiet_wait_s=config["quiet_wait_s"],
        distributions=config["distributions"],
    )


def measure_plan(config: Mapping[str, Any]) -> MeasurePlan:
    """Turn the resolved conf/measure group into a plan; raises `BadRequestError`."""
    return _build(MeasurePlan, config, "measure")


def _require_complete(config: Mapping[str, Any], where: str = "") -> None:
    """Refuse what the YAML leaves to the user (``???``), an empty results folder, and unknown parts."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            _require_complete(value, f"{where}{key}.")
        elif value == _MISSING:
            raise BadRequestError(f"{where}{key} is not given; add {where}{key}=…")
    if not where:
        if not config["results"]:
            raise BadRequestError("results is empty; name a folder: results=…")
        for key in config.keys() - _PARTS.keys():
            raise BadRequestError(f"the run has no option {key!r}; it has: {', '.join(_PARTS)}")


def open_requested(request: ModelRequest) -> Model:
    """Open a model, cast if another float format is asked for; raises `ModelError`."""
    model = open_model(request.source)
    return cast(model, request.dtype) if request.dtype else model


def open_members(request: Request) -> list[Model]:
    """Open all models of a request's workload, that of `model=` first.

    In a family or hub, `model=` may name a folder of repositories, which are then the members; and a bundled
    model brings its bundled relatives if no members are named. Members without a dtype of their own are cast
    to that of `model=`.

    Raises:
        ModelError: one of them cannot be opened.
    """
    first, members = request.model, list(request.members)
    if request.workload.is_set:
        if found := repositories(first.source):
            first, *others = [ModelRequest(source, first.dtype) for source in found]
            members = [*others, *members]
        elif not members:
            members = [ModelRequest(source, None) for source in relatives(first.source)]
    dtype = request.model.dtype
    return [
        open_requested(member if member.dtype or not dtype else ModelRequest(member.source, dtype))
        for member in (first, *members)
    ]


def model_request(config: Mapping[str, Any]) -> ModelRequest:
    """Turn the resolved conf/model group into a source; raises `BadRequestError`."""
    config = dict(config)
    kind = config.pop("kind", None)
    if kind not in SOURCES:
        raise BadRequestError(str(UnknownNameError("kind of model", str(kind), SOURCES)))
    dtype = config.get("dtype") if kind == "synthetic" else config.pop("dtype", None)
    floats = [name for name, format in FORMATS.items() if format.is_float]
    if dtype is not None and dtype not in floats:
        raise BadRequestError(str(UnknownNameError("dtype", str(dtype), floats)))
    source = _build(SOURCES[kind], config, "model")
    return ModelRequest(source, None if kind == "synthetic" else dtype)


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from plain values, with lists turned to tuples and every type checked."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = nearest_names(key, fields)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(fields)}"
            raise BadRequestError(f"{where} has no option {key!r}; {hint}")
    try:
        made = cls(**{key: _frozen(value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        said = str(error)
        raise BadRequestError(said if said.startswith(where) else f"{where}: {said}") from None
    if misfit := first_misfit(made):
        raise BadRequestError(f"{where}.{misfit}")
    return made


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def register_schema() -> None:
    """Register the schema of conf/config.yaml with Hydra's ConfigStore under the name ``request``."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("request", _SCHEMAS["RequestSchema"])


def _schemas() -> dict[str, type[Any]]:
    """Return the schemas by their names, that of the whole and those of its parts."""
    made: dict[str, type[Any]] = {}
    whole: list[tuple[str, Any]] = []
    for name, kind in _PARTS.items():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            kind = made.setdefault(f"{kind.__name__}Schema", _schema(kind))
        whole.append((name, kind))
    return {**made, "RequestSchema": dataclasses.make_dataclass("RequestSchema", whole)}


def _schema(cls: type[Any]) -> type[Any]:
    """Return a dataclass with the fields of `cls` in types that OmegaConf knows, and the same defaults."""
    types = get_type_hints(cls)
    made = [
        (f.name, _omegaconf_type(types[f.name]), _omegaconf_default(f.default))
        for f in dataclasses.fields(cls)
    ]
    return dataclasses.make_dataclass(f"{cls.__name__}Schema", made)


def _omegaconf_default(default: Any) -> Any:
    return (
        field(default_factory=partial(list, default))
        if isinstance(default, tuple)
        else field(default=default)
    )


def _omegaconf_type(wanted: Any) -> Any:
    origin, options = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return str
    if origin is tuple:
        return list[options[0]]  # type: ignore[valid-type]
    if origin in (Union, UnionType):
        return _omegaconf_type(options[0]) | None
    return wanted


_SCHEMAS = _schemas()
# Launchers send them to other processes: found by name there, as a copy of a dataclass is not one.
for _schema_name, _made in _SCHEMAS.items():
    _made.__module__, globals()[_schema_name] = __name__, _made
