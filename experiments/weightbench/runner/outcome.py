"""What became of a child process: from an answer, an exit status or a limit to a status and a reason."""

import errno
import signal
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weightbench import canonical
from weightbench.errors import NotPlainError, Skip, Violated
from weightbench.rows import Status

_TRACEBACK_LIMIT = 64 * 1024
# What native code prints before it aborts for want of memory (C++, LLVM, OpenBLAS, torch).
_OOM_WORDS = ("std::bad_alloc", "out of memory", "Cannot allocate memory", "can't allocate memory")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one call in a child process.

    Attributes:
        status: ok, failed, timeout, oom, skipped or violated.
        value: what the target returned (plain values), None unless ok.
        reason: one line; empty when ok.
        error: ``type``, ``message``, ``traceback``, ``details``, ``output``; None when ok or skipped.
        lasting: of a skip, whether its reason follows from the cell alone.
        seconds: wall time from starting the child to its end.
        peak_memory_bytes: largest touched memory of its process tree that a sample saw.
    """

    status: Status
    value: object = None
    reason: str = ""
    error: Mapping[str, object] | None = None
    lasting: bool = True
    seconds: float = 0.0
    peak_memory_bytes: int = 0


def describe_error(error: BaseException) -> dict[str, object]:
    """An exception as plain values, in the child: what the row will say, and which status it makes."""
    message = _message(error)
    status, reason, lasting = Status.FAILED, f"{type(error).__name__}: {message}", True
    details: Mapping[str, object] = {}
    if isinstance(error, Skip):
        status, reason, lasting = Status.SKIPPED, error.reason, error.lasting
    elif isinstance(error, Violated):
        status, reason, details = Status.VIOLATED, error.message, error.details
    elif any(_is_memory(link) for link in _chain(error)):
        status, reason = Status.OOM, f"out of memory: {message}"
    elif full := next((link for link in _chain(error) if _is_full_disk(link)), None):
        reason = f"no space left on device: {_message(full)}"
    elif isinstance(error, SystemExit):
        reason = f"the cell called sys.exit({error.code!r})"
    return {
        "status": status,
        "reason": _one_line(reason),
        "lasting": lasting,
        "type": type(error).__qualname__,
        "message": message,
        "traceback": "".join(traceback.format_exception(error))[-_TRACEBACK_LIMIT:],
        "details": _plain_details(details),
    }


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_TRACEBACK_LIMIT]
    except Exception as second:  # an exception whose own text raises still has to make a row
        return f"(no text: its __str__ raised {type(second).__name__})"


def _plain_details(details: Mapping[str, object]) -> object:
    try:
        return canonical.plain(details)
    except NotPlainError:
        return {str(key): repr(value)[:1000] for key, value in details.items()}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what caused it, as a traceback would show it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is torch's
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(word in _message(error) for word in _OOM_WORDS)


def _is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def from_answer(answer: Mapping[str, object], output: str) -> Outcome:
    """The outcome of a child that answered: with a value, or an error from :func:`describe_error`."""
    if "value" in answer:
        return Outcome(Status.OK, answer["value"])
    error = answer.get("error")
    if not isinstance(error, dict) or error.get("status") not in tuple(Status):
        return failure(Status.FAILED, "NoResult", "the child's answer could not be read", output)
    status, reason, lasting = Status(error["status"]), str(error.get("reason")), bool(error.get("lasting"))
    if status is Status.SKIPPED:
        return Outcome(status, reason=reason, lasting=lasting)
    kept = {key: error.get(key) for key in ("type", "message", "traceback", "details")}
    return Outcome(status, reason=reason, error=kept | {"output": output})


def failure(status: Status, kind: str, reason: str, output: str) -> Outcome:
    """An outcome seen from outside the child: there is no exception, so ``kind`` stands for its type."""
    error = {"type": kind, "message": reason, "traceback": "", "details": {}, "output": output}
    return Outcome(status, reason=reason, error=error)


def from_exit(code: int, output: str, *, kernel_killed: bool | None, near_limit: bool) -> Outcome:
    """The outcome of a child that ended by itself and left no answer.

    Args:
        code: exit code, or minus the number of the signal that ended it.
        output: the end of what it printed.
        kernel_killed: whether the kernel's out-of-memory killer struck while it ran; None if not known.
        near_limit: whether it was last seen close to its memory limit.
    """
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        if kernel_killed:
            return failure(Status.OOM, "SIGKILL", "killed by the kernel's out-of-memory killer", output)
        if near_limit or kernel_killed is None:
            reason = "killed from outside (SIGKILL), most likely for its memory"
            return failure(Status.OOM, "SIGKILL", reason, output)
        return failure(Status.FAILED, "SIGKILL", "killed from outside (SIGKILL), not for its memory", output)
    if code < 0:
        name = _signal_name(-code)
        if code == -signal.SIGABRT and any(word in output[-4096:] for word in _OOM_WORDS):
            return failure(Status.OOM, name, "aborted: out of memory", output)
        return failure(Status.FAILED, name, f"crashed: {name} ({signal.strsignal(-code)})", output)
    return failure(Status.FAILED, "NoResult", f"ended with exit code {code} without a result", output)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
