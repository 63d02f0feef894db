"""What a search asks, and the file that keeps it: ``results/searches/<id>.json``."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from weightbench import canonical
from weightbench.errors import StoreError
from weightbench.objectives import Objective, objectives_named
from weightbench.search.spaces import spaces_of
from weightbench.store import store_error, write_atomically

__all__ = ["FOLDER", "Question", "kept", "question_of", "write"]

FOLDER = "searches"
# How a search is run is no part of what it asks.
_HOW = ("results", "force", "dry_run", "on_error", "limits", "cores_per_cell")


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched.

    Attributes:
        id: identity of all below and of the configuration that all trials share.
        root: results folder, absolute.
        objectives: what is weighed against each other.
        space: options and what they may be, in Hydra's words.
        spaces: the same for single codecs.
        fixed: keys that the command line sets for all trials.
    """

    id: str
    root: Path
    objectives: tuple[Objective, ...]
    space: Mapping[str, str]
    spaces: Mapping[str, Mapping[str, str]]
    fixed: frozenset[str]

    @property
    def path(self) -> Path:
        """The file that keeps it."""
        return self.root / FOLDER / f"{self.id}.json"


def question_of(config: DictConfig) -> Question:
    """Return what a sweep asks whose sweeper is Optuna's.

    Args:
        config: composed for the whole sweep, Hydra's part included.

    Raises:
        BadObjectiveError, BadSpaceError: it asks for what there is not.
        HydraException: an override cannot be read.
    """
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    space: dict[str, str] = {}
    fixed: set[str] = set()
    for override in OverridesParser.create().parse_overrides(words):
        key = override.get_key_element()
        space.pop(key, None)  # the later word counts
        if override.is_sweep_override():
            space[key] = str(override.input_line).partition("=")[2]
        else:
            fixed.add(key)
    objectives = objectives_named(config.objectives)
    spaces = spaces_of(config)
    shared = [str(key) for key in config if key not in ("hydra", *_HOW)]
    asked = {
        "config": OmegaConf.to_container(OmegaConf.masked_copy(config, shared), resolve=True),
        "space": space,
        "spaces": spaces,
    }
    root = Path(str(config.results)).absolute()
    return Question(canonical.identity(asked), root, objectives, space, spaces, frozenset(fixed))


@contextmanager
def kept(question: Question) -> Iterator[dict[str, Any]]:
    """Give what the file says, or an empty beginning, and keep other searches off it within the block.

    Raises:
        StoreError: the folder cannot be written or the file not be read.
    """
    path = question.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield _read(path)
    except OSError as error:
        raise store_error(error, f"{path} could not be kept") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        said = canonical.loads(path.read_bytes())
    except FileNotFoundError:
        return {"runs": [], "trials": []}
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): delete it and run the search again") from error
    if not isinstance(said, dict) or not {"runs", "trials"} <= said.keys():
        raise StoreError(f"{path} is no search: delete it and run the search again")
    return said


def write(question: Question, said: Mapping[str, Any]) -> None:
    """Write the file, within `kept`; raises OSError."""
    objectives = [
        {"name": each.name, "label": each.label, "larger_is_better": each.larger_is_better}
        for each in question.objectives
    ]
    head = {
        "id": question.id,
        "objectives": objectives,
        "space": dict(question.space),
        "spaces": {codec: dict(space) for codec, space in question.spaces.items()},
    }
    write_atomically(question.path, (canonical.dumps({**head, **said}) + "\n").encode("ascii"))


def begin(question: Question, folder: Path) -> None:
    """Note the folder of a sweep that asks the question, so that its trials are found even if it is killed.

    Raises:
        StoreError: it cannot be noted.
    """
    with kept(question) as said:
        run = os.path.relpath(folder, question.root)
        write(question, {**said, "runs": [*said["runs"], run]})
