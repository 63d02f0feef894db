"""The one place that sets what torch, transformers, datasets and lm-eval read from their surroundings.

`quiet_session` fixes threads and seeds and silences progress bars and loggers of the libraries (ours is the
`progress` callback); `offline` forbids every look at the hub. Offline is only for tasks that ship with us or
lie in the user's folder: huggingface_hub and datasets read HF_HUB_OFFLINE and HF_DATASETS_OFFLINE when they
are first imported, so the variables are set before that, and, for a process that imported them earlier, the
constants that the variables became. Everything is put back afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["offline", "quiet_session", "without_bars"]

_LOGGERS = ("lm_eval", "lm-eval", "transformers", "datasets", "huggingface_hub")
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_OFFLINE_CONSTANTS = (
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_DATASETS_OFFLINE"),
)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Within it, the Hugging Face libraries look at nothing but this machine."""
    asked = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    imported = {module for module, _ in _OFFLINE_CONSTANTS if module in sys.modules}
    with contextlib.ExitStack() as stack:
        for variable in _OFFLINE_VARIABLES:
            stack.enter_context(_environment(variable, "1"))
        for module, constant in _OFFLINE_CONSTANTS:
            if module in imported:
                stack.enter_context(_attribute(sys.modules[module], constant, True))
        try:
            yield
        finally:
            # What was imported inside froze the constant at offline: back to the user's environment.
            for module, constant in _OFFLINE_CONSTANTS:
                if module in sys.modules and module not in imported:
                    setattr(sys.modules[module], constant, asked)


@contextlib.contextmanager
def quiet_session(threads: int, seed: int) -> Iterator[None]:
    """Fix threads and seeds, and keep the libraries' bars and loggers off the screen."""
    with contextlib.ExitStack() as stack:
        # Forked data-set workers make the tokenizers library print advice otherwise.
        stack.enter_context(_environment("TOKENIZERS_PARALLELISM", "false"))
        import torch
        import transformers  # noqa: F401 - sets the level of its logger when first imported, so before ours

        for name in _LOGGERS:
            stack.enter_context(_level(name, logging.ERROR))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        stack.callback(torch.set_num_threads, before)
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Within it, lm-eval and datasets draw no progress bars. Imports both."""
    import datasets
    import lm_eval.evaluator
    import lm_eval.models.huggingface  # noqa: F401 - and with it every module of lm-eval that draws bars

    with contextlib.ExitStack() as stack:
        for name in _LOGGERS:  # again: importing the libraries set their own levels
            stack.enter_context(_level(name, logging.ERROR))
        for name, module in list(sys.modules.items()):
            if name.startswith("lm_eval.") and hasattr(module, "tqdm"):
                stack.enter_context(_attribute(module, "tqdm", _silent(module.tqdm)))
        if not datasets.are_progress_bars_disabled():
            datasets.disable_progress_bars()
            stack.callback(datasets.enable_progress_bars)
        yield


def _silent(bar: Callable[..., Any]) -> Callable[..., Any]:
    """Return a progress bar that draws nothing, whatever its caller says about `disable`."""

    def build(*args: Any, **kwargs: Any) -> Any:
        return bar(*args, **{**kwargs, "disable": True})

    return build


@contextlib.contextmanager
def _environment(variable: str, value: str) -> Iterator[None]:
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


@contextlib.contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _level(name: str, level: int) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
