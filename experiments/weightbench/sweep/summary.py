"""The end of a sweep: a table, the costs of a dry run, what failed and the words that retry it."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from weightbench import console
from weightbench.rows import Row
from weightbench.store import Store
from weightbench.sweep.outcomes import Outcome, outcomes
from weightbench.sweep.retry import command_line, retry_script
from weightbench.sweep.watch import Sweep

__all__ = ["print_summary"]


def print_summary(sweep: Sweep) -> int:
    """Print what became of a sweep's jobs.

    Returns:
        the worst of their exit codes.

    Raises:
        StoreError: a row cannot be read.
    """
    found = outcomes(sweep)
    rows = [row for outcome in found if (row := _row(outcome)) is not None]
    if len(rows) > 1:
        console.print_sweep(rows)
    dry = [outcome for outcome in found if not outcome.id and not outcome.code]
    if dry:
        _print_costs(dry)
    failed = [outcome for outcome in found if outcome.code]
    if failed:
        _print_failures(sweep, failed, len(found))
    _print_unrun(sweep, len(found), stopped=bool(failed) and sweep.stop)
    return max((outcome.code for outcome in found), default=0)


def _row(outcome: Outcome) -> Row | None:
    return Store(Path(outcome.root)).get(outcome.id) if outcome.id else None


def _print_costs(dry: Sequence[Outcome]) -> None:
    wanted = [outcome for outcome in dry if outcome.status.startswith("to run")]
    costs = [outcome.cost for outcome in wanted if outcome.cost is not None]
    text = f"\n{len(dry)} cells: {len(dry) - len(wanted)} need not run, {len(wanted)} to run"
    if costs:
        seconds, kept = sum(cost.seconds for cost in costs), sum(cost.kept_bytes for cost in costs)
        scratch = max(cost.scratch_bytes for cost in costs)
        text += f", one after the other about {console.duration(seconds)}; rows and pictures about "
        text += f"{console.size(kept)}, and for the time of a cell up to {console.size(scratch)} of scratch"
    if unknown := len(wanted) - len(costs):
        text += f"; for {unknown} of them there is no earlier row to go by"
    print(text)


def _print_failures(sweep: Sweep, failed: Sequence[Outcome], jobs: int) -> None:
    kinds = ", ".join(f"{count} {status}" for status, count in Counter(o.status for o in failed).items())
    print(f"\n{len(failed)} of {jobs} cells did not work ({kinds}). Each again:")
    commands = [command_line(outcome.overrides) for outcome in failed]
    for outcome, command in zip(failed, commands, strict=True):
        title = f"{outcome.title}: " if outcome.title else ""
        print(f"  {outcome.status:<12} {title}{outcome.reason}\n    {command}")
    if len(failed) > 1:
        script = retry_script(Path(sweep.folder), commands)
        short = os.path.relpath(script)
        print(f"All of them: {shlex.join(['sh', str(script) if short.startswith('..') else short])}")


def _print_unrun(sweep: Sweep, came: int, *, stopped: bool) -> None:
    left = "the rest" if sweep.jobs is None else f"{sweep.jobs - came} of {sweep.jobs} cells"
    if stopped and sweep.jobs != came:
        print(f"Stopped at the first failure (on_error=stop): {left} not run; the same command goes on.")
    elif sweep.jobs is not None and 0 < came < sweep.jobs:
        print(f"{left} did not come to an end; the same command goes on.")
