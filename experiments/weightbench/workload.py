"""Workloads: what has to be stored together, and what "raw" means.

- single: one checkpoint.
- family: one base model and its fine-tunes, the lineage known.
- pair: a checkpoint and its quantised version.
- hub: many repositories, the lineage not given.

The papers compare ways of storing such sets: FM-Delta families, ZipLLM a hub, QStore pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from weightbench.errors import WeightbenchError
from weightbench.lineage import Lineage, Parent, infer
from weightbench.models import LocalSource, Model, ModelSource, ZooSource
from weightbench.models.local import PATTERNS
from weightcodecs.errors import UnknownNameError

__all__ = [
    "KINDS",
    "ModelSet",
    "WorkloadError",
    "WorkloadPlan",
    "model_set",
    "relatives",
    "repositories",
    "revision_of",
]

KINDS = ("single", "family", "pair", "hub")
LINEAGES = ("declared", "distance", "none")


class WorkloadError(WeightbenchError):
    """The models do not make the set that was asked for."""


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """What is stored together, apart from the models themselves.

    Attributes:
        kind: see the module's docstring.
        lineage: family and hub: "declared" believes what is given or stands in model cards, where the bits do
            not contradict it, and measures the rest; "distance" measures all; "none" keeps every model by
            itself.
        standalone: name of the codec for what has no base, where the codec is a delta codec; and for tensors
            without a partner in a pair.
        low: pair: "int8" or "nf4" (made by our quantiser, when the member list is empty).

    Raises:
        UnknownNameError: a value is none of those above.
    """

    kind: Literal["single", "family", "pair", "hub"] = "single"
    lineage: Literal["declared", "distance", "none"] = "declared"
    standalone: str = "zipnn"
    low: Literal["int8", "nf4"] = "int8"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("workload", self.kind, KINDS),
            ("lineage", self.lineage, LINEAGES),
            ("low", self.low, ("int8", "nf4")),
        ):
            if value not in known:
                raise UnknownNameError(what, str(value), known)

    def settings(self, members: Sequence[str]) -> dict[str, Any]:
        """Return what belongs to a cell's identity, in plain values.

        Args:
            members: names of the models beside the first one.
        """
        said: dict[str, Any] = {"kind": self.kind}
        if self.kind != "single":
            said |= {"members": list(members), "standalone": self.standalone}
        if self.is_set:
            said["lineage"] = self.lineage
        if self.kind == "pair" and not members:
            said["low"] = self.low
        return said

    @property
    def is_set(self) -> bool:
        """Whether there may be several models with a base among them."""
        return self.kind in ("family", "hub")


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Models that are stored together.

    Attributes:
        models: those that others refer to first, otherwise in the order given.
        lineage: what each was made from.
    """

    models: tuple[Model, ...]
    lineage: Lineage

    def base_of(self, model: Model) -> Model | None:
        """Return the model that `model` is coded against, or None."""
        base = self.lineage[model.name].base
        return next((other for other in self.models if other.name == base), None)


def model_set(plan: WorkloadPlan, models: Sequence[Model]) -> ModelSet:
    """Order models so that each stands behind its base.

    Raises:
        WorkloadError: two models share a name; or a family has more than one root, or none but one model.
    """
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WorkloadError(f"two models of the set are called {twice!r}; give them names of their own")
    lineage = _alone(models) if plan.lineage == "none" else infer(models, declared=plan.lineage == "declared")
    roots = [model for model in models if lineage[model.name].base is None]
    if plan.kind == "family":
        _require_family(roots, models)
    children = [model for model in models if lineage[model.name].base is not None]
    return ModelSet((*roots, *children), lineage)


def _alone(models: Sequence[Model]) -> Lineage:
    return Lineage({model.name: Parent(None, "none", None, "lineage=none") for model in models}, {})


def _require_family(roots: Sequence[Model], models: Sequence[Model]) -> None:
    if len(models) < 2:
        raise WorkloadError(
            "a family is a base and at least one fine-tune; name others with workload.members=[…]"
        )
    if len(roots) != 1:
        names = ", ".join(repr(model.name) for model in roots)
        raise WorkloadError(
            f"a family has one base; these have none here: {names}; workload=hub takes strangers"
        )


def relatives(source: ModelSource) -> list[ModelSource]:
    """Return the bundled models of the same family as a bundled one; for others there is nothing to know."""
    if not isinstance(source, ZooSource):
        return []
    from weightbench.zoo import ZOO  # data only

    root = ZOO[source.name].base or source.name if source.name in ZOO else source.name
    return [
        ZooSource(name) for name, entry in ZOO.items() if root in (name, entry.base) and name != source.name
    ]


def repositories(source: ModelSource) -> list[LocalSource]:
    """Return the folders with weights below a folder that has none itself, named by their path in it."""
    if not isinstance(source, LocalSource):
        return []
    root = Path(source.path).expanduser()
    if not root.is_dir() or _holds_weights(root):
        return []
    folders = sorted(path for path in root.rglob("*") if path.is_dir() and _holds_weights(path))
    return [LocalSource(str(path), name=path.relative_to(root).as_posix()) for path in folders]


def _holds_weights(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in PATTERNS)


def revision_of(models: Iterable[Model]) -> str:
    """Return the identity of a set's content: of one model its own, of several that of all."""
    revisions = [model.revision() for model in models]
    if len(revisions) == 1:
        return revisions[0]
    return "set:" + hashlib.sha256("\n".join(revisions).encode()).hexdigest()
