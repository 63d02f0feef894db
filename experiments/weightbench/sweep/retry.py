"""The command that runs one job of a sweep again, quoted for a POSIX shell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from weightbench.arguments import as_typed
from weightbench.store import write_atomically

__all__ = ["command_line", "retry_script"]


def command_line(overrides: Sequence[str], *, search: bool = False) -> str:
    """Return the words that run a job by itself, from the folder that the sweep was started in.

    The interpreter and the script are named as they were for this process; paths and hub ids that stood
    after ``model=`` are put back in the place of the options that were made for them.

    Args:
        overrides: the job's words.
        search: whether it was a trial of a search, which the words alone might start again.
    """
    kept = [word for word in overrides if not word.startswith(("hydra.", "hydra/"))]
    words = [as_typed(word) for word in dict.fromkeys(kept)]
    if search:
        words.append("hydra.mode=RUN")
    return shlex.join([sys.orig_argv[0], sys.argv[0], *words])


def retry_script(path: Path, commands: Sequence[str]) -> Path:
    """Write a shell script that runs all the commands, and ends with the worst of their exit codes.

    Raises:
        OSError: it cannot be written.
    """
    lines = [f"{command} || {{ code=$?; [ $code -gt $worst ] && worst=$code; }}" for command in commands]
    text = "\n".join(["worst=0", f"cd {shlex.quote(str(Path.cwd()))} || exit 2", *lines, "exit $worst", ""])
    write_atomically(path, text.encode())
    return path
