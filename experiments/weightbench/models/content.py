"""SHA-256 of files, remembered as long as a file's size, time and inode stay the same."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from .cache import cache_directory

__all__ = ["file_sha256", "remember_sha256", "remembered_sha256", "sha256_of"]

# A file changed again within the clock's resolution looks unchanged; younger files are not remembered.
SETTLED_NS = 2_000_000_000


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal, reading all of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content; read once, then remembered in the cache directory."""
    real = path.resolve()
    before = real.stat()
    digest = remembered_sha256(real, before)
    if digest is None:
        digest = sha256_of(real)
        remember_sha256(real, before, digest)
    return digest


def remembered_sha256(path: Path, status: os.stat_result) -> str | None:
    """Return the SHA-256 of a file with this status as far as it is remembered; the file is not read."""
    key, record = _record(path.resolve(), status)
    try:
        known = json.loads(record.read_text())
        if known["key"] == key and len(known["sha256"]) == 64:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not remembered, or the record is damaged: the file must be read
    return None


def remember_sha256(path: Path, status: os.stat_result, digest: str) -> None:
    """Remember the SHA-256 of what was read from a file that had this status, unless it has changed since."""
    real = path.resolve()
    try:
        after = real.stat()
    except OSError:
        return  # it has gone meanwhile
    key, record = _record(real, status)
    unchanged = _record(real, after)[0] == key
    if unchanged and time.time_ns() - status.st_mtime_ns > SETTLED_NS:
        _remember(record, {"key": key, "sha256": digest})


def _record(real: Path, status: os.stat_result) -> tuple[str, Path]:
    key = json.dumps([str(real), status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino])
    return key, cache_directory() / "digests" / hashlib.sha256(key.encode()).hexdigest()


def _remember(record: Path, content: dict[str, str]) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=record.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        Path(name).replace(record)
    except OSError:
        return  # a cache that cannot be written (read-only or full disk) only costs reading again next time
