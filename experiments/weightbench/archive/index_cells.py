"""What a cell of an index may be. Everything in an index is checked before anything is used."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

from weightcodecs import FORMATS

from .errors import CorruptArchiveError

__all__ = [
    "LARGEST",
    "is_count",
    "is_digest",
    "is_file_name",
    "is_flag",
    "is_format",
    "is_shape",
    "is_text",
    "rows",
    "sound",
    "whole",
]

LARGEST = 1 << 62
MAX_DIMENSIONS = 64  # NumPy's limit


def sound(holds: bool, what: str) -> None:
    """Raise `CorruptArchiveError` unless something holds."""
    if not holds:
        raise CorruptArchiveError(f"the index is not sound: {what}")


def whole(value: Any) -> int:
    """Return a value that must be a count."""
    sound(type(value) is int and 0 <= value < LARGEST, f"{str(value)[:40]!r} should be a count")
    return int(value)


def rows(value: Any, *kinds: Callable[[Any], bool], optional: int = 0) -> list[list[Any]]:
    """Return rows whose cells pass the tests in `kinds`; the last `optional` cells may be missing."""
    sound(isinstance(value, list), "a table is not a list")
    for row in value:
        sound(isinstance(row, list) and len(kinds) - optional <= len(row) <= len(kinds), "a row's length")
        sound(all(kind(cell) for kind, cell in zip(kinds, row, strict=False)), "a cell's type")
    return list(value)


def is_text(value: Any) -> bool:
    """Whether a cell is text that can be written again."""
    return isinstance(value, str)


def is_count(value: Any) -> bool:
    """Whether a cell is a count."""
    return type(value) is int and 0 <= value < LARGEST


def is_format(value: Any) -> bool:
    """Whether a cell names a number format."""
    return isinstance(value, str) and value in FORMATS


def is_shape(value: Any) -> bool:
    """Whether a cell is the shape of an array."""
    return isinstance(value, list) and len(value) <= MAX_DIMENSIONS and all(map(is_count, value))


def is_digest(value: Any) -> bool:
    """Whether a cell is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set(string.hexdigits)


def is_flag(value: Any) -> bool:
    """Whether a cell is true or false."""
    return isinstance(value, bool)


def is_file_name(value: Any) -> bool:
    """Whether a file name stays inside of the folder that it is unpacked to, on any system."""
    return (
        isinstance(value, str)
        and all(part not in ("", ".", "..") for part in value.split("/"))
        and value.isprintable()
        and "\\" not in value
        and value[1:2] != ":"  # a drive's letter
    )
