"""dedup: equal units once, and nothing else done to them: what finding equal content saves by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from weightbench.granularity import Unit
from weightbench.lineage import BaseValues
from weightbench.models.model import Model
from weightcodecs import get_codec

from .plain import PlainCoder
from .system import System

__all__ = ["DedupOnly"]


@dataclass(frozen=True)
class DedupOnly(System):
    """Units as they are, those with equal content kept once. Granularity says what a unit is."""

    dedup: ClassVar[bool | None] = True

    @property
    def name(self) -> str:
        """Name of the system."""
        return "dedup"

    def coder(self, model: Model, units: Iterable[Unit], base: BaseValues | None) -> PlainCoder:
        """Return the codec that changes nothing."""
        return PlainCoder(self, get_codec("identity"), None)
