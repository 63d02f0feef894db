"""How every kernel here is compiled: without the GIL, cached on disk, never `parallel=True`.

Threads stand above the kernels (`weightcodecs.threads`): Numba's own thread layers abort the process when two
Python threads enter them at once. Kernels check nothing; their callers check every size first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash
from numba import njit

__all__ = ["kernel", "sources_digest"]


def sources_digest() -> str:
    """Return a digest of every source file that may be compiled into a kernel."""
    digest = xxhash.xxh3_128()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


_DIGEST = sources_digest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function, or load what an earlier process compiled from the same sources.

    Numba asks only whether the file that defines a kernel has changed; a kernel that it calls, in another
    file, is compiled into it all the same. So its cache is stamped with all of our kernels, too.
    """
    compiled: Any = njit(nogil=True, cache=True, error_model="numpy")(function)
    index = compiled._cache._cache_file
    index._source_stamp = (index._source_stamp, _DIGEST)
    return compiled
