"""Decoded units that hold more than one tensor, kept while their other tensors may still be asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from weightbench.models.model import Array

__all__ = ["UnitCache"]


class UnitCache:
    """Least recently used out first, within a limit of bytes, and beside them one unit larger than that.

    The one large unit has a place of its own, so that small ones between its tensors (norms of another
    format) do not drive it out and have it decoded again for each tensor.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._units: OrderedDict[int, Array] = OrderedDict()
        self._bytes = 0
        self._large: tuple[int, Array] | None = None

    def get(self, unit: int, nbytes: int, decode: Callable[[], Array]) -> Array:
        """Return a unit of `nbytes`, decoded now if it is not held; it is held afterwards."""
        if nbytes > self._limit:
            if self._large is None or self._large[0] != unit:
                self._large = None  # before decoding: never two of them in memory
                self._large = unit, decode()
            return self._large[1]
        if unit in self._units:
            self._units.move_to_end(unit)
            return self._units[unit]
        while self._units and self._bytes + nbytes > self._limit:
            self._bytes -= self._units.popitem(last=False)[1].nbytes
        values = decode()
        self._units[unit] = values
        self._bytes += values.nbytes
        return values
