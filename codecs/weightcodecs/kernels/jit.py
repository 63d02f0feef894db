"""How every kernel here is compiled: without the GIL, cached on disk, never `parallel=True`.

Threads stand above the kernels (`weightcodecs.threads`): Numba's own thread layers abort the process when two
Python threads enter them at once. Kernels check nothing; their callers check every size first.
"""

from __future__ import annotations

from numba import njit

__all__ = ["kernel"]

kernel = njit(nogil=True, cache=True, error_model="numpy")
