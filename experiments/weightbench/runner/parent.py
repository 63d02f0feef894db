"""The parent's side: start a child, follow it, end it for certain. It sleeps in ``select``."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from weightbench import canonical
from weightbench.errors import RunnerError
from weightbench.rows import Status
from weightbench.runner import processes
from weightbench.runner.limits import Limits
from weightbench.runner.outcome import Outcome, failure, from_answer, from_exit
from weightbench.runner.task import Progress
from weightbench.store import store_error, write_atomically

# Not "-m": the child must find this very package, however the caller found it. The search path follows in the
# request, not in PYTHONPATH, where it would mislead other interpreters that a target may start.
_BOOT = """
import sys
sys.path.insert(0, sys.argv[1])
from weightbench.runner.child import main
main(*sys.argv[2:])
"""
_SOURCE_ROOT = str(Path(__file__).resolve().parents[2])
_OUTPUT_KEPT = 64 * 1024
_LONGEST_MESSAGE = 4 << 20
_SAMPLE_S = 0.05
_OOM_GRACE_S = 0.1
_DEATH_S = 10.0


def run_in_child(
    target: str,
    argument: object,
    *,
    workdir: Path,
    limits: Limits | None = None,
    progress: Callable[[Progress], None] | None = None,
    env: Mapping[str, str] | None = None,
    python_path: Sequence[Path] = (),
    cores: Sequence[int] = (),
) -> Outcome:
    """Call ``target(argument, task)`` in a fresh Python process, and return what became of it.

    The child shares nothing with the caller but the working directory and the environment: it is a new
    interpreter in a session of its own, the argument travels as JSON and so does the answer. When this
    returns, or raises (Ctrl-C included), the child and everything it started have ended.

    Args:
        target: ``"module:function"``, imported in the child.
        argument: plain values (see :func:`weightbench.canonical.plain`).
        workdir: an empty folder; the target finds ``workdir/files`` as ``task.workdir``.
        limits: wall-clock and memory limits.
        progress: called in this thread for every line of progress.
        env: variables to set in the child besides the caller's.
        python_path: folders the child searches for modules before the caller's own.
        cores: hardware threads that the child runs on, with all it starts; empty: the caller's.

    Raises:
        RunnerError: not on Linux, or ``target`` has no colon.
        NotPlainError: the argument is not made of plain values.
        StoreError: the request cannot be written; ``errno`` is ENOSPC when the disk is full.
        OSError: no process can be started.
    """
    processes.require_linux()
    limits = limits or Limits()
    if ":" not in target:
        raise RunnerError(f"the target {target!r} must read 'module:function'")
    files, answer_path = workdir / "files", workdir / "answer.json"
    request = {
        "target": target,
        "argument": argument,
        "workdir": str(files.absolute()),
        "cores": list(cores),
        # What this process can import (notebooks, source trees, plug-ins), the child can import too.
        "path": [str(folder.absolute()) for folder in (*python_path, *map(Path, sys.path))],
    }
    text = canonical.dumps(request).encode("ascii")
    try:
        files.mkdir(exist_ok=True)
        answer_path.unlink(missing_ok=True)
        write_atomically(workdir / "request.json", text)
    except OSError as error:
        raise store_error(error, f"the request could not be written to {workdir}") from error

    kills_before = _kernel_kills()
    start = time.monotonic()
    with _Child(workdir / "request.json", {**os.environ, **(env or {})}, progress) as child:
        outcome = child.follow(start, limits)
    seconds = time.monotonic() - start
    if outcome is None:
        answer = child.error or _read_answer(answer_path)
        if answer is not None:
            outcome = from_answer(answer, child.output())
        else:
            kills = _kernel_kills()
            killed = None if kills is None or kills_before is None else kills > kills_before
            near = child.peak > 0.8 * limits.memory_bytes
            outcome = from_exit(child.exit_code(), child.output(), kernel_killed=killed, near_limit=near)
    return replace(outcome, seconds=seconds, peak_memory_bytes=child.peak)


def _read_answer(path: Path) -> dict[str, object] | None:
    try:
        answer = canonical.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return cast("dict[str, object]", answer) if isinstance(answer, dict) else {}


def _kernel_kills() -> int | None:
    """How often the kernel's out-of-memory killer has struck since the start; None if it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


class _Child:
    """A running child: its pipes, its output, its memory. Leaving the context kills what is left of it."""

    def __init__(
        self, request: Path, env: Mapping[str, str], progress: Callable[[Progress], None] | None
    ) -> None:
        self.peak = 0
        self.error: dict[str, object] | None = None
        self._progress = progress
        self._ended: int | None = None
        self._open = True
        self._printed = bytearray()
        self._message = bytearray()
        held, self._lifeline = os.pipe()
        self._messages, written = os.pipe()
        os.set_blocking(written, False)
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-u",
                    "-c",
                    _BOOT,
                    _SOURCE_ROOT,
                    str(request),
                    str(held),
                    str(written),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(held, written),
                start_new_session=True,
                env=dict(env),
            )
        except BaseException:
            os.close(self._lifeline)
            os.close(self._messages)
            raise
        finally:
            os.close(held)
            os.close(written)
        assert self._process.stdout is not None
        self._stdout = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        for handle in (self._messages, self._stdout):
            os.set_blocking(handle, False)
            self._selector.register(handle, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lifeline)  # the guardian kills everything and ends
        try:
            self._process.wait(_DEATH_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        finally:
            if self._process.returncode < 0:  # the guardian was killed itself and could not clear up
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._pump(0.0)
            self._selector.close()
            os.close(self._messages)
            assert self._process.stdout is not None
            self._process.stdout.close()

    def follow(self, start: float, limits: Limits) -> Outcome | None:
        """Wait until the child has ended; an outcome only if a limit ended it."""
        deadline = start + limits.timeout_s
        next_sample = start
        while self._alive():
            now = time.monotonic()
            if now >= deadline:
                self._ask_to_end(limits.grace_s)
                reason = f"ran longer than its limit of {limits.timeout_s:g} s"
                return failure(Status.TIMEOUT, "Timeout", reason, self.output())
            if now >= next_sample:
                next_sample = now + _SAMPLE_S
                if self._sample(limits.memory_bytes) > limits.memory_bytes:
                    self._ask_to_end(min(limits.grace_s, _OOM_GRACE_S))
                    used, limit = (f"{n / 2**20:,.0f} MiB" for n in (self.peak, limits.memory_bytes))
                    reason = f"used {used} of memory, beyond its limit of {limit}"
                    return failure(Status.OOM, "MemoryLimit", reason, self.output())
            self._pump(min(next_sample, deadline) - now)
        return None

    def _alive(self) -> bool:
        return self._open and self._ended is None and self._process.poll() is None

    def _sample(self, limit: int) -> int:
        """Memory the child's tree has touched now; the exact count is taken only where it decides."""
        pids = processes.descendants(self._process.pid)
        used = processes.touched_bytes(pids)
        if used > limit and len(pids) > 1:
            used = processes.touched_bytes_shared_once(pids)
        self.peak = max(self.peak, used)
        return used

    def _ask_to_end(self, grace_s: float) -> None:
        """SIGTERM to the group, so that it prints where it is; leaving the context kills what stays."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        end = time.monotonic() + grace_s
        while self._alive() and time.monotonic() < end:
            self._pump(min(_SAMPLE_S, grace_s))

    def _pump(self, wait_s: float) -> None:
        """Read what there is, waiting at most ``wait_s`` seconds for it."""
        for key, _ in self._selector.select(max(0.0, wait_s)):
            try:
                data = os.read(key.fd, 1 << 16)
            except BlockingIOError:
                continue
            if not data:
                self._selector.unregister(key.fd)
                self._open = self._open and key.fd != self._messages
            elif key.fd == self._messages:
                self._take_messages(data)
            else:
                self._print(data)

    def _print(self, data: bytes) -> None:
        self._printed += data
        del self._printed[:-_OUTPUT_KEPT]

    def _take_messages(self, data: bytes) -> None:
        *lines, rest = (bytes(self._message) + data).split(b"\n")
        self._message = bytearray(rest[:_LONGEST_MESSAGE])
        for line in lines:
            self._take_message(line)

    def _take_message(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if "progress" in message:
                text, done, total, unit = message["progress"]
                update = Progress(str(text), float(done), float(total), str(unit))
            elif "error" in message:
                self.error = message
                return
            else:
                self._ended = int(message["ended"])
                return
        except (ValueError, TypeError, KeyError):
            self._print(line + b"\n")  # not one of our lines: kept with what the child printed
            return
        if self._progress is not None:
            self._progress(update)

    def output(self) -> str:
        """The last 64 KiB of what the child and its children printed."""
        return self._printed.decode("utf-8", "replace")

    def exit_code(self) -> int:
        """The worker's exit code, or minus its signal; the guardian's if that was killed first."""
        if self._ended is not None:
            return os.waitstatus_to_exitcode(self._ended)
        return self._process.returncode
