"""Which systems there are."""

from __future__ import annotations

import dataclasses
from typing import Any

from weightcodecs import Codec, ConfigError, UnknownNameError, get_codec, list_codecs
from weightcodecs.errors import nearest_names

from .dedup_only import DedupOnly
from .elves import Elves
from .plain import PlainSystem
from .system import System
from .zipllm import ZipLlm

__all__ = ["SYSTEMS", "get_system", "get_system_or_codec"]

SYSTEMS: dict[str, type[System]] = {"dedup": DedupOnly, "elves": Elves, "zipllm": ZipLlm}
"""Systems by name; every codec is one too, see `PlainSystem`."""


def get_system(name: str, **config: Any) -> System:
    """Return a configured system.

    Raises:
        UnknownNameError: there is none of this name; has the nearest names.
        ConfigError: an unknown option or a bad value.
    """
    if name not in SYSTEMS:
        raise UnknownNameError("system", name, SYSTEMS)
    options = [field.name for field in dataclasses.fields(SYSTEMS[name])]
    for option in config:
        if option not in options:
            near = nearest_names(option, options)
            raise ConfigError(
                f"system {name!r} has no option {option!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(options) or 'none'}")
            )
    return SYSTEMS[name](**config)


def get_system_or_codec(name: str, *, alone: Codec | None = None, **config: Any) -> System:
    """Return the system of this name, or the codec of this name as a system.

    Args:
        name: of a system or a codec.
        alone: codes what has no base, if `name` is a delta codec; by default zipnn. Nothing else looks at it.
        config: options of the system or codec.

    Raises:
        UnknownNameError: there is neither; has the nearest names of both.
        ConfigError: an unknown option, a bad value, or `alone` is not lossless.
        MissingExtraError: the codec needs a package that is not installed.
    """
    if name in SYSTEMS:
        return get_system(name, **config)
    known = list_codecs()
    if name not in known:
        raise UnknownNameError("codec", name, [*known, *SYSTEMS])
    codec = get_codec(name, **config)
    return PlainSystem(codec, (alone or get_codec("zipnn")) if codec.needs_reference else None)
