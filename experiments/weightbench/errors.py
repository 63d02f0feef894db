"""The harness's typed errors: few, and each says what to do. Codecs have :mod:`weightcodecs.errors`."""

from collections.abc import Mapping


class WeightbenchError(Exception):
    """Root of every error the harness raises on purpose."""


class Skip(WeightbenchError):  # noqa: N818 - a verdict, not a mistake
    """Raised inside a cell that cannot be run, with the reason a reader of the table will see.

    Args:
        reason: one line, such as ``"elf does not take bfloat16"``.
        lasting: True if the reason follows from the cell alone, so that the skipped row is kept; False if it
            follows from the machine (an extra not installed, no hub), so that the next run tries again.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting


class Violated(WeightbenchError):  # noqa: N818 - a verdict, not a mistake
    """Raised inside a cell whose codec broke its promise: not bit-exact, or beyond its stated bound.

    Args:
        message: what was promised and what came back.
        details: plain numbers and names that show it (tensor, index, bound, error).
    """

    def __init__(self, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})


class RunnerError(WeightbenchError):
    """The runner itself could not work: a bad target, a limit that this system cannot keep."""


class StoreError(WeightbenchError):
    """A row could not be written or read.

    Attributes:
        errno: the operating system's number (``errno.ENOSPC`` on a full disk), or None.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class DamagedRowError(StoreError):
    """A row file is cut short, is not JSON, or does not hold the cell its name promises."""


class SchemaError(StoreError):
    """A row was written under a schema this version does not know; it is refused rather than misread."""


class FrozenError(StoreError):
    """Frozen tables do not fit their manifest, or something would be written beside them."""


class EmptyStoreError(StoreError):
    """No rows where results were looked for."""


class NotPlainError(WeightbenchError, TypeError):
    """A value has no canonical JSON: an unknown type, a key that is not a string, NaN in a cell."""


class MissingExtraError(WeightbenchError, ImportError):
    """An optional dependency is absent; the message holds the pip command that brings it."""
