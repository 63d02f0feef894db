"""fm_delta: a fine-tuned tensor as integer deltas from its base (Ning et al., "FM-Delta: Lossless Compression
for Storing Massive Fine-tuned Foundation Models", NeurIPS 2024).

Element i of the base predicts element i: both bit patterns are mapped to unsigned integers in the order of
the floats and subtracted; sign and bit length of the difference are entropy coded, the bits below the leading
one are kept raw. Any bit pattern is exact.

`variant="paper"`: the payload is the stream of the authors' program, byte for byte (kernels.range_coder): one
quasi-static model for a tensor of up to three dimensions, one for each output channel of a four-dimensional
one. What differs: where theirs fails (a tensor that expands) or takes wrong data (arrays that are not in C
order, a base of another size), ours stores the array as it is, copies it into order, or refuses; arrays of
more than four dimensions are coded as one dimension; and bfloat16, which their program does not know and
their paper reports, goes in as the 16-bit type.

`variant="fast"` (default, ours): static tables per piece instead of an adaptive model, small deltas whole in
one token, and the delta's length given the base's exponent, which is most of what FM-Delta's symbol costs
(kernels.delta_tokens). Payload: size of every piece (u32 each) · pieces. Version 1 of the codec dealt tokens
to chunks (kernels.delta_chunks); it is read, and not written any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np

from .blob import BlobBuffer, BlobInfo
from .codec import Array, DeltaCodec, Encoded, new_array
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .kernels.delta_chunks import decode_chunks
from .kernels.delta_decode import decode_deltas
from .kernels.delta_encode import COUNTS, encode_deltas, scratch_bytes, scratch_words
from .kernels.delta_tokens import LANES, MAX_CONTEXTS, MAX_LOG, PIECE, STEP
from .kernels.range_coder import decode_fm_delta, encode_fm_delta
from .threads import map_threads

__all__ = ["FmDelta"]

_CHUNKS, _PAPER, _FAST = range(3)  # the first is version 1's variant fast
_TYPE_CODE = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 2}
_MAX_TOP = {2: 1, 4: 2, 8: 1}


@dataclass(frozen=True)
class FmDelta(DeltaCodec):
    """FM-Delta; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper" (the authors' stream, byte for byte).
        contexts: how many ranges of the base's exponent have codes of their own, 1 to 16; fewer are faster.
            Short arrays use fewer. Only with variant "fast".
    """

    name: ClassVar[str] = "fm_delta"
    version: ClassVar[int] = 2
    needs_shape: ClassVar[bool] = True
    variant: Literal["fast", "paper"] = "fast"
    contexts: int = 8

    def validate(self) -> None:
        """Check the number of contexts, and that the paper's variant has no options of ours."""
        if not 1 <= self.contexts <= MAX_CONTEXTS:
            raise ConfigError(f"fm_delta: contexts must be from 1 to {MAX_CONTEXTS}")
        if self.variant == "paper" and self.contexts != 8:
            raise ConfigError("fm_delta: contexts belong to variant fast")

    def unsupported(self, format: FloatFormat) -> str | None:
        """Only floats of 16, 32 and 64 bits have the order that the delta is taken in."""
        if format.name in _TYPE_CODE:
            return None
        return "it codes floats of 16, 32 and 64 bits; use bitx or zstd for others"

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        assert reference is not None  # a DeltaCodec is given one
        fine, base = _words(values.reshape(-1)), _words(reference)
        if self.variant == "paper":
            return _encode_paper(fine, base, values.shape, format)
        return _encode_fast(fine, base, format, self.contexts, threads)

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        layout = info.parameters
        if reference is None or info.format.name not in _TYPE_CODE or len(layout) != 1 or layout[0] > _FAST:
            raise CorruptBlobError("fm_delta: the parameters name no layout of ours")
        base = _words(reference)
        if layout[0] == _PAPER:
            return _decode_paper(info, base, out)
        return _decode_fast(info, base, out, threads, layout[0] == _CHUNKS)


def _dimensions(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the header's (nx, ny, nz, nf): the shape reversed, with ones for what it lacks."""
    if len(shape) > 4 or max(shape, default=0) >= 1 << 32:
        shape = (prod(shape),)
    nx, ny, nz, nf = (*reversed(shape), 1, 1, 1, 1)[:4]
    return nx, ny, nz, nf


def _encode_paper(fine: Array, base: Array, shape: tuple[int, ...], format: FloatFormat) -> Encoded | None:
    dims = _dimensions(shape)
    if max(dims) >= 1 << 32:
        return None
    stream = encode_fm_delta(base, fine, _TYPE_CODE[format.name], dims)
    return None if stream is None else Encoded.of(stream, bytes((_PAPER,)))


def _decode_paper(info: BlobInfo, base: Array, out: Array | None) -> Array:
    dims = _dimensions(info.shape)
    if max(dims) >= 1 << 32:
        raise CorruptBlobError("fm_delta: the paper's stream cannot hold so many elements")
    decoded = decode_fm_delta(info.payload, base, _TYPE_CODE[info.format.name], dims).view(info.format.dtype)
    if out is None:
        return decoded
    out[...] = decoded
    return out


def _encode_fast(fine: Array, base: Array, format: FloatFormat, contexts: int, threads: int) -> Encoded:
    word, pieces = base.dtype.type, -(-base.size // PIECE)
    piece = min(PIECE, base.size)
    bound = PIECE * base.itemsize + 1
    buffer = BlobBuffer(4 * pieces + base.nbytes + pieces)
    contexts, top = _model(base, contexts)
    mantissa, mask = _exponent(format, base)
    sizes = np.empty(pieces, np.int64)
    parts = _parts(pieces, threads)

    def work(part: tuple[int, int]) -> int:
        scratch = (
            np.empty(scratch_words(piece), np.uint16),
            np.empty(scratch_words(piece), base.dtype),
            np.empty(COUNTS, np.uint32),
            np.empty(scratch_bytes(piece, base.itemsize), np.uint8),
        )
        at = 4 * pieces + part[0] * bound  # where it stands if all before it took the most they can
        return int(
            encode_deltas(
                base, fine, mantissa, mask, word(top), contexts, *part, scratch, buffer.array, at, sizes
            )
        )

    end = 4 * pieces
    for part, size in zip(parts, map_threads(work, parts, threads), strict=True):
        at = 4 * pieces + part[0] * bound
        if at != end:
            buffer.array[end : end + size] = buffer.array[at : at + size]
        end += size
    buffer.array[: 4 * pieces] = sizes.astype("<u4").view(np.uint8)
    return Encoded(buffer.finish(end), bytes((_FAST,)))


def _decode_fast(info: BlobInfo, base: Array, out: Array | None, threads: int, chunks: bool) -> Array:
    stream = np.frombuffer(info.payload, np.uint8)
    pieces = -(-info.count // PIECE)
    if stream.size < 4 * pieces:
        raise CorruptBlobError("fm_delta: the payload cannot hold the directory of its pieces")
    offsets = np.empty(pieces + 1, np.int64)
    offsets[0] = 4 * pieces
    offsets[1:] = 4 * pieces + np.cumsum(np.frombuffer(stream, "<u4", pieces), dtype=np.int64)
    if offsets[-1] != stream.size:
        raise CorruptBlobError("fm_delta: the pieces do not fill the payload")
    flat = new_array(info) if out is None else out
    target = flat.view(base.dtype)
    if not target.flags.aligned:
        target = np.empty(info.count, base.dtype)
    mantissa, mask = _exponent(info.format, base)
    entry = np.uint32 if base.itemsize == 2 else np.uint64

    def work(part: tuple[int, int]) -> int:
        if chunks:
            aside = (
                np.empty((LANES, STEP), np.uint16),
                np.empty((LANES, STEP), base.dtype),
                np.empty(2 * min(PIECE, base.size), np.uint8),
            )
            return int(decode_chunks(stream, offsets, base, mantissa, mask, *part, aside, target))
        scratch = (
            np.empty(LANES * STEP, np.uint16),
            np.empty(LANES * STEP, entry),
            np.empty(LANES * STEP, entry),
            np.empty(STEP, base.dtype),
            np.empty(MAX_CONTEXTS << MAX_LOG, entry),
        )
        return int(decode_deltas(stream, offsets, base, mantissa, mask, *part, scratch, target))

    for bad in map_threads(work, _parts(pieces, threads), threads):
        if bad >= 0:
            raise CorruptBlobError(f"fm_delta: piece {bad} is corrupt")
    if not np.shares_memory(target, flat):
        flat.view(base.dtype)[...] = target
    return flat


def _model(base: Array, contexts: int) -> tuple[int, int]:
    """Return contexts and top bits of a token: as many as pay for their code tables."""
    width, size = base.itemsize, min(base.size, PIECE)
    fitting = 1 if size < 2000 else 4 if size < 16_000 else MAX_CONTEXTS
    top = 0 if size < 1000 else 1 if size < 30_000 else _MAX_TOP[width]
    return min(contexts, fitting), min(max(top, width == 2), _MAX_TOP[width])


def _exponent(format: FloatFormat, words: Array) -> tuple[np.generic, np.generic]:
    word = words.dtype.type
    return word(format.mantissa_bits), word((1 << format.exponent_bits) - 1)


def _words(values: Array) -> Array:
    view = values.view(f"u{values.itemsize}")
    view = view.view() if view.flags.aligned else view.copy()
    view.flags.writeable = False
    return view


def _parts(pieces: int, threads: int) -> list[tuple[int, int]]:
    step = pieces if threads <= 1 else max(1, min(4, -(-pieces // threads)))
    return [(first, min(first + step, pieces)) for first in range(0, pieces, step)]
