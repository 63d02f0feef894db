"""The child's side; :mod:`weightbench.runner.parent` starts it in a fresh interpreter.

Two processes. The first, the *guardian*, holds the session, adopts every orphan below it and waits; the
second, forked from it before anything is imported or any thread runs, is the *worker* and calls the target.
The guardian kills all below it when the worker ends or when the lifeline, a pipe of which only the parent
holds the other end, is closed: by the parent at a limit, or by the kernel when the parent is killed. Should
the guardian itself be killed, the kernel kills the worker (PR_SET_PDEATHSIG). So nothing outlives a cell,
not even a process that moved to a session of its own.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from weightbench import canonical
from weightbench.errors import RunnerError
from weightbench.runner import processes
from weightbench.runner.outcome import describe_error
from weightbench.runner.task import Task
from weightbench.store import write_atomically


def main(request: str, lifeline_fd: str, messages_fd: str) -> None:
    """Fork the worker, watch over it, report how it ended, leave nothing behind; never returns.

    Args:
        request: path of the JSON file that says what to call; the answer goes beside it.
        lifeline_fd: read end of the pipe that the parent keeps open as long as the child may live.
        messages_fd: write end of the pipe for progress.
    """
    request_path, lifeline, messages = Path(request), int(lifeline_fd), int(messages_fd)
    for handle in (lifeline, messages):
        os.set_inheritable(handle, False)
    processes.adopt_orphans()
    guardian = os.getpid()
    worker = os.fork()
    if worker == 0:
        os.close(lifeline)
        processes.die_with_parent(guardian)
        _work(request_path, messages)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_kill_when_closed, args=(lifeline,), daemon=True).start()
    pid, status = 0, 0
    while pid != worker:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:  # the other thread has killed and reaped all; it ends this process
            signal.pause()
    processes.kill_descendants()
    os.set_blocking(messages, True)
    with contextlib.suppress(BrokenPipeError):  # the parent is gone: nobody to tell
        os.write(messages, (json.dumps({"ended": status}) + "\n").encode("ascii"))
    os._exit(0)


def _kill_when_closed(lifeline: int) -> None:
    os.read(lifeline, 1)  # nothing is ever written: it returns when the other end is closed
    processes.kill_descendants()
    os._exit(0)


def _work(request_path: Path, messages: int) -> None:
    """Call the target and write what it gave; never returns."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable()
    # On SIGTERM print where every thread stands, then die of it, even inside C code.
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    processes.be_killed_first()
    code = 0
    try:
        request = cast("dict[str, object]", canonical.loads(request_path.read_bytes()))
        if request["cores"]:  # before anything counts them to choose its number of threads
            os.sched_setaffinity(0, cast("list[int]", request["cores"]))
        sys.path[:] = dict.fromkeys(cast("list[str]", request["path"]))
        answer: dict[str, object] = {"value": _call(request, messages)}
        text = canonical.dumps(answer)
    except BaseException as error:  # SystemExit too: the parent turns it into a row
        text = canonical.dumps({"error": describe_error(error)})
        code = 1
    try:
        write_atomically(request_path.with_name("answer.json"), text.encode("ascii"))
    except OSError as error:
        # A full disk takes no answer; the pipe does.
        if code == 0:
            text, code = canonical.dumps({"error": describe_error(error)}), 1
        os.set_blocking(messages, True)
        with os.fdopen(messages, "wb", closefd=False) as pipe:
            pipe.write((text + "\n").encode("ascii"))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the target may have closed them
            stream.flush()
    # Not sys.exit: native libraries crash or hang in their destructors, and the answer is written.
    os._exit(code)


def _call(request: Mapping[str, object], messages: int) -> object:
    function = _resolve(str(request["target"]))
    return function(request["argument"], Task(Path(str(request["workdir"])), messages))


def _resolve(target: str) -> Callable[[object, Task], object]:
    module_name, _, name = target.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunnerError(f"the target {target!r} cannot be imported: {error}") from error
    if not callable(function):
        raise RunnerError(f"the target {target!r} is a {type(function).__name__}, not a function")
    return cast("Callable[[object, Task], object]", function)
