"""The target of a cell's child process: the workload says what kind of cell it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightbench.cells.pair import PairCell, pair_codec
from weightbench.cells.sections import draw
from weightbench.cells.set import SetCell
from weightbench.cells.single import SingleCell
from weightbench.errors import Skip
from weightbench.granularity import units
from weightbench.models import Model
from weightbench.request import Request, open_members, request_of
from weightbench.runner import Task
from weightbench.workload import WorkloadError, revision_of

__all__ = ["run"]


def run(argument: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Run the cell that a composed configuration describes.

    Returns:
        ``result``, ``tensors`` and ``artifacts`` of the row, see docs/results.md.

    Raises:
        Skip: system and workload do not go together, or none of the models' float formats is taken.
        Violated: what came back is not what the codec promises.
    """
    request = request_of(argument)
    models = open_members(request)
    try:
        result, tensors = _cell(request, models, task).run()
    except WorkloadError as error:
        raise Skip(str(error)) from error
    cell = request.cell([model.name for model in models], revision_of(models))
    artifacts, result["picture_error"] = draw(result, tensors, cell, task)
    return {"result": result, "tensors": tensors, "artifacts": artifacts}


def _cell(request: Request, models: Sequence[Model], task: Task) -> SingleCell | SetCell | PairCell:
    system, kind = request.system, request.workload.kind
    if kind == "pair":
        return PairCell(request, models, task)
    if pair_codec(system) is not None:
        raise Skip(f"{system.name} codes a checkpoint with its quantised version: workload=pair")
    if kind == "single":
        if system.needs_base:
            raise Skip(f"{system.name} codes a model against its base: workload=family or workload=hub")
        model = models[0]
        coder = system.coder(model, units(model, request.granularity), None)
        return SingleCell(request, model, coder, task)
    return SetCell(request, models, task)
