"""The command line: one call of `run` is one cell. Prints for people; keeps the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from weightbench import console, search, sweep
from weightbench.arguments import name_models, one_line, register_search_path, with_members
from weightbench.cost import estimate
from weightbench.errors import WeightbenchError
from weightbench.launchers import cells_beside, queued, refuse_shared_cores, worker_loss
from weightbench.machine import usable_cores
from weightbench.measure import settle
from weightbench.models import ModelError
from weightbench.request import Request, open_members, register_schema, request_of
from weightbench.rows import Row, Status, done, title
from weightbench.runner import Limits, run_cell
from weightbench.runner.claims import running
from weightbench.runner.limits import default_memory_bytes
from weightbench.store import Store, identity
from weightbench.workload import revision_of
from weightcodecs import WeightCodecsError

__all__ = ["main", "run", "run_requested"]

FAILED, WRONG_INPUT = 1, 2
CELL = "weightbench.cells:run"
KEPT = "what was finished is kept, the same command goes on"

# What the jobs of this process came to, for `main`: Hydra hands nothing back from them. Those of a sweep may
# be run by other processes; see `weightbench.sweep`.
_worst = 0
_roots: set[Path] = set()


def main(entry: Callable[[], Any]) -> int:
    """Let Hydra compose the configuration and call `run`; return the process's exit code.

    Returns:
        0 if every cell is done, 1 if one failed, 2 if the input was wrong (said in one line, no traceback).
    """
    sweep.forget()
    search.forget()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing, and `one_line` prints
    register_schema()
    register_search_path()
    sweep.register_sweeper()
    sys.argv[1:] = name_models(sys.argv[1:])
    interrupted = False
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(one_line(error))
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _remember(FAILED)
    except ConnectionError as error:  # to a launcher's cluster
        return _complain(f"the launcher found no cluster: {error}", FAILED)
    except OSError as error:  # Hydra's own folder; those of cells are typed errors or rows
        return _complain(f"{error}; can the folder that results=… names be written to?", FAILED)
    except sweep.Refusal as refusal:
        return _complain(str(refusal))
    except KeyboardInterrupt:
        interrupted = True
        print(f"\ninterrupted; {KEPT}", file=sys.stderr)
        return 130
    except Exception as error:
        interrupted, loss = True, worker_loss(error) or search.explained(error)
        if loss is None:
            raise
        _complain(f"{loss}; {KEPT}", FAILED)
        return _worst
    finally:
        sweep.stop_following()
        _rebuild_tables()
        _print_summary(interrupted=interrupted)
    return _worst


def _print_summary(*, interrupted: bool) -> None:
    """Print the end of a sweep, of one that was interrupted or whose launcher failed too."""
    begun = sweep.current()
    if begun is not None:
        try:
            _remember(sweep.print_summary(begun))
            if asked := search.searched():
                search.finish(asked)
            if interrupted and (jobs := queued(Path(begun.folder))):
                print(f"jobs in Slurm's queue go on; to end them: scancel {' '.join(jobs)}", file=sys.stderr)
        except (WeightbenchError, OSError) as error:
            _complain(str(error), FAILED)


def _rebuild_tables() -> None:
    if begun := sweep.current():
        _roots.update(Path(outcome.root) for outcome in sweep.outcomes(begun) if outcome.ran)
    if _roots:
        from weightbench.table import build_table  # loads pyarrow, which --help can do without

        for root in _roots:
            try:
                build_table(root)
            except WeightbenchError as error:
                _complain(str(error), FAILED)


def run(config: Any) -> tuple[float, ...] | float | None:
    """Run one composed configuration: look it up, run it if it must run, print its row.

    Returns:
        in a search what the sweeper weighs (see `search.values`); None otherwise.
    """
    job = sweep.Job.current()
    if job is not None and job.stopped():
        return None
    with sweep.aside(job):
        outcome = _run_job(config, job)
        if job is None or not job.sweep.search:
            return None
        return search.values(config["objectives"], outcome)


def _run_job(config: Any, job: sweep.Job | None) -> sweep.Outcome:
    try:
        if job is not None:
            job.enter()
        outcome = _run(config, job)
    except (WeightbenchError, WeightCodecsError, ModelError) as error:
        _complain(str(error))
        outcome = sweep.Outcome(WRONG_INPUT, "wrong input", reason=" ".join(str(error).split()))
    _remember(outcome.code)
    if job is not None:
        try:
            job.record(outcome)
        except WeightbenchError as error:
            _complain(str(error), FAILED)
    return outcome


def _run(config: Any, job: sweep.Job | None) -> sweep.Outcome:
    config = with_members(config)
    request = request_of(config)
    if job is not None and job.sweep.parallel:
        refuse_shared_cores(request.measure, request.cores_per_cell)
    models = open_members(request)
    cell = request.cell([model.name for model in models], revision_of(models))
    store = Store(Path(request.results))
    if request.dry_run:
        return _dry_run(cell, store, sum(model.nbytes for model in models), force=request.force)
    before = store.get(identity(cell))
    if before is not None and job is not None and _anothers(before, job, force=request.force):
        row = before
    else:
        to_run = before is None or request.force or not done(before)
        if to_run and not request.measure.single_round and not (job is not None and job.sweep.parallel):
            settle(request.quiet_wait_s)
        row = run_requested(request, config, cell, store, job)
    stored = before is not None and row.finished == before.finished
    if not stored:
        _roots.add(store.root)
    console.print_row(row, store.root, stored=stored)
    code = 0 if row.status in (Status.OK, Status.SKIPPED) else FAILED
    root = str(store.root.absolute())
    return sweep.Outcome(code, row.status, title(cell), row.reason, row.id, root, ran=not stored)


def _anothers(row: Row, job: sweep.Job, *, force: bool) -> bool:
    """Whether another sweep wrote a row while this one runs: not to be run over, even if it is a failure."""
    return (force or not done(row)) and row.finished >= job.since() and not job.ran(row.id)


def run_requested(
    request: Request,
    config: Mapping[str, Any],
    cell: Mapping[str, Any],
    store: Store,
    job: sweep.Job | None = None,
) -> Row:
    """Return the row of a cell, run now if it is not done; say on the screen what is running.

    Args:
        request: what `config` asks for.
        config: composed, plain values, `with_members`: what the cell's process gets.
        cell: `request.cell` of the opened models.
        store: where rows are.
        job: the job of a sweep that this is.

    Raises:
        StoreError: the row cannot be written.
    """
    store.refuse_frozen()
    memory, beside = request.limits.memory_gb, 1
    if job is not None and job.sweep.parallel:
        beside = cells_beside(HydraConfig.get().launcher, request.cores_per_cell, usable_cores())
        beside = min(beside, job.sweep.jobs or beside)
    limits = Limits(
        timeout_s=request.limits.timeout_s,
        memory_bytes=int(memory * 1e9) if memory else default_memory_bytes() // beside,
    )
    # Where a launcher starts everything at once, cells wait for a core, even those that may share it.
    slot = 1 if job is not None and job.sweep.all_at_once else None
    console.print_cell(cell, job.progress() if job else "")
    with console.progress() as show:
        return run_cell(
            cell,
            CELL,
            store,
            argument={**config, "results": str(store.root.absolute())},
            force=request.force,
            limits=limits,
            progress=show,
            cores=request.cores_per_cell or slot,
            pin=request.cores_per_cell is not None,
        )


def _dry_run(cell: Mapping[str, Any], store: Store, raw_bytes: int, *, force: bool) -> sweep.Outcome:
    row = store.get(identity(cell))
    if row is not None and done(row) and not force:
        console.print_plan(cell, row.status)
        return sweep.Outcome(0, row.status, title(cell))
    state = "to run" if row is None else f"to run again (was: {row.status})"
    if by := running(store, identity(cell)):
        state += f" (run now by {by})"
    cost = estimate(cell, raw_bytes, store.root)
    console.print_plan(cell, state, cost.words() if cost else "no earlier row to go by")
    return sweep.Outcome(0, state, title(cell), cost=cost)


def _complain(line: str, code: int = WRONG_INPUT) -> int:
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    return _remember(code)


def _remember(code: int) -> int:
    global _worst
    _worst = max(_worst, code)
    return code
