"""The errors of weightcodecs: few, typed, and each says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self

__all__ = [
    "ConfigError",
    "CorruptBlobError",
    "MissingExtraError",
    "UnknownNameError",
    "UnsupportedFormatError",
    "WeightCodecsError",
    "WrongReferenceError",
    "nearest_names",
]


class WeightCodecsError(Exception):
    """Base of every error that this package raises on purpose."""


class CorruptBlobError(WeightCodecsError):
    """The blob is cut short, altered, or was not written by this codec."""


class WrongReferenceError(WeightCodecsError):
    """A delta codec was given no base tensor, or another one than the blob was made with."""


class UnsupportedFormatError(WeightCodecsError):
    """The codec does not take arrays of this number format."""


class ConfigError(WeightCodecsError):
    """A codec's configuration is not valid."""


class MissingExtraError(WeightCodecsError):
    """An optional package is not installed; the message has the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed; run: pip install -c constraints.txt -e '.[{extra}]'")
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.what, self.extra)


class UnknownNameError(WeightCodecsError):
    """No such name; `nearest` holds the valid names closest to it."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        self.kind, self.name, self.known = kind, name, names
        self.nearest = nearest_names(name, names)
        hint = f"did you mean {' or '.join(map(repr, self.nearest))}?" if self.nearest else ""
        listing = f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint or listing}")

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, list[str]]]:
        return type(self), (self.kind, self.name, self.known)


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of the `known` names, most alike first."""
    return difflib.get_close_matches(name.lower(), sorted(known), n=count, cutoff=0.5)
