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
from weightbench.sweep.drift import drifted
from weightbench.sweep.order import order
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
    found = _as_written(sweep, outcomes(sweep))
    maybe = [_row(outcome) for outcome in found]
    rows = [row for row in maybe if row is not None]
    if len(rows) > 1:
        console.print_sweep(rows)
    dry = [outcome for outcome in found if not outcome.id and not outcome.code]
    if dry:
        _print_costs(dry)
    failed = [outcome for outcome in found if outcome.code]
    if failed:
        _print_failures(sweep, failed, len(found))
    _print_drifted(sweep, [each for each in zip(found, drifted(maybe), strict=True) if each[1]], len(found))
    _print_unrun(sweep, len(found), stopped=bool(failed) and sweep.stop)
    return max((outcome.code for outcome in found), default=0)


def _as_written(sweep: Sweep, found: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes in the order of the command line's product, in whatever order their cells ran."""
    if sweep.seed is None or sweep.jobs is None:
        return list(found)
    places = order(sweep.jobs, sweep.seed)
    return sorted(found, key=lambda outcome: places[outcome.number])


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
    commands = [command_line(outcome.overrides, search=sweep.search) for outcome in failed]
    for outcome, command in zip(failed, commands, strict=True):
        title = f"{outcome.title}: " if outcome.title else ""
        print(f"  {outcome.status:<12} {title}{outcome.reason}\n    {command}")
    _print_script(sweep, "retry.sh", commands)


def _print_drifted(sweep: Sweep, moved: Sequence[tuple[Outcome, str]], jobs: int) -> None:
    if not moved:
        return
    print(
        f"\nThe machine changed: for {len(moved)} of {jobs} cells the yardstick (fixed work, timed before "
        "and after each) was off; their speeds do not compare to the others'. Each again:"
    )
    commands = [command_line([*outcome.overrides, "force=true"], search=sweep.search) for outcome, _ in moved]
    for (outcome, why), command in zip(moved, commands, strict=True):
        print(f"  {outcome.title}: {why}\n    {command}")
    _print_script(sweep, "retime.sh", commands)


def _print_script(sweep: Sweep, name: str, commands: Sequence[str]) -> None:
    if len(commands) > 1:
        script = retry_script(Path(sweep.folder) / name, commands)
        short = os.path.relpath(script)
        print(f"All of them: {shlex.join(['sh', str(script) if short.startswith('..') else short])}")


def _print_unrun(sweep: Sweep, came: int, *, stopped: bool) -> None:
    left = "the rest" if sweep.jobs is None else f"{sweep.jobs - came} of {sweep.jobs} cells"
    if stopped and sweep.jobs != came:
        print(f"Stopped at the first failure (on_error=stop): {left} not run; the same command goes on.")
    elif sweep.jobs is not None and 0 < came < sweep.jobs:
        print(f"{left} did not come to an end; the same command goes on.")
