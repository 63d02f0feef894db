"""Units under names that are unique among several models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from weightbench.granularity import Granularity, Unit, units
from weightbench.models import Model
from weightbench.models.model import Array

__all__ = ["NamedUnit", "named_units", "unit_name"]


def unit_name(model: Model, key: str) -> str:
    """Return the name of a unit among those of several models."""
    return f"{model.name}:{key}"


@dataclass(frozen=True, slots=True)
class NamedUnit:
    """A unit and its name among those of several models."""

    key: str
    unit: Unit

    def array(self) -> Array:
        """Return what a codec codes."""
        return self.unit.array()


def named_units(model: Model, granularity: Granularity) -> Iterator[NamedUnit]:
    """Yield the units of a model under their names."""
    for unit in units(model, granularity):
        yield NamedUnit(unit_name(model, unit.key), unit)
