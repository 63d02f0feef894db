"""One cell: look it up, run it if it must run, write its row."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from weightbench import environment
from weightbench.canonical import identity
from weightbench.rows import Row, Status, done, is_inside
from weightbench.runner import processes
from weightbench.runner.claims import claimed
from weightbench.runner.cores import leased
from weightbench.runner.limits import Limits
from weightbench.runner.outcome import Outcome, failure
from weightbench.runner.parent import run_in_child
from weightbench.runner.scratch import scratch
from weightbench.runner.task import Progress
from weightbench.store import Store


def run_cell(
    cell: Mapping[str, object],
    target: str,
    store: Store,
    *,
    argument: object = None,
    force: bool = False,
    limits: Limits | None = None,
    progress: Callable[[Progress], None] | None = None,
    env: Mapping[str, str] | None = None,
    python_path: Sequence[Path] = (),
    cores: int | None = None,
    pin: bool = True,
) -> Row:
    """Return the row of a cell: the stored one if it is done, otherwise that of a run now.

    While another process or machine runs the same cell (see :mod:`weightbench.runner.claims`) this waits, and
    returns what the other made of it: also a failure, also with ``force``, as the run is newer than the wish.

    The target is called in a child process as ``target(argument, task)`` and returns a mapping of
    ``result`` (nested mapping of numbers and names), and optionally ``tensors`` (list of flat mappings) and
    ``artifacts`` (list of files below ``task.workdir`` to keep). To skip it raises ``errors.Skip``, to
    report a broken promise ``errors.Violated``. A full disk, a crash, a limit reached: all become rows.

    Args:
        cell: the resolved cell, plain values; its SHA-256 is the row's identity.
        target: ``"module:function"``.
        argument: what the target gets; the cell itself if None. For what must not be part of the identity.
        force: run, and replace a done row.
        limits, progress, env, python_path: see :func:`weightbench.runner.run_in_child`.
        cores: how many cores to wait for that no other cell of this machine has.
        pin: put the cell on them, which its row's environment says; False: only wait for them.

    Raises:
        RunnerError: there are not so many cores.
        StoreError: the row cannot be written (``errno`` ENOSPC on a full disk), or a stored one not read.
        NotPlainError: cell or argument hold other than plain values.
        KeyboardInterrupt: the child has been ended and no row written; earlier rows are as they were.
    """
    id_ = identity(cell)
    stored = store.get(id_)
    if stored is not None and done(stored) and not force:
        return stored
    processes.require_linux()

    def tell(text: str) -> None:
        if progress is not None:
            progress(Progress(text))

    with claimed(store, id_, stored, waiting=tell) as written:
        if written is not None:
            return written  # by somebody else, since this was asked for
        with leased(cores, tell) as threads, scratch(store.root / "work", id_[:16]) as workdir:
            surroundings = environment.record()
            if threads and pin:
                surroundings["pinned_to"] = list(threads)
            started = _now()
            outcome = run_in_child(
                target,
                cell if argument is None else argument,
                workdir=workdir,
                limits=limits,
                progress=progress,
                env=env,
                python_path=python_path,
                cores=threads if pin else (),
            )
            row = _row(id_, cell, outcome, workdir / "files", store.root)
        row = replace(row, started=started, environment=surroundings)
        # The scratch folder is gone by now: where it had filled the disk, the row finds room.
        return store.put(row, force=force)


def _row(id_: str, cell: Mapping[str, object], outcome: Outcome, files: Path, root: Path) -> Row:
    """The row an outcome makes; files named as artifacts are moved out of the scratch folder."""
    row = Row(
        id=id_,
        cell=cell,
        status=outcome.status,
        reason=outcome.reason,
        error=outcome.error,
        lasting=outcome.lasting,
        finished=_now(),
        seconds=outcome.seconds,
        peak_memory_bytes=outcome.peak_memory_bytes,
    )
    if row.status is not Status.OK:
        return row
    try:
        result, tensors, names = _checked(outcome.value, files)
    except _BadValueError as error:
        bad = failure(Status.FAILED, "BadResult", str(error), "")
        return replace(row, status=bad.status, reason=bad.reason, error=bad.error)
    return replace(row, result=result, tensors=tensors, artifacts=_keep(names, files, root, id_))


class _BadValueError(Exception):
    """The target returned something that makes no row."""


def _checked(
    value: object, files: Path
) -> tuple[Mapping[str, object], tuple[Mapping[str, object], ...], list[str]]:
    if not isinstance(value, dict) or not value.keys() <= {"result", "tensors", "artifacts"}:
        raise _BadValueError(
            "the cell must return a mapping of result, tensors and artifacts, and nothing else"
        )
    result, tensors, names = value.get("result"), value.get("tensors", []), value.get("artifacts", [])
    if not isinstance(result, dict):
        raise _BadValueError("the cell's result must be a mapping")
    if not isinstance(tensors, list) or not all(isinstance(tensor, dict) for tensor in tensors):
        raise _BadValueError("the cell's tensors must be a list of mappings")
    if not isinstance(names, list) or not all(isinstance(name, str) and is_inside(name) for name in names):
        raise _BadValueError("the cell's artifacts must be a list of paths below its working folder")
    missing = [name for name in names if not (files / name).is_file()]
    if missing:
        raise _BadValueError(f"the cell names artifacts that it did not write: {', '.join(missing)}")
    return result, tuple(tensors), names


def _keep(names: list[str], files: Path, root: Path, id_: str) -> tuple[str, ...]:
    """Move artifacts to their place (the same file system: a rename); paths relative to the store."""
    kept = [f"artifacts/{id_}/{name}" for name in names]
    for name, place in zip(names, kept, strict=True):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (files / name).replace(root / place)
    return tuple(kept)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
