"""From task names to loaded lm-eval tasks: the folder's first, then lm-eval's own list."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import EvaluationError, TaskDataError, UnknownTaskError
from .plan import EvaluationPlan
from .session import offline

__all__ = ["Tasks", "find_tasks", "folder_digest", "task_folder"]


@dataclass(frozen=True)
class Tasks:
    """Loaded tasks: `manager` and `objects` go to lm-eval, `leaves` are the single tasks by name."""

    manager: Any
    objects: list[Any]
    leaves: dict[str, Any]
    local: bool


def task_folder(plan: EvaluationPlan) -> Path:
    """Return the folder of task files: the plan's, or the one that ships with the zoo.

    Raises:
        EvaluationError: there is no such folder.
    """
    if plan.include_path is None:
        from weightbench.zoo import tasks_directory

        folder = Path(tasks_directory())
    else:
        folder = Path(plan.include_path)
    if not folder.is_dir():
        raise EvaluationError(f"the folder of lm-eval tasks {folder} does not exist; set eval.include_path")
    return folder.resolve()


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 over names and contents: a baseline is only good for the same tasks."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def find_tasks(plan: EvaluationPlan, folder: Path, progress: Callable[[str], None]) -> Tasks:
    """Load the plan's tasks with their data.

    Raises:
        UnknownTaskError: no task, group or tag of that name; the nearest names are in it.
        TaskDataError: the data of a task cannot be fetched.
    """
    with offline():
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=str(folder), include_defaults=False)
    wanted = list(plan.tasks) or list(manager.all_subtasks)
    if not wanted:
        raise EvaluationError(f"no lm-eval task file stands in {folder}; set eval.include_path or eval.tasks")
    local = not plan.include_defaults and all(_known(name, manager) for name in wanted)
    places = str(folder)
    if not local:
        progress("indexing lm-eval's own tasks")
        manager = TaskManager(include_path=str(folder), include_defaults=True)
        places += " and lm-eval's own tasks"
    names: list[str] = []
    for name in wanted:
        if not _known(name, manager):
            raise UnknownTaskError(name, manager.all_tasks, places)
        names += sorted(manager.match_tasks([name])) if "*" in name else [name]
    with offline() if local else contextlib.nullcontext():
        loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
        for name in dict.fromkeys(names):
            progress(f"loading task {name}")
            for kind, found in _load(manager, name).items():
                loaded[kind].update(found)
    return Tasks(manager, list(_roots(loaded)), loaded["tasks"], local)


def _known(name: str, manager: Any) -> bool:
    if name in manager.task_index:
        return True
    if "*" in name:
        return bool(manager.match_tasks([name]))
    return name.endswith((".yaml", ".yml")) and Path(name).is_file()


def _load(manager: Any, name: str) -> dict[str, Any]:
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return dict(manager.load([name]))
    except (OSError, DatasetsError, HfHubHTTPError) as error:
        raise TaskDataError(name, error) from error


def _roots(loaded: dict[str, Any]) -> Iterator[Any]:
    """Yield what nobody else contains: lm-eval evaluates a task once, inside its group."""
    children = {child for members in loaded["group_map"].values() for child in members}
    inside = {task.task_name for group in loaded["groups"].values() for task in group.get_all_tasks()}
    yield from (group for name, group in loaded["groups"].items() if name not in children)
    yield from (task for name, task in loaded["tasks"].items() if name not in inside)
