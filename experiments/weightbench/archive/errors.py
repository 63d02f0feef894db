"""The errors of archives."""

from __future__ import annotations

from weightbench.errors import WeightbenchError

__all__ = ["ArchiveError", "CorruptArchiveError"]


class ArchiveError(WeightbenchError):
    """An archive could not be written, opened or unpacked.

    Attributes:
        errno: the operating system's number (``errno.ENOSPC`` on a full disk), or None.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class CorruptArchiveError(ArchiveError):
    """The archive is cut short, altered, or not one of ours."""
