"""A float tensor given its quantised codes and scales, as bytes. Source: ours; see kernels.rank_in_bin.

Layout: mode (one byte), then

    RANKS   slack in 1/4 steps (one byte) · number of escapes (varint) ·
            bytes of ranks and rest of each block of 65,536 elements (u32 each) · the blocks: ranks, rest ·
            escapes (exceptions.py) · eight zero bytes, so that kernels may load words
    PLANES  the byte planes of the tensor, high first, each a varint length and entropy.py's bytes: for codes
            that say little about the values

Which of the two, and the slack, is decided on the size, a few blocks being tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .blob import read_varint, varint
from .codec import Array
from .entropy import check_plane, decode_plane, encode_plane
from .errors import CorruptBlobError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions
from .formats import FloatFormat
from .kernels.rank_in_bin import decode_ranks, encode_ranks
from .kernels.uniform_code import RECIPROCALS
from .quantise import code_intervals
from .threads import map_threads

__all__ = [
    "Given",
    "decode_given",
    "encode_given",
    "pack_floats",
    "read_planes",
    "unpack_floats",
    "write_planes",
]

_RANKS, _PLANES = 0, 1
_BLOCK = 1 << 16
_PADDING = 8
_SPARE = 16  # kernels store whole words
_SLACKS = (0, 2, 4)  # quarters of a step
_TRIED_BLOCKS = 4
_MANY_ESCAPES = 100  # more than one in so many elements: look whether wider intervals help

Codes = NDArray[np.uint8]
Scales = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Given:
    """What the decoder knows of a tensor.

    Attributes:
        codes: uint8 (n,), each below `levels`.
        scales: float32; element i has scales[i // group].
        group: elements that share a scale, at least 1.
        levels: 256 for INT8, 16 for NF4.
    """

    codes: Codes
    scales: Scales
    group: int
    levels: int


def encode_given(values: Array, format: FloatFormat, given: Given, threads: int) -> list[bytes | Array]:
    """Code a non-empty flat contiguous array of floats; return the pieces of its bytes, in order."""
    slack, escaping = _chosen_slack(values, format, given)
    ranked = None if slack is None else _encode_ranks(values, format, given, slack, threads)
    # Planes are never far above raw, and beat ranks only where those escape a lot.
    if ranked is not None and (not escaping or _size(ranked) < values.nbytes // 2):
        return ranked
    planes = [bytes((_PLANES,)), *write_planes(values, threads)]
    return planes if ranked is None or _size(planes) < _size(ranked) else ranked


def decode_given(data: memoryview, format: FloatFormat, given: Given, out: Array, threads: int) -> None:
    """Decode into flat `out`; `CorruptBlobError` if the bytes are not what `encode_given` writes."""
    if len(data) < 2 or data[0] not in (_RANKS, _PLANES):
        raise CorruptBlobError("the high part starts with a mode that does not exist")
    if data[0] == _PLANES:
        if read_planes(data, 1, out, threads) != len(data):
            raise CorruptBlobError("the planes do not fill the high part")
        return
    count, blocks = out.size, -(-out.size // _BLOCK)
    escapes, at = read_varint(bytes(data[:16]), 2)
    listed = exceptions_nbytes(count, escapes, format.nbytes) if escapes <= count else -1
    end = len(data) - _PADDING - listed
    if listed < 0 or end < at + 8 * blocks:
        raise CorruptBlobError("the high part is too short for its blocks and escapes")
    sizes = np.frombuffer(data[at : at + 8 * blocks], "<u4").astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]) + at + 8 * blocks
    if int(offsets[-1]) != end:
        raise CorruptBlobError("the blocks do not fill the high part")
    lower, upper = code_intervals(given.levels, data[1] / 4)
    stream = np.frombuffer(data, np.uint8)
    patterns = out.view(format.bits_dtype)

    def work(first: int) -> bool:
        good = True
        for block in range(first, min(first + _task(blocks, threads), blocks)):
            start, stop = block * _BLOCK, min((block + 1) * _BLOCK, count)
            ranks, rest, behind = offsets[2 * block : 2 * block + 3]
            good &= decode_ranks(
                stream, ranks, rest, behind, given.codes, given.scales, given.group, start, stop,
                lower, upper, format.mantissa_bits, format.bias, format.bits, RECIPROCALS, patterns,
            )  # fmt: skip
        return good

    if not all(map_threads(work, range(0, blocks, _task(blocks, threads)), threads)):
        raise CorruptBlobError("a block of the high part does not end where it should")
    restore_exceptions(out, escapes, data[end : end + listed])


def write_planes(values: Array, threads: int) -> list[bytes | Array]:
    """Return the byte planes of a flat array, high first, each as a varint length and its coded bytes."""
    pieces: list[bytes | Array] = []
    planes = values.view(np.uint8).reshape(-1, values.itemsize)
    for byte in range(values.itemsize - 1, -1, -1):
        coded = encode_plane(np.ascontiguousarray(planes[:, byte]), threads=threads)
        pieces += [varint(len(coded)), coded]
    return pieces


def read_planes(data: memoryview, at: int, out: Array, threads: int) -> int:
    """Fill flat `out` from what `write_planes` wrote at data[at:]; return the position behind it."""
    planes = out.view(np.uint8).reshape(-1, out.itemsize)
    for byte in range(out.itemsize - 1, -1, -1):
        plane, at = _plane_at(data, at)
        planes[:, byte] = decode_plane(plane, out.size, threads=threads)
    return at


def pack_floats(values: Scales, threads: int = 1) -> bytes:
    """Return float32 numbers as planes: the lower two cost nothing where scales are bfloat16 values."""
    return b"".join(bytes(piece) for piece in write_planes(np.ascontiguousarray(values).reshape(-1), threads))


def unpack_floats(data: memoryview, at: int, count: int) -> tuple[Scales, int]:
    """Return `count` numbers of `pack_floats` at data[at:] and the position behind them."""
    behind = at
    for _ in range(4):  # nothing is allocated for a number that the planes do not account for
        plane, behind = _plane_at(data, behind)
        check_plane(plane, count)
    out = np.empty(count, np.float32)
    return out, read_planes(data, at, out, 1)


def _plane_at(data: memoryview, at: int) -> tuple[memoryview, int]:
    """Return the coded plane at data[at:] and the position behind it."""
    length, begin = read_varint(bytes(data[at : at + 10]), 0)
    at += begin
    if length > len(data) - at:
        raise CorruptBlobError("a plane is longer than what is left of its part")
    return data[at : at + length], at + length


def _size(pieces: list[bytes | Array]) -> int:
    return sum(len(piece) for piece in pieces)  # arrays of bytes, all of them


def _task(blocks: int, threads: int) -> int:
    return max(1, -(-blocks // max(threads, 1)))


def _chosen_slack(values: Array, format: FloatFormat, given: Given) -> tuple[int | None, bool]:
    """Return the slack that makes a few blocks smallest (None: raw is smaller), and whether many escape."""
    blocks = -(-values.size // _BLOCK)
    tried = sorted({i * (blocks - 1) // max(_TRIED_BLOCKS - 1, 1) for i in range(_TRIED_BLOCKS)})
    total = sum(min(_BLOCK, values.size - block * _BLOCK) for block in tried)
    best, smallest, escaping = None, total * format.nbytes * 1.05, False
    for slack in _SLACKS:
        size = escaped = 0
        for block in tried:
            ranks, rest, escapes = _encode_block(values, format, given, slack, block)
            size += ranks.size + rest.size + escapes.size * (2 + format.nbytes)
            escaped += escapes.size
        if size < smallest:
            best, smallest = slack, size
        if escaped * _MANY_ESCAPES <= total:
            break
        escaping = True
    return best, escaping


def _encode_ranks(
    values: Array, format: FloatFormat, given: Given, slack: int, threads: int
) -> list[bytes | Array]:
    blocks = -(-values.size // _BLOCK)
    coded = map_threads(
        lambda block: _encode_block(values, format, given, slack, block), range(blocks), threads
    )
    sizes = np.array([part.size for ranks, rest, _ in coded for part in (ranks, rest)], "<u4")
    escapes = np.concatenate([escaped for *_, escaped in coded])
    listed = np.empty(exceptions_nbytes(values.size, escapes.size, format.nbytes), np.uint8)
    if escapes.size:
        pack_exceptions(values, escapes, listed)
    head = bytes((_RANKS, slack)) + varint(escapes.size)
    streams = [part for ranks, rest, _ in coded for part in (ranks, rest)]
    return [head, sizes.view(np.uint8), *streams, listed, bytes(_PADDING)]


def _encode_block(
    values: Array, format: FloatFormat, given: Given, slack: int, block: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    start, stop = block * _BLOCK, min((block + 1) * _BLOCK, values.size)
    lower, upper = code_intervals(given.levels, slack / 4)
    # At most 32 bits for four ranks (a group of its own for one if a row is that short), and all bits inside.
    ranks = np.empty(4 * (stop - start) + _SPARE, np.uint8)
    rest = np.empty(format.nbytes * (stop - start) + _SPARE, np.uint8)
    escapes, sizes = np.empty(stop - start, np.int64), np.zeros(3, np.int64)
    encode_ranks(
        values.view(format.bits_dtype), given.codes, given.scales, given.group, start, stop, lower, upper,
        format.mantissa_bits, format.bias, format.bits, ranks, rest, escapes, sizes,
    )  # fmt: skip
    return ranks[: sizes[0]].copy(), rest[: sizes[1]].copy(), escapes[: sizes[2]].copy()
