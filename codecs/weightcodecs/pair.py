"""Pair codecs: a high- and a low-precision tensor in one blob, from which the low one can be loaded alone.

The payload is the low part and behind it the high part; a codec lays both out. The blob's parameters are

    bytes of the low part (varint) · XXH3-64 of the low part · the codec's own description of the low tensor ·
    XXH3-64 of all that a blob's description says up to here

so that `decode_low` reads the description and the low part, checks both, and touches nothing else: of a
memory-mapped blob the high part's pages stay on disk. Damage in the high part is then not seen; the blob's
own checksum, over everything, finds it in `decode_pair` and `decode`.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from .blob import Blob, BlobInfo, Bytes, byte_view, parse_blob, parse_description, read_varint, seal, varint
from .codec import Array, Codec, Encoded, _checked_out, _flat, new_array
from .errors import CorruptBlobError, UnsupportedFormatError, WrongReferenceError
from .formats import FloatFormat, format_of
from .quantised import Quantised, quantisable

__all__ = ["Pair", "PairCodec", "Quantised", "description_digest"]

Pieces = list[bytes | Array]
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Pair:
    """What a pair codec gives back: both tensors, and the low one's scales if they were given to it."""

    high: Array
    low: Array
    scales: NDArray[np.float32] | None


class PairCodec(Codec):
    """Codes a tensor together with its quantised version. A single array is refused: see `encode_pair`."""

    def unsupported(self, format: FloatFormat) -> str | None:
        """Refuse every single array: there is no pair in it."""
        return "it codes a tensor together with its quantised version; use encode_pair(high, low)"

    def unsupported_pair(self, high: FloatFormat, low: FloatFormat) -> str | None:
        """Return why a pair of these formats is refused, or None if it is taken."""
        return quantisable(high) or self._refusal(high, low)

    def encode_pair(
        self, high: Array, low: Array, *, scales: NDArray[np.float32] | None = None, threads: int = 1
    ) -> Blob:
        """Code a pair into one blob.

        Args:
            high: the tensor, float16, bfloat16 or float32, any shape.
            low: its quantised version, of any quantiser: see the codec.
            scales: float32, in C order one for each run of equally many elements; stored, and given back.
            threads: how many threads may work on it.

        Raises:
            UnsupportedFormatError: the codec does not take these dtypes.
            ValueError: the shapes of high, low and scales do not go together.
        """
        high, low = np.asarray(high), np.asarray(low)
        format = self._checked_format(high, low)
        flat_low = _flat(low, format_of(low))
        if scales is not None:
            scales = np.ascontiguousarray(np.asarray(scales), np.float32)
        parts = self._encode_parts(
            _flat(high, format), format, high.shape, flat_low, low.shape, scales, threads
        )
        return self._sealed(format, high.shape, *parts)

    def decode_pair(self, blob: Bytes, *, threads: int = 1) -> Pair:
        """Return both tensors; `CorruptBlobError` if anything in the blob is off."""
        info, fields, low_part, high_part = self._open(parse_blob(blob))
        quantised = self._decode_low(info, fields, low_part, threads)
        high = self._high(info, high_part, quantised, None, threads)
        return Pair(high.reshape(info.shape), quantised.codes, quantised.scales)

    def decode_low(self, blob: Bytes, *, threads: int = 1) -> Quantised:
        """Return codes and scales, reading the low part alone; `CorruptBlobError` if that is damaged."""
        info, fields, low_part, _ = self._open(parse_description(blob))
        return self._decode_low(info, fields, low_part, threads)

    def low_nbytes(self, blob: Bytes) -> int:
        """Return how many bytes of a blob `decode_low` reads; `CorruptBlobError` as it raises."""
        info = parse_description(blob)
        _, low_part, _ = self._described(info)
        return byte_view(blob).nbytes - len(info.payload) + len(low_part)

    def decode(
        self, blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        """Return the high tensor, see `Codec.decode`; `decode_pair` returns both."""
        info, fields, low_part, high_part = self._open(parse_blob(blob))
        if reference is not None:
            raise WrongReferenceError(f"{self.name} takes no reference")
        target = None if out is None else _checked_out(out, info)
        quantised = self._decode_low(info, fields, low_part, threads)
        high = self._high(info, high_part, quantised, target, threads)
        return high.reshape(info.shape) if out is None else out

    # -- what a codec fills in ---------------------------------------------------------------------------

    @abstractmethod
    def _refusal(self, high: FloatFormat, low: FloatFormat) -> str | None:
        """Return why a quantisable format together with this low one is refused, or None if it is taken."""

    @abstractmethod
    def _encode_parts(
        self,
        high: Array,
        format: FloatFormat,
        shape: tuple[int, ...],
        low: Array,
        low_shape: tuple[int, ...],
        scales: NDArray[np.float32] | None,
        threads: int,
    ) -> tuple[bytes, Pieces, Pieces]:
        """Code flat arrays: description of the low tensor (at most 1 KiB), low part and high part."""

    @abstractmethod
    def _decode_low(self, info: BlobInfo, fields: bytes, part: memoryview, threads: int) -> Quantised:
        """Decode the low part; check every size first."""

    @abstractmethod
    def _decode_high(
        self, info: BlobInfo, part: memoryview, low: Quantised, out: Array, threads: int
    ) -> None:
        """Decode the high part, not empty, into `out`: flat, aligned, not empty."""

    # -- shared ------------------------------------------------------------------------------------------

    def _checked_format(self, high: Array, low: Array) -> FloatFormat:
        format = format_of(high)
        if reason := self.unsupported_pair(format, format_of(low)):
            raise UnsupportedFormatError(f"{self.name} does not take {high.dtype} with {low.dtype}: {reason}")
        return format

    def _high(
        self, info: BlobInfo, part: memoryview, low: Quantised, out: Array | None, threads: int
    ) -> Array:
        if quantisable(info.format) or bool(part) != bool(info.count):
            raise CorruptBlobError(f"{self.name}: the high part does not fit the tensor")
        target = new_array(info) if out is None else out
        if info.count:
            aligned = target if target.flags.aligned else new_array(info)
            self._decode_high(info, part, low, aligned, threads)
            if aligned is not target:
                target[...] = aligned
        return target

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        raise UnsupportedFormatError(f"{self.name}: {self.unsupported(format)}")

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        raise CorruptBlobError(f"{self.name}: not a pair")

    def _sealed(
        self, format: FloatFormat, shape: tuple[int, ...], fields: bytes, low_part: Pieces, high_part: Pieces
    ) -> Blob:
        body = b"".join(map(byte_view, low_part))
        parameters = varint(len(body)) + xxhash.xxh3_64(body).digest() + fields
        parameters += description_digest(self.name, self.version, format, shape, parameters)
        # BytesIO takes over the only reference to the bytes: see blob.seal.
        payload = io.BytesIO(b"".join([body, *map(byte_view, high_part)]))
        return seal(
            payload, codec=self.name, version=self.version, format=format, shape=shape, parameters=parameters
        )

    def _open(self, info: BlobInfo) -> tuple[BlobInfo, bytes, memoryview, memoryview]:
        """Check the description and the low part; return info, the codec's fields and both parts."""
        fields, low_part, digest = self._described(info)
        if xxhash.xxh3_64(low_part).digest() != digest:
            raise CorruptBlobError(f"{self.name}: the low part's checksum does not match; it was altered")
        return info, fields, low_part, info.payload[len(low_part) :]

    def _described(self, info: BlobInfo) -> tuple[bytes, memoryview, bytes]:
        """Check the description alone; return the codec's fields, the low part and its digest as stated."""
        if info.codec != self.name or info.version > self.version:
            raise CorruptBlobError(
                f"the blob was written by {info.codec!r} version {info.version}, not by {self.name!r} "
                f"(up to version {self.version}); use weightcodecs.decode"
            )
        length, at = read_varint(info.parameters, 0)
        end = len(info.parameters) - _DIGEST
        if info.raw or info.reference is not None or at + _DIGEST > end or length > len(info.payload):
            raise CorruptBlobError(f"{self.name}: the description is not that of a pair")
        said = info.parameters[:end]
        if (
            description_digest(info.codec, info.version, info.format, info.shape, said)
            != info.parameters[end:]
        ):
            raise CorruptBlobError(f"{self.name}: the description's checksum does not match; it was altered")
        return said[at + _DIGEST :], info.payload[:length], said[at : at + _DIGEST]


def description_digest(
    name: str, version: int, format: FloatFormat, shape: tuple[int, ...], parameters: bytes
) -> bytes:
    """Return the digest of a pair blob's description, the last eight bytes of its parameters left out."""
    said: list[Any] = [name, version, format.name, list(shape), parameters.hex()]
    return xxhash.xxh3_64(repr(said).encode()).digest()
