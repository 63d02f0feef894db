"""The original's results, kept between runs: content-addressed, written atomically, checked on reading."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "baseline_key",
    "computing",
    "library_versions",
    "read_baseline",
    "surroundings_digest",
    "write_baseline",
]

_SCHEMA = 1


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a score depends on."""
    from importlib.metadata import PackageNotFoundError, version  # 16 ms that a mere import need not pay

    versions = {}
    for package in ("lm_eval", "torch", "transformers", "tokenizers", "datasets", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def baseline_key(identity: str, settings: Mapping[str, Any], versions: Mapping[str, str], data: str) -> str:
    """Return the SHA-256 that names a baseline.

    Args:
        identity: content identity of the original model.
        settings: of the plan (threads and batch size among them: they move the last bits).
        versions: from `library_versions`.
        data: digest of the task files or texts.
    """
    parts = {
        "schema": _SCHEMA,
        "identity": identity,
        "settings": dict(settings),
        "versions": dict(versions),
        "data": data,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def surroundings_digest(directory: Path) -> str:
    """Return a SHA-256 over the small files beside the weights: config, tokenizer, generation settings."""
    digest = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        if file.suffix in (".json", ".jinja", ".model", ".txt") and file.is_file():
            digest.update(f"{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@contextlib.contextmanager
def computing(folder: Path, key: str, progress: Callable[[str], None]) -> Iterator[None]:
    """Be the only process that computes a baseline within the block; look once more whether it is there now.

    An advisory lock on a file beside it, which the system gives back when a process dies. Waiting counts
    as time of the cell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{key}.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process, which evaluates the original")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_baseline(folder: Path, key: str) -> tuple[Any, str]:
    """Return (payload, warning): payload is None when there is none; the warning says that it was damaged."""
    file = folder / f"{key}.json"
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return None, ""
    head, _, body = raw.partition(b"\n")
    if head.decode("ascii", "replace") != f"{key} {hashlib.sha256(body).hexdigest()}":
        return None, f"the cached baseline {file.name} is damaged; computed again"
    return json.loads(body), ""


def write_baseline(folder: Path, key: str, payload: Any) -> None:
    """Store a payload of JSON values (NaN and infinities allowed) under the key."""
    import tempfile

    folder.mkdir(parents=True, exist_ok=True)
    body = json.dumps(payload).encode()
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{key[:16]}-")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(f"{key} {hashlib.sha256(body).hexdigest()}\n".encode() + body)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).replace(folder / f"{key}.json")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
