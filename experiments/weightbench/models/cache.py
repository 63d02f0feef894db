"""The cache directory, and publishing folders in it atomically."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["cache_directory", "publish"]

ABANDONED_SECONDS = 86_400


def cache_directory() -> Path:
    """Return the cache directory: WEIGHTBENCH_CACHE, or ``~/.cache/weightbench``. It need not exist yet."""
    chosen = os.environ.get("WEIGHTBENCH_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".cache" / "weightbench"


def publish(target: Path, build: Callable[[Path], None]) -> Path:
    """Return `target`, building it first if it is not there.

    `build` fills an empty folder beside it, which is renamed in one step: a folder in the cache is whole or
    absent. Of several processes that build the same folder the first one wins, the others throw theirs away.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}-*"):  # by a process that was killed
        with contextlib.suppress(OSError):  # another process removes it, too
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        build(workplace)
        workplace.chmod(0o755)
        try:
            workplace.rename(target)
        except OSError:
            if not target.is_dir():  # lost no race: a real error
                raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target
