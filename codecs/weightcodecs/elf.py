"""elf: exponent-less floats (Su et al., "Everything You Always Wanted to Know About Storage Compressibility
of Pre-Trained ML Models but Were Afraid to Ask", PVLDB 17(8), 2024).

|w| < 1 is moved into [1, 2), where the exponent is a constant and need not be stored: what remains is the
mantissa and the sign, 24 of 32, 11 of 16 or 53 of 64 bits. The one rounding makes it error-bounded, by half
a unit of the mantissa: 2^−24, 2^−11, 2^−53. Values it does not fit (|w| ≥ the guard, NaN, infinities) are
kept as they are in an exception list.

What differs from the authors' release: its decoder restores float32 only and its bytes hang on a
compile-time thread count; ours restores all three formats from one blob. `variant="paper"` packs codes as the
release does (interleaved, exceptions taken out, 32-bit positions, its guards, −0.0 becoming +0.0);
`variant="fast"` (ours) writes byte planes, keeps the sign of every zero, guards only what would not fit, can
keep fewer bits for an error bound of the user's choice, and can end in an entropy stage, which the papers'
framework runs afterwards (zstd-3) and which gains more on planes.

Format of a payload, fast: bit planes (rest_bytes) · byte planes, high first (each as it is, or coded
if that is smaller; one plane for codes of fewer than 8 bits, or none) · exception list. Paper: codes,
most significant bit first · positions i32 · values; all in one zstd frame with `entropy="zstd"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from .blob import BlobBuffer, BlobInfo, byte_view, read_varint, varint
from .codec import EXACT, Array, ArrayCodec, Encoded, ErrorBound, new_array
from .entropy import decode_into, encode_bound, encode_into
from .errors import ConfigError, CorruptBlobError
from .exceptions import exceptions_nbytes, pack_exceptions, restore_exceptions
from .final_stage import compressed, opened
from .formats import FloatFormat, format_of
from .kernels.bit_stream import pack_bits, packed_bytes, unpack_bits
from .kernels.fixed_point import BLOCK, decode_planes, encode_planes, outside_guard, plane_depth, rest_bytes
from .threads import map_threads, spans

__all__ = ["PAPER_FORMATS", "Elf", "paper_nbytes"]

# The release compares a float with 0.9999999f, which is exactly 1 − 2^−23.
_PAPER_GUARD = {"float16": 0.999, "float32": 1 - 2.0**-23, "float64": 0.99999999999}
PAPER_FORMATS = frozenset(_PAPER_GUARD)
"""Names of the formats that the release takes."""
_PLANES, _PAPER, _CODED, _PAPER_ZSTD = 0, 1, 2, 3
_OURS = 0  # in the place of a zstd level, of which none is 0 here
_MAX_EXPANSION = (128 << 10) // 4  # of a zstd frame: a block of 128 KiB in 4 bytes
_MIN_WINDOW = 1 << 10


def _finest(format: FloatFormat) -> int:
    """Return the most fraction bits that codes of this format have; bfloat16 is coded as float32."""
    return 23 if format.name == "bfloat16" else format.mantissa_bits


@dataclass(frozen=True)
class Elf(ArrayCodec):
    """Elf; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper" (the authors' packing; bounds and widths are the format's own).
        entropy: final stage over each byte plane: "auto" (ours: Huffman, ANS or runs, chunk by chunk),
            "zstd", or "none". Variant "paper": "none", or "zstd" over the whole payload (kept where it is
            smaller), which is the last step of Elves.
        error_bound_absolute: largest |decoded − original| wanted; None for the format's own bound. A larger
            one keeps fewer bits. Only with variant "fast".
        widen_bfloat16: take bfloat16 too, as float32. Refused otherwise: 24 bits would replace 16, unless a
            coarse bound or the entropy stage wins them back.
        level: of entropy "zstd".
    """

    name: ClassVar[str] = "elf"
    variant: Literal["fast", "paper"] = "fast"
    entropy: Literal["auto", "none", "zstd"] = "auto"
    error_bound_absolute: float | None = None
    widen_bfloat16: bool = False
    level: int = 1

    def validate(self) -> None:
        """Check the options and that they go together."""
        bound = self.error_bound_absolute
        if bound is not None and not 0 < bound < 1:
            raise ConfigError("elf: error_bound_absolute must be a number between 0 and 1, or null")
        if self.variant == "paper" and (bound is not None or self.entropy == "auto" or self.widen_bfloat16):
            raise ConfigError(
                "elf: variant=paper is the authors' packing; it goes with entropy=none or entropy=zstd, "
                "error_bound_absolute=null and widen_bfloat16=false"
            )

    def unsupported(self, format: FloatFormat) -> str | None:
        """Say why formats other than float16, float32 and float64 are refused."""
        if format.name in _PAPER_GUARD or (format.name == "bfloat16" and self.widen_bfloat16):
            if self._fraction(format) <= _finest(format):
                return None
            return (
                f"it cannot be kept within {self.error_bound_absolute:g}; "
                f"its finest bound is 2^-{_finest(format) + 1}"
            )
        if format.name == "bfloat16":
            return (
                "its 7 mantissa bits would bound the error at 2^-8 only, far too coarse for weights; "
                "set widen_bfloat16=true to code it as float32 (24 bits for 16, before the entropy stage)"
            )
        return "Elf is defined for float16, float32 and float64"

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Half a unit of the last bit kept; twice that where a bfloat16 is rounded back to its format."""
        if not format.is_float or self.unsupported(format):
            return EXACT
        half_unit = 2.0 ** -(self._fraction(format) + 1)
        return ErrorBound(absolute=half_unit * (2 if format.name == "bfloat16" else 1))

    def _fraction(self, format: FloatFormat) -> int:
        """Return t, the fraction bits that the bound needs; more than the format has if it cannot be kept."""
        if self.error_bound_absolute is None:
            return _finest(format)
        wanted = self.error_bound_absolute / (2 if format.name == "bfloat16" else 1)
        # The smallest t ≥ 1 with 2^−(t+1) ≤ wanted: frexp gives wanted = m·2^e, 1/2 ≤ m < 1.
        return max(-int(np.frexp(wanted)[1]), 1)

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        fraction = self._fraction(format)
        wide = values.astype(np.float32) if format.name == "bfloat16" else values
        if self.variant == "paper":
            encoded = _encode_paper(values, format, fraction)
            zstd = encoded is not None and self.entropy == "zstd"
            return compressed(encoded, self.level, _PAPER_ZSTD) if encoded and zstd else encoded
        guard = 1 - 2.0 ** -(fraction + 1)
        stage = None if self.entropy == "none" else _OURS if self.entropy == "auto" else self.level
        return _encode_fast(values, wide, fraction, guard, stage, threads)

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        info = opened(info, _PAPER_ZSTD, _PAPER)
        layout, fraction, exceptions, lengths = _parameters(info)
        if layout == _PAPER:
            return _decode_paper(info, fraction, exceptions, out)
        planes, rest, listed = _planes(info, fraction, exceptions, lengths, threads)
        target = new_array(info) if out is None else out
        wide = target
        if info.format.name == "bfloat16":
            wide = np.empty(info.count, np.float32)
        elif not target.flags.aligned:
            wide = new_array(info)

        def work(span: tuple[int, int]) -> None:
            low, high = span
            first = rest_bytes(low, plane_depth(fraction, len(planes)))
            decode_planes(planes, rest[first:], fraction, wide[low:high], low)

        map_threads(work, spans(info.count, threads, BLOCK), threads)
        if wide is not target:
            target[...] = wide
        restore_exceptions(target, exceptions, listed)
        return target


def _encode_fast(
    values: Array, wide: Array, fraction: int, guard: float, stage: int | None, threads: int
) -> Encoded:
    width = (fraction + 1) // 8
    widths = [width]
    if stage is not None and width == 0:
        widths.append(1)  # codes of fewer than 8 bits in a byte each, so that the entropy stage sees them
    ways = (_encode_planes(values, wide, fraction, guard, width, stage, threads) for width in widths)
    return min(ways, key=lambda encoded: encoded.nbytes)


def _encode_planes(
    values: Array, wide: Array, fraction: int, guard: float, width: int, stage: int | None, threads: int
) -> Encoded:
    count, depth = values.size, plane_depth(fraction, width)
    rest_size = rest_bytes(count, depth)
    capacity = rest_size + width * (encode_bound(count) if stage == _OURS else count)
    buffer = BlobBuffer(capacity + exceptions_nbytes(count, count // 64, values.itemsize))
    rest = buffer.array[:rest_size]
    # With an entropy stage the planes are written aside first.
    if stage is None:
        planes = buffer.array[rest_size:capacity].reshape(width, count)
    else:
        planes = np.empty((width, count), np.uint8)

    def work(span: tuple[int, int]) -> int:
        low, high = span
        return encode_planes(wide[low:high], fraction, guard, planes, rest[rest_bytes(low, depth) :], low)

    exceptions = sum(map_threads(work, spans(count, threads, BLOCK), threads))
    lengths = [count] * width
    if stage == _OURS:
        lengths = _code_planes(planes, buffer.array[rest_size:], threads)
    elif stage is not None:
        coded = map_threads(lambda plane: _shortest(plane, stage), planes, threads)
        lengths = [len(data) for data in coded]
        at = rest_size
        for data in coded:
            buffer.array[at : at + len(data)] = np.frombuffer(data, np.uint8)
            at += len(data)
    end = rest_size + sum(lengths)
    # Called even where there is nothing to find: compiled with the first array, never inside a timing.
    outside = outside_guard(wide if exceptions else wide[:0], guard, exceptions)
    if exceptions:
        size = exceptions_nbytes(count, exceptions, values.itemsize)
        if end + size > buffer.array.size:
            # Rare; reserving room for any number would cost everybody page faults.
            larger = BlobBuffer(end + size)
            larger.array[:end] = buffer.array[:end]
            buffer = larger
        pack_exceptions(values, outside, buffer.array[end : end + size])
        end += size
    layout = _CODED if stage == _OURS else _PLANES
    header = bytes((layout, fraction)) + varint(exceptions) + b"".join(map(varint, lengths))
    return Encoded(buffer.finish(end), header)


def _code_planes(planes: NDArray[np.uint8], out: NDArray[np.uint8], threads: int) -> list[int]:
    """Code planes one behind the other to the front of `out`, or keep them as they are; return lengths."""
    lengths, at = [], 0
    for plane in planes:
        length = encode_into(plane, out[at:], threads=threads)
        if length >= plane.size:
            length = plane.size
            out[at : at + length] = plane
        lengths.append(length)
        at += length
    return lengths


def _shortest(plane: NDArray[np.uint8], level: int) -> bytes | NDArray[np.uint8]:
    coded = zstandard.ZstdCompressor(level=level).compress(byte_view(plane))
    return coded if len(coded) < plane.size else plane


def _parameters(info: BlobInfo) -> tuple[int, int, int, list[int]]:
    """Return layout, t, number of exceptions and plane lengths, checked against the format."""
    data = info.parameters
    finest = _finest(info.format)
    if len(data) < 3 or not 1 <= data[1] <= finest or info.format.name not in (*_PAPER_GUARD, "bfloat16"):
        raise CorruptBlobError("elf: the parameters do not fit the number format")
    layout, fraction = data[:2]
    exceptions, at = read_varint(data, 2)
    lengths: list[int] = []
    while at < len(data):
        length, at = read_varint(data, at)
        lengths.append(length)
    planes = (fraction + 1) // 8 if layout != _PAPER else 0
    short = layout != _PAPER and planes == 0 and len(lengths) == 1
    if layout > _CODED or (len(lengths) != planes and not short) or exceptions > info.count:
        raise CorruptBlobError("elf: the parameters do not add up")
    return layout, fraction, exceptions, lengths


def _planes(
    info: BlobInfo, fraction: int, exceptions: int, lengths: list[int], threads: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], memoryview]:
    """Return byte planes [width, n], bit planes and the exception list's bytes."""
    count = info.count
    rest_size = rest_bytes(count, plane_depth(fraction, len(lengths)))
    listed = exceptions_nbytes(count, exceptions, info.format.nbytes)
    if rest_size + sum(lengths) + listed != len(info.payload):
        raise CorruptBlobError("elf: the planes do not fill the payload")
    data = np.frombuffer(info.payload, np.uint8)
    rest = data[:rest_size]
    if all(length == count for length in lengths):
        planes = data[rest_size : rest_size + len(lengths) * count].reshape(len(lengths), count)
    else:
        starts = np.cumsum([rest_size, *lengths])
        if any(count > length * _MAX_EXPANSION for length in lengths):
            raise CorruptBlobError("elf: a plane is too short for its length")
        planes = np.empty((len(lengths), count), np.uint8)

        def work(plane: int) -> None:
            part = info.payload[starts[plane] : starts[plane + 1]]
            if len(part) == count:
                planes[plane] = np.frombuffer(part, np.uint8)
            elif info.parameters[0] == _CODED:
                decode_into(part, planes[plane])
            else:
                _read_frame(part, planes[plane])

        map_threads(work, range(len(lengths)), threads)
    if len(lengths) == 1 and fraction < 7 and int(planes.max()) >> (fraction + 1):
        raise CorruptBlobError("elf: a code has more bits than the parameters say")
    return planes, rest, info.payload[len(info.payload) - listed :]


def _read_frame(data: memoryview, plane: NDArray[np.uint8]) -> None:
    try:
        if zstandard.frame_content_size(data) != plane.size:
            raise CorruptBlobError("elf: a plane's frame does not say the array's length")
        # Streaming into our own memory: no second copy of the plane, and no more than its size comes out.
        # No frame of ours has a window larger than its content; bytes behind the frame must be a frame.
        window = max(1 << (plane.size - 1).bit_length(), _MIN_WINDOW)
        decoder = zstandard.ZstdDecompressor(max_window_size=min(window, 1 << 31))
        reader = decoder.stream_reader(data, read_across_frames=True)
        if reader.readinto(byte_view(plane)) != plane.size or reader.read(1):
            raise CorruptBlobError("elf: a plane has another length than the array")
    except zstandard.ZstdError as error:
        raise CorruptBlobError(f"elf: {error}") from None


def _encode_paper(values: Array, format: FloatFormat, fraction: int) -> Encoded | None:
    with np.errstate(invalid="ignore"):  # a signalling NaN
        magnitudes: NDArray[np.float64] = np.abs(values).astype(np.float64)
    inside = magnitudes < _PAPER_GUARD[format.name]
    outside = np.flatnonzero(~inside)
    if values.size >= 1 << 31:
        return None  # the release's positions are 32-bit
    kept = values[inside]
    wide = kept.astype(np.float64 if format.nbytes == 8 else np.float32)
    scaled = np.rint(np.abs(wide) * wide.dtype.type(2.0**fraction)).astype(np.uint64)
    codes = (scaled << np.uint64(1)) | np.less(wide, 0)
    width = fraction + 1
    packed = packed_bytes(codes.size, width)
    buffer = BlobBuffer(packed + outside.size * (4 + format.nbytes))
    pack_bits(codes, width, buffer.array[:packed])
    end = packed + outside.size * 4
    buffer.array[packed:end] = outside.astype("<i4").view(np.uint8)
    buffer.array[end:] = values[outside].view(np.uint8)
    return Encoded(buffer.finish(buffer.array.size), bytes((_PAPER, fraction)) + varint(outside.size))


def paper_nbytes(values: Array) -> int:
    """Return the size of the paper's stream of a float16, float32 or float64 array, without making it."""
    format, flat = format_of(values), values.reshape(-1)
    guard = _PAPER_GUARD[format.name]
    kept = 0
    for start in range(0, flat.size, 1 << 20):
        part = flat[start : start + (1 << 20)]
        with np.errstate(invalid="ignore"):  # a signalling NaN
            kept += int(np.count_nonzero(np.abs(part).astype(np.float64) < guard))
    exceptions = flat.size - kept
    return packed_bytes(kept, format.mantissa_bits + 1) + exceptions * (4 + format.nbytes)


def _decode_paper(info: BlobInfo, fraction: int, exceptions: int, out: Array | None) -> Array:
    kept, width = info.count - exceptions, fraction + 1
    packed = packed_bytes(kept, width)
    end = packed + exceptions * 4
    if end + exceptions * info.format.nbytes != len(info.payload):
        raise CorruptBlobError("elf: the codes and exceptions do not fill the payload")
    positions = np.frombuffer(info.payload, np.int32, exceptions, packed)
    ascending = bool((np.diff(positions) > 0).all())
    if exceptions and not (ascending and int(positions[0]) >= 0 and int(positions[-1]) < info.count):
        raise CorruptBlobError("elf: the exceptions' positions are not ascending inside the array")
    codes = np.empty(kept, np.uint64)
    unpack_bits(np.frombuffer(info.payload, np.uint8, packed), width, codes)
    wide = (codes >> np.uint64(1)).astype(np.float64) * 2.0**-fraction
    target = new_array(info) if out is None else out
    inside = np.ones(info.count, bool)
    inside[positions] = False
    target[inside] = np.where(codes & np.uint64(1), -wide, wide).astype(info.format.dtype)
    bits = info.format.bits_dtype
    target.view(bits)[positions] = np.frombuffer(info.payload, bits, exceptions, end)
    return target
