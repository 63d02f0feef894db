"""FM-Delta's entropy stage as published, byte for byte: a carry-less range coder, a quasi-static model.

FM-Delta: Ning et al., "FM-Delta: Lossless Compression for Storing Massive Fine-tuned Foundation Models"
(NeurIPS 2024); its coder is that of fpzip (Lindstrom), the quasi-static model is M. Schindler's. An element
of the base tensor predicts the same element of the fine-tuned one: both bit patterns are mapped to unsigned
integers in the order of the floats, and the difference d is coded as a symbol (its sign and the position k
of its leading one) and k raw bits. The stream opens with the type (8 bits) and four dimensions (32 bits
each), all through the coder.

The arithmetic is that of the published program modulo 2**32; branches on how many bytes a step emits,
symbol search by bisection and the counting of leading zeros by a loop are not: they cost most of its time.
Source of those: ours.
"""

from math import prod
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from weightcodecs.errors import ConfigError, CorruptBlobError, UnsupportedFormatError
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import address_of, bit_length, load32, store32, swap_bytes32

Patterns: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]

MAX_OVERHEAD = 28  # the published program gives up beyond the raw size and so many bytes
PADDING = 64  # one element reads or writes at most so much beyond where it began
_PERIOD = 1024
_BUCKET_BITS = 10
_BUCKETS = 1 << _BUCKET_BITS
_MASK = np.uint64(0xFFFF_FFFF)
_BUCKET_SHIFT = np.uint64(16 - _BUCKET_BITS)
_LOWER = np.uint64(0xFFFF)
_SMALL = np.uint64(1 << 16)
_FREQUENCY = np.uint64(0x1_FFFF)
_W0 = np.uint64(0)
_W1 = np.uint64(1)
_W3 = np.uint64(3)
_W8 = np.uint64(8)
_W16 = np.uint64(16)
_W24 = np.uint64(24)
_W32 = np.uint64(32)
_W40 = np.uint64(40)


@kernel
def _rebuild(state, cumulative, frequencies, buckets):  # type: ignore[no-untyped-def]
    """Start an interval of the model; ``state`` is (interval, left, more, increment)."""
    if state[2] > 0:
        state[1] = state[2]
        state[2] = 0
        state[3] += 1
        return
    state[0] = min(2 * state[0], _PERIOD)
    total = 0
    rest = 65536
    for symbol in range(frequencies.size):
        frequency = frequencies[symbol]
        cumulative[symbol] = total
        total += frequency
        frequencies[symbol] = (frequency >> 1) | 1
        rest -= frequencies[symbol]
    cumulative[frequencies.size] = total
    state[3] = rest // state[0]
    state[2] = rest % state[0]
    state[1] = state[0] - state[2]
    if buckets.size > 0:
        _fill_buckets(cumulative, buckets)


@kernel
def _fill_buckets(cumulative, buckets):  # type: ignore[no-untyped-def]
    """A symbol's start, frequency and number for each bucket inside its interval; 0 for the others."""
    width = 1 << (16 - _BUCKET_BITS)
    for symbol in range(cumulative.size - 1):
        first = cumulative[symbol]
        last = cumulative[symbol + 1]
        if first & (width - 1):
            buckets[first >> (16 - _BUCKET_BITS)] = _W0
        entry = np.uint64(first) | np.uint64(last - first) << _W16 | np.uint64(symbol) << _W40
        for bucket in range((first + width - 1) >> (16 - _BUCKET_BITS), last >> (16 - _BUCKET_BITS)):
            buckets[bucket] = entry


@kernel
def _reset(state, cumulative, frequencies, buckets):  # type: ignore[no-untyped-def]
    symbols = frequencies.size
    for symbol in range(symbols):
        frequencies[symbol] = 65536 // symbols + (symbol < 65536 % symbols)
    state[0] = (symbols >> 4) | 2
    state[2] = 0
    _rebuild(state, cumulative, frequencies, buckets)


@njit(inline="always")
def _emit(low, span, stream, at):  # type: ignore[no-untyped-def]
    """Normalise: write the bytes that ``low`` and ``low + span`` share; cut a small ``span`` short."""
    shared = _W32 - bit_length(low ^ ((low + span) & _MASK))
    shift = shared & _W24
    store32(stream, at, swap_bytes32(low))
    at += np.int64(shift >> _W3)
    low = (low << shift) & _MASK
    span = (span << shift) & _MASK
    if span < _SMALL:
        store32(stream, at, swap_bytes32(low))
        at += 2
        low = (low << _W16) & _MASK
        span = (_W0 - low) & _MASK
    return low, span, at


@njit(inline="always")
def _put_raw(value, bits, low, span, stream, at):  # type: ignore[no-untyped-def]
    """Code the low ``bits`` (uint64) of ``value``, in pieces of 16 with the lowest first."""
    while bits > _W16:
        span >>= _W16
        low = (low + span * (value & _LOWER)) & _MASK
        low, span, at = _emit(low, span, stream, at)
        value >>= _W16
        bits -= _W16
    span >>= bits
    return _emit((low + span * value) & _MASK, span, stream, at)


@njit(inline="always")
def _ordered(pattern, top, mask):  # type: ignore[no-untyped-def]
    """Map a bit pattern to unsigned integers in the order of the floats (no branch: signs are random)."""
    return pattern ^ (top | ((_W0 - np.uint64((pattern & top) != _W0)) & mask))


@kernel
def encode_deltas(base, fine, kind, dims, limit, stream):  # type: ignore[no-untyped-def]
    """Code ``fine`` given ``base``.

    Args:
        base, fine: uint16, uint32 or uint64 bit patterns, 1-D, of the same length and type.
        kind: the type number for the header.
        dims: int64 (4,), (nx, ny, nz, nf) for the header; their product is the length. The model starts
            anew for each of the nf fields.
        limit: the most bytes to write.
        stream: uint8 array of ``limit + PADDING`` bytes.

    Returns:
        Bytes written, or -1 if they would be more than ``limit``.
    """
    width = 8 * base.itemsize
    top = _W1 << np.uint64(width - 1)
    mask = top | (top - _W1)
    frequencies = np.empty(2 * width + 1, np.int64)
    cumulative = np.empty(2 * width + 2, np.int64)
    buckets = np.empty(0, np.uint64)
    state = np.zeros(4, np.int64)
    output = address_of(stream)
    low = _W0
    span = _MASK
    at = 0
    low, span, at = _put_raw(np.uint64(kind), _W8, low, span, output, at)
    for axis in range(4):
        low, span, at = _put_raw(np.uint64(dims[axis]), _W32, low, span, output, at)
    field = dims[0] * dims[1] * dims[2]
    for first in range(0, base.size, max(field, 1)):
        _reset(state, cumulative, frequencies, buckets)
        left = state[1]
        increment = state[3]
        for index in range(first, first + field):
            if at > limit:
                return -1
            expected = _ordered(np.uint64(base[index]), top, mask)
            actual = _ordered(np.uint64(fine[index]), top, mask)
            change = np.int64(actual - expected)
            if width == 64:
                sign = -np.int64(actual < expected)
            else:
                sign = change >> 63
            distance = np.uint64((change ^ sign) - sign)
            length = bit_length(distance)
            symbol = width + ((np.int64(length) ^ sign) - sign)
            start = np.uint64(cumulative[np.uint64(symbol)])
            span >>= _W16
            low = (low + span * start) & _MASK
            span *= np.uint64(cumulative[np.uint64(symbol + 1)]) - start
            low, span, at = _emit(low, span, output, at)
            if left == 0:
                _rebuild(state, cumulative, frequencies, buckets)
                left = state[1]
                increment = state[3]
            left -= 1
            frequencies[np.uint64(symbol)] += increment
            if length > _W0:
                bits = length - _W1
                low, span, at = _put_raw(distance ^ (_W1 << bits), bits, low, span, output, at)
    store32(output, at, swap_bytes32(low))
    at += 4
    return at if at <= limit else -1


@njit(inline="always")
def _take(low, span, ahead, stream, at):  # type: ignore[no-untyped-def]
    """Normalise as the encoder did; ``ahead`` is the stream above ``low`` and takes in the next bytes."""
    shared = _W32 - bit_length(low ^ ((low + span) & _MASK))
    shift = shared & _W24
    ahead = ((ahead << _W32 | swap_bytes32(load32(stream, at))) << shift) >> _W32
    at += np.int64(shift >> _W3)
    low = (low << shift) & _MASK
    span = (span << shift) & _MASK
    if span < _SMALL:
        ahead = ((ahead << _W32 | swap_bytes32(load32(stream, at))) << _W16) >> _W32
        at += 2
        low = (low << _W16) & _MASK
        span = (_W0 - low) & _MASK
    return low, span, ahead, at


@njit(inline="always")
def _get_raw(bits, low, span, ahead, stream, at):  # type: ignore[no-untyped-def]
    """Decode raw bits: (value, low, span, ahead, at); a value of more than ``bits`` bits is corrupt."""
    value = _W0
    done = _W0
    while bits > _W16:
        span >>= _W16
        piece = (ahead & _MASK) // (span & _MASK)
        value |= piece << done
        low = (low + span * piece) & _MASK
        low, span, ahead, at = _take(low, span, ahead - span * piece, stream, at)
        if piece > _LOWER:
            return ~_W0, low, span, ahead, at
        done += _W16
        bits -= _W16
    span >>= bits
    piece = (ahead & _MASK) // (span & _MASK)
    value |= piece << done
    low = (low + span * piece) & _MASK
    low, span, ahead, at = _take(low, span, ahead - span * piece, stream, at)
    return value, low, span, ahead, at


@kernel
def decode_deltas(base, stream, kind, dims, fine):  # type: ignore[no-untyped-def]
    """Decode what ``encode_deltas`` wrote; safe on any content.

    Args:
        base: as there.
        stream: uint8 array, the coded bytes and PADDING zeros.
        kind, dims: what the header must say.
        fine: array like ``base``, overwritten.

    Returns:
        True if the stream is valid from its first byte to its last; otherwise ``fine`` is undefined.
    """
    width = 8 * base.itemsize
    top = _W1 << np.uint64(width - 1)
    mask = top | (top - _W1)
    end = stream.size - PADDING
    frequencies = np.empty(2 * width + 1, np.int64)
    cumulative = np.empty(2 * width + 2, np.int64)
    buckets = np.empty(_BUCKETS, np.uint64)
    state = np.zeros(4, np.int64)
    source = address_of(stream)
    low = _W0
    span = _MASK
    ahead = swap_bytes32(load32(source, 0))
    at = 4
    value, low, span, ahead, at = _get_raw(_W8, low, span, ahead, source, at)
    if value != np.uint64(kind):
        return False
    for axis in range(4):
        value, low, span, ahead, at = _get_raw(_W32, low, span, ahead, source, at)
        if at > end or value != np.uint64(dims[axis]):
            return False
    field = dims[0] * dims[1] * dims[2]
    for first in range(0, base.size, max(field, 1)):
        _reset(state, cumulative, frequencies, buckets)
        left = state[1]
        increment = state[3]
        for index in range(first, first + field):
            span >>= _W16
            target = (ahead & _MASK) // (span & _MASK)
            if target > _LOWER or at > end:
                return False
            entry = buckets[target >> _BUCKET_SHIFT]
            if entry == _W0:
                entry = _search(cumulative, np.int64(target))
            start = entry & _LOWER
            low = (low + span * start) & _MASK
            ahead -= span * start
            span *= (entry >> _W16) & _FREQUENCY
            low, span, ahead, at = _take(low, span, ahead, source, at)
            symbol = np.int64(entry >> _W40)
            if left == 0:
                _rebuild(state, cumulative, frequencies, buckets)
                left = state[1]
                increment = state[3]
            left -= 1
            frequencies[np.uint64(symbol)] += increment
            pattern = np.uint64(base[index])
            if symbol != width:
                bits = np.uint64(abs(symbol - width) - 1)
                raw, low, span, ahead, at = _get_raw(bits, low, span, ahead, source, at)
                if raw >> bits != _W0:
                    return False
                distance = np.int64(raw | _W1 << bits)
                sign = (symbol - width) >> 63
                expected = _ordered(pattern, top, mask)
                actual = (expected + np.uint64((distance ^ sign) - sign)) & mask
                pattern = actual ^ (top | ((np.uint64((actual & top) != _W0) - _W1) & mask))
            fine[index] = pattern
    return at == end and ahead == _W0


@kernel
def _search(cumulative, target):  # type: ignore[no-untyped-def]
    symbol = 0
    while cumulative[symbol + 1] <= target:
        symbol += 1
    start = np.uint64(cumulative[symbol])
    return start | (np.uint64(cumulative[symbol + 1]) - start) << _W16 | np.uint64(symbol) << _W40


def _flat_patterns(array: NDArray[Any]) -> Patterns:
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.itemsize not in (2, 4, 8):
        raise UnsupportedFormatError(f"FM-Delta codes elements of 2, 4 or 8 bytes, not {flat.dtype}")
    patterns: Patterns = flat.view(f"u{flat.dtype.itemsize}").view()
    patterns.flags.writeable = False
    return patterns


def _checked_dims(dims: tuple[int, int, int, int], size: int) -> NDArray[np.int64]:
    if min(dims) < 0 or max(dims) >= 1 << 32 or prod(dims) != size:
        raise ConfigError(f"dimensions {dims} do not describe {size} elements")
    return np.array(dims, np.int64)


def encode_fm_delta(
    base_bits: NDArray[Any], fine_bits: NDArray[Any], dtype_code: int, dims: tuple[int, int, int, int]
) -> bytes | None:
    """Code a fine-tuned tensor given its base as FM-Delta's published program does.

    Args:
        base_bits, fine_bits: tensors of the same length with elements of 2, 4 or 8 bytes; their bit
            patterns count.
        dtype_code: 0 for fp32, 1 for fp64, 2 for 16 bits.
        dims: (nx, ny, nz, nf), the shape reversed, 1 for what it lacks; each of nf fields adapts anew.

    Returns:
        The stream, or None if it would exceed the raw size by more than 28 bytes, where the program fails.

    Raises:
        ConfigError: the arguments contradict each other.
        UnsupportedFormatError: elements of another size.
    """
    base, fine = _flat_patterns(base_bits), _flat_patterns(fine_bits)
    if base.dtype != fine.dtype or base.size != fine.size or not 0 <= dtype_code < 256:
        raise ConfigError("base and fine-tuned tensor must have the same length and element size")
    limit = base.nbytes + MAX_OVERHEAD
    stream = np.empty(limit + PADDING, np.uint8)
    size = encode_deltas(base, fine, dtype_code, _checked_dims(dims, base.size), limit, stream)
    return stream[:size].tobytes() if size >= 0 else None


def decode_fm_delta(
    coded: bytes | memoryview | NDArray[np.uint8],
    base_bits: NDArray[Any],
    dtype_code: int,
    dims: tuple[int, int, int, int],
) -> Patterns:
    """Decode a stream of ``encode_fm_delta``: the bit patterns of the fine-tuned tensor, 1-D.

    Raises:
        CorruptBlobError: the stream is not exactly one of such a tensor.
        ConfigError, UnsupportedFormatError: as there.
    """
    base = _flat_patterns(base_bits)
    content = np.frombuffer(coded, np.uint8)
    stream = np.zeros(content.size + PADDING, np.uint8)
    stream[: content.size] = content
    fine = np.empty_like(base)
    if not decode_deltas(base, stream, dtype_code, _checked_dims(dims, base.size), fine):
        raise CorruptBlobError("not an FM-Delta stream of such a tensor")
    return fine
