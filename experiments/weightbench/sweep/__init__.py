"""A sweep as a whole: how many jobs, how far, what became of each, and the words that retry what failed.

Hydra hands nothing back from its jobs, and with most launchers they run in other processes. So each job
leaves an :class:`Outcome` as a file in Hydra's folder of the sweep, and the process that started the sweep
reads them.
"""

from weightbench.sweep.callback import Refusal, SweepCallback
from weightbench.sweep.follow import aside, stop_following
from weightbench.sweep.order import register_sweeper
from weightbench.sweep.outcomes import Job, Outcome, outcomes, outcomes_in
from weightbench.sweep.retry import command_line, retry_script
from weightbench.sweep.summary import print_summary
from weightbench.sweep.watch import Sweep, current, forget, is_search, swept

__all__ = [
    "Job",
    "Outcome",
    "Refusal",
    "Sweep",
    "SweepCallback",
    "aside",
    "command_line",
    "current",
    "forget",
    "is_search",
    "outcomes",
    "outcomes_in",
    "print_summary",
    "register_sweeper",
    "retry_script",
    "stop_following",
    "swept",
]
