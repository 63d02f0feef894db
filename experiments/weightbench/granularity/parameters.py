"""Parameter granularity: distinct values once, and a reference to one of them in the place of every value.

The stream of all values of a format is cut into segments of at most 2^24 values, so that memory stays
bounded. References are packed in ceil(log2(distinct)) bits, most significant bit first. They are not made
smaller than raw by force: that almost every float32 weight is distinct, so that references cost more than
they save, is a result. Source: ours, after the parameter-level analysis of Su et al., PVLDB 17(8), 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightbench.models.model import Array
from weightcodecs.errors import CorruptBlobError
from weightcodecs.formats import format_of

from .unit import Unit

# The kernels are imported where they are used: they load Numba, which takes longer than all else that a
# command needs to start, and which most commands never call.
__all__ = ["SEGMENT", "Distinct", "ParameterUnit", "expand", "reference_bytes", "split"]

SEGMENT = 1 << 24
BLOCK = 1 << 20  # references packed at once: a multiple of 8, so that every block ends with a whole byte


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct values, ascending by bit pattern (k,), and the packed references to them."""

    values: Array
    references: bytes


def reference_bytes(count: int, distinct: int) -> int:
    """Return the bytes that `count` packed references to `distinct` values take."""
    return (count * _width(distinct) + 7) // 8


def split(values: Array) -> Distinct:
    """Split values (n,), 1 ≤ n ≤ 2^24, into distinct bit patterns and references."""
    from weightcodecs.kernels.bit_stream import pack_bits, packed_bytes
    from weightcodecs.kernels.distinct import distinct_patterns

    format = format_of(values)
    if not 1 <= values.size <= SEGMENT:
        raise ValueError(f"split takes from 1 to {SEGMENT} values, not {values.size}")
    distinct, ranks = distinct_patterns(np.ascontiguousarray(values).reshape(-1).view(format.bits_dtype))
    width = _width(distinct.size)
    packed = np.empty(packed_bytes(values.size, width), np.uint8)
    for first in range(0, values.size if width else 0, BLOCK):
        codes = ranks[first : first + BLOCK].astype(np.uint64)
        at = first * width // 8
        pack_bits(codes, width, packed[at : at + packed_bytes(codes.size, width)])
    return Distinct(distinct.view(format.dtype), packed.tobytes())


def expand(distinct: Array, references: bytes | memoryview, count: int) -> Array:
    """Return the `count` values (n,) that references to `distinct` (k,) stand for.

    Raises:
        CorruptBlobError: the references are not `count` ones to `distinct`.
    """
    distinct = distinct.reshape(-1)
    if not 1 <= distinct.size <= count <= SEGMENT or len(references) != reference_bytes(count, distinct.size):
        raise CorruptBlobError("the references do not fit the number of distinct values")
    width = _width(distinct.size)
    if width == 0:
        return np.repeat(distinct, count)
    from weightcodecs.kernels.bit_stream import packed_bytes, unpack_bits

    packed = np.frombuffer(references, np.uint8)
    values = np.empty(count, distinct.dtype)
    for first in range(0, count, BLOCK):
        codes = np.empty(min(BLOCK, count - first), np.uint64)
        at = first * width // 8
        unpack_bits(packed[at : at + packed_bytes(codes.size, width)], width, codes)
        if int(codes.max()) >= distinct.size:
            raise CorruptBlobError("a reference points behind the distinct values")
        values[first : first + codes.size] = distinct[codes.view(np.int64)]
    return values


def _width(distinct: int) -> int:
    return (distinct - 1).bit_length()


# The split that was made last: a unit's values and references are asked for one after the other, and keeping
# the splits of all units would keep the whole model in memory.
_last: tuple[ParameterUnit, Distinct] | None = None


class ParameterUnit(Unit):
    """A segment of a format's stream, coded as its distinct values, which are found when first asked for."""

    @property
    def _split(self) -> Distinct:
        global _last
        if _last is None or _last[0] is not self:
            _last = (self, split(self.values()))
        return _last[1]

    def array(self) -> Array:
        """Return the distinct values (k,), ascending by bit pattern."""
        return self._split.values

    def references(self) -> bytes:
        """Return the packed references."""
        return self._split.references

    def restore(self, decoded: Array) -> Array:
        """Put the (decoded) distinct values where the references point."""
        return expand(decoded, self.references(), self.count)
