"""Probes: ordinary cells of the store that differ in one option of the codec, and the answer they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from weightbench.command import run_requested
from weightbench.errors import WeightbenchError
from weightbench.loss import Judgement, Loss, judge, loss_of, units_of
from weightbench.models import Model
from weightbench.request import Request, open_requested, request_of
from weightbench.rows import Row, Status, codec_title, done
from weightbench.store import Store, identity
from weightbench.tuning.knobs import Knob, grid, knob_of
from weightbench.tuning.plan import Scalar, TunePlan
from weightbench.tuning.search import Search, most_lossy_within, try_all
from weightbench.workload import revision_of
from weightcodecs import get_format
from weightcodecs.errors import ConfigError

__all__ = ["NotTunableError", "Probe", "Tuning", "tune"]

RunCell = Callable[[Request, Mapping[str, Any], Mapping[str, Any], Store], Row]


class NotTunableError(WeightbenchError):
    """The codec does not take the model, or nothing can be said about the budget."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One value that was tried.

    Attributes:
        value: of the codec's option.
        row: identity of its cell.
        status, reason: of the row.
        judgement: within, unclear (the interval holds the budget), beyond, or failed.
        loss: None if the cell failed.
        ratio, stored_bytes: None if the cell failed.
    """

    value: Scalar | None
    row: str
    status: str
    reason: str
    judgement: Judgement
    loss: Loss | None = None
    ratio: float | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """The answer for one codec on one model.

    Attributes:
        cell: of the probes, the codec's option left out.
        plan: what was asked.
        knob: what was turned.
        ordered: whether the values have an order, so that they were bisected.
        values: the grid.
        refused: values of the grid that the codec refuses for this model, with the reason.
        probes: in the order of the values.
        best: the most lossy probe within the budget (without an order: the smallest one), or None.
        above: values above one that is not within which are within all the same.
    """

    cell: Mapping[str, Any]
    plan: TunePlan
    knob: Knob
    ordered: bool
    values: tuple[Scalar | None, ...]
    refused: Mapping[str, str]
    probes: tuple[Probe, ...]
    best: Probe | None
    above: tuple[Scalar | None, ...]

    @property
    def codec(self) -> str:
        """The codec in a few words."""
        return codec_title(self.cell["codec"])

    @property
    def id(self) -> str:
        """Identity of the question: the cell without the option, the plan, and the values that were left."""
        return identity({"cell": self.cell, "tune": self.plan.settings(), "values": list(self.values)})

    @property
    def unsteady(self) -> tuple[tuple[Scalar | None, Scalar | None], ...]:
        """Neighbouring probes of an ordered grid whose loss falls although the second is more lossy."""
        if not self.ordered:
            return ()
        measured = [(probe.value, probe.loss.value) for probe in self.probes if probe.loss is not None]
        pairs = pairwise(measured)
        return tuple((first, second) for (first, a), (second, b) in pairs if b < a)

    def plain(self) -> dict[str, Any]:
        """Return everything in plain values, for JSON and for the picture."""
        best = None if self.best is None else _plain(self.best)
        return {
            "id": self.id,
            "cell": dict(self.cell),
            "codec": self.codec,
            "model": self.cell["model"]["name"],
            "tune": self.plan.settings(),
            "units": units_of(self.plan.metric),
            "parameter": self.knob.parameter,
            "kind": self.knob.kind,
            "ordered": self.ordered,
            "values": list(self.values),
            "refused": dict(self.refused),
            "probes": [_plain(probe) for probe in self.probes],
            "best": best,
            "within_beyond_the_answer": list(self.above),
            "loss_falls_between": [list(pair) for pair in self.unsteady],
        }


def _plain(probe: Probe) -> dict[str, Any]:
    loss = probe.loss
    said = {"value": loss.value, "low": loss.low, "high": loss.high} if loss else None
    return {
        "value": probe.value,
        "row": probe.row,
        "status": probe.status,
        "reason": probe.reason,
        "judgement": probe.judgement,
        "loss": said,
        "ratio": probe.ratio,
        "stored_bytes": probe.stored_bytes,
    }


def tune(
    config: Mapping[str, Any],
    plan: TunePlan,
    *,
    run_cell: RunCell = run_requested,
    told: Callable[[Probe], None] | None = None,
) -> Tuning:
    """Find the most lossy value of a codec's option whose loss is within the budget.

    Args:
        config: a composed configuration, plain values; the option's own value in it does not matter.
        plan: metric, budget, values.
        run_cell: gives the row of a cell, running it if it must.
        told: told of each probe, those that were in the store too.

    Raises:
        NotTunableError: the codec takes none of the model's float formats, or the evaluation cannot say.
        ConfigError: codec and plan do not go together.
        NoMetricError: the evaluation has not the metric.
    """
    line = _Line(config, plan, run_cell, told or (lambda _: None))
    count = len(line.values)
    search: Search
    if line.ordered:
        search = most_lossy_within(count, line.judge, line.known(), plan.checks)
    else:
        search = try_all(count, line.judge, lambda at: line.probes[at].ratio or 0.0)
    return Tuning(
        cell=line.cell,
        plan=plan,
        knob=line.knob,
        ordered=line.ordered,
        values=line.values,
        refused=line.refused,
        probes=tuple(line.probes[at] for at in sorted(line.probes)),
        best=None if search.best is None else line.probes[search.best],
        above=tuple(line.values[at] for at in search.above),
    )


class _Line:
    """The values of one codec's option on one model, and what is known of each."""

    def __init__(
        self,
        config: Mapping[str, Any],
        plan: TunePlan,
        run_cell: RunCell,
        told: Callable[[Probe], None],
    ) -> None:
        self._config, self._plan, self._run_cell, self._told = config, plan, run_cell, told
        if config["workload"]["kind"] != "single":
            raise NotTunableError("tuning is about one model: workload=single")
        self.knob = knob_of(str(config["codec"]["name"]), plan)
        values, self.ordered = grid(self.knob, plan.steps)
        model = open_requested(request_of(config).model)
        self._model, self._revision = model, revision_of([model])
        self.refused: dict[str, str] = {}
        self._requests: list[tuple[Request, Mapping[str, Any]]] = []
        taken: list[Scalar | None] = []
        for value in values:
            configured = self._configured(value)
            try:
                request = request_of(configured)
                reason = _refusal(request, model)
            except (ConfigError, TypeError) as error:
                reason = str(error)
            if reason:
                self.refused[str(value)] = reason
                continue
            taken.append(value)
            self._requests.append((request, configured))
        if not taken:
            raise NotTunableError(f"{config['codec']['name']}: {next(iter(self.refused.values()))}")
        self.values = tuple(taken)
        self.store = Store(Path(self._requests[0][0].results))
        self.probes: dict[int, Probe] = {}
        cell = self._cell(0)
        codec = {key: said for key, said in cell["codec"].items() if key != self.knob.parameter}
        self.cell: dict[str, Any] = {**cell, "codec": codec}

    def known(self) -> dict[int, Judgement]:
        """Return what the store holds already; nothing if all shall run again."""
        if self._requests[0][0].force:
            return {}
        for at in range(len(self.values)):
            row = self.store.get(identity(self._cell(at)))
            if row is not None and done(row):
                self._take(at, row)
        return {at: probe.judgement for at, probe in self.probes.items()}

    def judge(self, at: int) -> Judgement:
        """Probe a value."""
        request, configured = self._requests[at]
        self._take(at, self._run_cell(request, configured, self._cell(at), self.store))
        return self.probes[at].judgement

    def _take(self, at: int, row: Row) -> None:
        self.probes[at] = _probe(self.values[at], row, self._plan)
        self._told(self.probes[at])

    def _cell(self, at: int) -> dict[str, Any]:
        return self._requests[at][0].cell([self._model.name], self._revision)

    def _configured(self, value: Scalar | None) -> dict[str, Any]:
        if self.knob.parameter is None:
            return dict(self._config)
        return {**self._config, "codec": {**self._config["codec"], self.knob.parameter: value}}


def _refusal(request: Request, model: Model) -> str | None:
    """Return why a codec takes none of a model's float formats, or None if it takes one."""
    formats = [get_format(name) for name in sorted({info.format for info in model.tensors.values()})]
    reasons = [request.system.unsupported(format) for format in formats if format.is_float]
    return None if not reasons or None in reasons else "; ".join(filter(None, reasons))


def _probe(value: Scalar | None, row: Row, plan: TunePlan) -> Probe:
    if row.status is Status.SKIPPED:
        raise NotTunableError(row.reason)
    if row.status is not Status.OK:
        return Probe(value, row.id, str(row.status), row.reason, "failed")
    result: Any = row.result
    loss = loss_of(plan.metric, result)
    sizes = result["sizes"]
    return Probe(
        value,
        row.id,
        str(row.status),
        "",
        judge(loss, plan.budget),
        loss,
        sizes["ratio"],
        sizes["stored_bytes"],
    )
