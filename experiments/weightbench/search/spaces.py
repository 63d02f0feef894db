"""Options that only some codecs have: what ``spaces`` says for the codec of a trial is suggested with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from weightbench.errors import WeightbenchError

__all__ = ["BadSpaceError", "spaces_of", "suggest"]


class BadSpaceError(WeightbenchError):
    """`spaces` is not codecs with options and what these may be."""


def spaces_of(config: DictConfig) -> dict[str, dict[str, str]]:
    """Return `spaces` as codec → option → sweep in Hydra's words (``tag(log, interval(1e-6, 1e-2))``).

    Raises:
        BadSpaceError: it is something else.
    """
    told: Any = OmegaConf.to_container(config.spaces, resolve=True)
    for codec, space in told.items():
        if not isinstance(space, Mapping) or not space:
            raise BadSpaceError(
                f"spaces.{codec} must say what its options may be, such as "
                "{codec.level: range(1, 10)}, not " + repr(space)
            )
    return {
        str(codec): {str(key): str(value) for key, value in space.items()} for codec, space in told.items()
    }


def suggest(config: DictConfig, trial: Any) -> None:
    """Let a trial choose the options that `spaces` has for its codec; Optuna's sweeper calls this.

    Args:
        config: composed for the whole sweep.
        trial: of Optuna, with what is searched for all codecs chosen already.

    Raises:
        BadSpaceError: an option of `spaces` is no sweep.
    """
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    spaces = spaces_of(config)
    codec = trial.params.get("codec", config.codec.get("name"))
    space = spaces.get(str(codec), {})
    words = [f"{key}={value}" for key, value in space.items() if key not in trial.user_attrs]
    chosen, fixed = create_params_from_overrides(words)
    if fixed:
        key, value = next(iter(fixed.items()))
        raise BadSpaceError(
            f"spaces.{codec}: {key} has one value only, {value}; give a choice(…), range(…) or interval(…)"
        )
    for name, distribution in chosen.items():
        trial._suggest(name, distribution)
