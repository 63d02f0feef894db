"""The command line: one call of `run` is one cell. Prints for people; keeps the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from weightbench import console
from weightbench.arguments import name_models, one_line, register_search_path, with_members
from weightbench.errors import WeightbenchError
from weightbench.models import ModelError
from weightbench.request import Request, open_members, register_schema, request_of
from weightbench.rows import Row, Status, done
from weightbench.runner import Limits, run_cell
from weightbench.runner.limits import default_memory_bytes
from weightbench.store import Store, identity
from weightbench.workload import revision_of
from weightcodecs import WeightCodecsError

__all__ = ["main", "run", "run_requested"]

FAILED, WRONG_INPUT = 1, 2
CELL = "weightbench.cells:run"

# What the cells of this process came to, for `main`: Hydra hands nothing back from a job.
_worst = 0
_rows: list[Row] = []
_roots: set[Path] = set()


def main(entry: Callable[[], Any]) -> int:
    """Let Hydra compose the configuration and call `run`; return the process's exit code.

    Returns:
        0 if every cell is done, 1 if one failed, 2 if the input was wrong (said in one line, no traceback).
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing, and `one_line` prints
    register_schema()
    register_search_path()
    sys.argv[1:] = name_models(sys.argv[1:])
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        return _complain(one_line(error))
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _remember(FAILED)
    except OSError as error:  # Hydra's own folder; those of cells are typed errors or rows
        return _complain(f"{error}; can the folder that results=… names be written to?", FAILED)
    except KeyboardInterrupt:
        print("\ninterrupted; what was finished is kept, the same command goes on", file=sys.stderr)
        return 130
    finally:
        _rebuild_tables()
    if len(_rows) > 1:
        console.print_sweep(_rows)
    return _worst


def _rebuild_tables() -> None:
    if _roots:
        from weightbench.table import build_table  # loads pyarrow, which --help can do without

        for root in _roots:
            try:
                build_table(root)
            except WeightbenchError as error:
                _complain(str(error), FAILED)


def run(config: Any) -> None:
    """Run one composed configuration: look it up, run it if it must run, print its row."""
    try:
        config = with_members(config)
        request = request_of(config)
        models = open_members(request)
        cell = request.cell([model.name for model in models], revision_of(models))
        store = Store(Path(request.results))
        if request.dry_run:
            _dry_run(cell, store)
            return
        before = store.get(identity(cell))
        row = run_requested(request, config, cell, store)
        _rows.append(row)
        _roots.add(store.root)
    except (WeightbenchError, WeightCodecsError, ModelError) as error:
        _complain(str(error))
        return
    console.print_row(row, store.root, stored=row == before)
    if row.status not in (Status.OK, Status.SKIPPED):
        _remember(FAILED)


def run_requested(
    request: Request, config: Mapping[str, Any], cell: Mapping[str, Any], store: Store
) -> Row:
    """Return the row of a cell, run now if it is not done; say on the screen what is running.

    Args:
        request: what `config` asks for.
        config: composed, plain values, `with_members`: what the cell's process gets.
        cell: `request.cell` of the opened models.
        store: where rows are.

    Raises:
        StoreError: the row cannot be written.
    """
    memory = request.limits.memory_gb
    limits = Limits(
        timeout_s=request.limits.timeout_s,
        memory_bytes=int(memory * 1e9) if memory else default_memory_bytes(),
    )
    console.print_cell(cell)
    with console.progress() as show:
        return run_cell(
            cell,
            CELL,
            store,
            argument={**config, "results": str(store.root.absolute())},
            force=request.force,
            limits=limits,
            progress=show,
        )


def _dry_run(cell: Mapping[str, Any], store: Store) -> None:
    row = store.get(identity(cell))
    state = "to run" if row is None else (row.status if done(row) else f"to run again (was: {row.status})")
    console.print_plan(cell, state)


def _complain(line: str, code: int = WRONG_INPUT) -> int:
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    return _remember(code)


def _remember(code: int) -> int:
    global _worst
    _worst = max(_worst, code)
    return code
