"""Checking that a dataclass's values have the types its fields declare, with messages a user can act on.

Configuration comes from YAML and command lines, where nothing else would notice "3" for 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["describe", "first_misfit", "fits"]


def first_misfit(instance: Any) -> str | None:
    """Return "name must be …, not …" for the first field whose value has a wrong type, or None."""
    types = _types(instance.__class__)
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if not fits(value, types[field.name]):
            return f"{field.name} must be {describe(types[field.name])}, not {value!r}"
    return None


@cache  # a codec is made for each blob that is decoded
def _types(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def fits(value: object, wanted: Any) -> bool:
    """Whether `value` has the annotated type `wanted`: plain types, literals, unions, sequences."""
    origin, options = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in options)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in options)
    if origin is not None:
        kind = tuple if origin is tuple else Sequence
        inside = isinstance(value, kind) and not isinstance(value, str)
        return inside and all(fits(item, options[0]) for item in value)  # type: ignore[attr-defined]
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, (int, float) if wanted is float else wanted)


def describe(wanted: Any) -> str:
    """Name a type in words."""
    origin, options = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return " or ".join(map(repr, options))
    if origin in (Union, UnionType):
        return " or ".join(describe(option) for option in options)
    if origin is not None:
        return f"a list of {describe(options[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
    return names.get(wanted, str(wanted))
