"""Drop one file from this system's page cache, and say whether that worked."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from pathlib import Path

__all__ = ["METHOD", "drop_from_page_cache", "resident_share"]

METHOD = "fsync, posix_fadvise(POSIX_FADV_DONTNEED), checked with mincore"
_TOLERATED = 0.02


def drop_from_page_cache(path: Path) -> str:
    """Write a file's dirty pages to the disk and drop them; no privilege is needed.

    Returns:
        "" if it worked, else the reason why not. What the disk or a hypervisor caches stays.
    """
    if not hasattr(os, "posix_fadvise"):
        return "this system has no posix_fadvise"
    gc.collect()  # a reader that is done, but part of a reference cycle, still maps the file
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        return f"the page cache cannot be dropped: {error.strerror}"
    finally:
        os.close(handle)
    share = resident_share(path)
    if share is None:
        return "mincore is not available, so nobody knows whether the page cache was dropped"
    if share > _TOLERATED:
        return f"{100 * share:.0f} % of the file stayed in memory (a file system in memory, or it is mapped)"
    return ""


def resident_share(path: Path) -> float | None:
    """Share of a file's pages that are in the page cache; None where mincore(2) is not available."""
    size = path.stat().st_size
    if size == 0:
        return 0.0
    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
    except (AttributeError, OSError):
        return None
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(view)
        try:
            failed = mincore(ctypes.addressof(start), size, ctypes.addressof(pages))
        finally:
            del start  # a mapping with an exported buffer cannot be closed
        if failed:
            return None
        return sum(page & 1 for page in bytes(pages)) / len(pages)
