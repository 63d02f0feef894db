"""The errors of depots. Those of reading a damaged one are archives' own, too."""

from __future__ import annotations

from collections.abc import Iterable

from weightbench.archive import ArchiveError, CorruptArchiveError
from weightcodecs.errors import nearest_names

__all__ = [
    "CorruptDepotError",
    "DepotError",
    "DepotLockedError",
    "NoSuchModelError",
    "UnfitBaseError",
]


class DepotError(ArchiveError):
    """A depot could not be made, opened or changed."""


class CorruptDepotError(CorruptArchiveError, DepotError):
    """A file of the depot is missing, cut short, altered, or contradicts another one."""


class DepotLockedError(DepotError):
    """Somebody else is writing; `holder` says who, as far as that is known."""

    def __init__(self, path: object, holder: str) -> None:
        super().__init__(f"{path} is being written to by {holder}; wait until that has ended")
        self.holder = holder


class NoSuchModelError(DepotError):
    """The depot has no model of this name; `nearest` holds the names closest to it."""

    def __init__(self, path: object, name: str, known: Iterable[str]) -> None:
        self.name, self.nearest = name, nearest_names(name, known)
        hint = f"; did you mean {' or '.join(map(repr, self.nearest))}?" if self.nearest else ""
        super().__init__(f"{path} has no model {name!r}{hint}")


class UnfitBaseError(DepotError):
    """The base cannot be coded against: it was coded against another model, or does not come back exactly."""
