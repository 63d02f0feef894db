"""Runs cells: each in a process of its own, with hard limits, and whatever becomes of it is a row.

:func:`run_cell` looks a cell up in the store, runs it if it must, and writes the row. :func:`run_in_child`
is the part below: one function call in a fresh process, under a time limit and a memory limit, ended for
certain.
"""

from weightbench.runner.cell import run_cell
from weightbench.runner.limits import Limits
from weightbench.runner.outcome import Outcome
from weightbench.runner.parent import run_in_child
from weightbench.runner.task import Progress, Task

__all__ = ["Limits", "Outcome", "Progress", "Task", "run_cell", "run_in_child"]
