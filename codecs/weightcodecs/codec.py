"""What a codec is. The kinds are types, so that a wrong combination is refused before anything runs.

A codec is a frozen dataclass: its fields are its configuration and its identity. `encode` turns an array
into a blob (see `blob`), `decode` turns it back. To write one, derive from `ByteCodec` (bytes in, bytes
out), `ArrayCodec` (knows the float format) or `DeltaCodec` (needs a base array) and fill in two methods.

Laws, tested for every registered codec (tests/weightcodecs/test_laws.py): the input is never changed; every
bit pattern comes back exactly (lossless) or within `error_bound` with non-finite values exact (bounded); a
blob is never larger than the raw array and a small footer; a blob that was cut or altered raises
`CorruptBlobError`; a wrong base raises `WrongReferenceError`.
"""

from __future__ import annotations

import dataclasses
import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from .blob import Blob, BlobBuffer, BlobInfo, Bytes, byte_view, parse_blob, raw_array, seal
from .errors import ConfigError, CorruptBlobError, UnsupportedFormatError, WrongReferenceError
from .formats import FloatFormat, format_of
from .typed_fields import first_misfit

__all__ = ["EXACT", "ArrayCodec", "ByteCodec", "Codec", "DeltaCodec", "Encoded", "ErrorBound"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """|decoded − original| ≤ max(absolute, relative·|original|, of_max·M) for every finite value.

    M is the largest finite magnitude of the array that was coded at once: the bound of a quantiser whose step
    follows the data. Values that are not finite are exact.
    """

    absolute: float = 0.0
    relative: float = 0.0
    of_max: float = 0.0

    @property
    def lossless(self) -> bool:
        """Whether every bit comes back."""
        return self.absolute == self.relative == self.of_max == 0.0

    def of(self, largest: float) -> ErrorBound:
        """Return the bound for an array with this largest finite magnitude, without `of_max`."""
        return ErrorBound(max(self.absolute, self.of_max * largest), self.relative)


EXACT = ErrorBound()


@dataclass(slots=True)
class Encoded:
    """What a codec hands back: its payload, and what its decoder must know beside it (at most 2 KiB)."""

    payload: io.BytesIO | BlobBuffer
    parameters: bytes = b""

    @classmethod
    def of(cls, payload: bytes, parameters: bytes = b"") -> Self:
        """Wrap a payload that stands in one bytes object."""
        return cls(io.BytesIO(payload), parameters)

    @property
    def nbytes(self) -> int:
        """Size of payload and parameters."""
        payload = self.payload
        size = payload.used if isinstance(payload, BlobBuffer) else payload.getbuffer().nbytes
        return size + len(self.parameters)


@dataclass(frozen=True)
class Codec(ABC):
    """Base of all codecs: checks, blobs and the raw fallback; see the module's docstring for the laws."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = False
    needs_shape: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a configuration that is not valid (`ConfigError`)."""
        if misfit := first_misfit(self):
            raise ConfigError(f"{self.name}: {misfit}")
        self.validate()

    def validate(self) -> None:  # noqa: B027
        """Raise `ConfigError` if the configuration is not valid. Codecs with limits override this."""

    def config(self) -> dict[str, Any]:
        """Return the configuration: `get_codec(codec.name, **codec.config()) == codec`."""
        return dataclasses.asdict(self)

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return how far a decoded value of this format may be from the original."""
        return EXACT

    def unsupported(self, format: FloatFormat) -> str | None:
        """Return why arrays of this format are refused, or None if they are taken."""
        return None

    # -- encoding ----------------------------------------------------------------------------------------

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code an array into a blob.

        Args:
            values: any shape and layout; dtype of the float-format table.
            reference: the base array, same shape and dtype (delta codecs only).
            threads: how many threads may work on it.

        Returns:
            bytes or a read-only-by-convention memoryview of bytes.

        Raises:
            UnsupportedFormatError: the codec does not take this dtype.
            WrongReferenceError: a delta codec without a fitting base, or a base for any other codec.
        """
        values = np.asarray(values)
        format = format_of(values)
        if reason := self.unsupported(format):
            raise UnsupportedFormatError(f"{self.name} does not take {format.name}: {reason}")
        flat = _flat(values, format)
        base = self._checked_reference(values, reference, format)
        shaped = flat.reshape(values.shape) if self.needs_shape else flat
        encoded = self._encode(shaped, format, base, threads) if flat.size else None
        digest = None if base is None else _digest(base)
        if encoded is None or encoded.nbytes >= flat.nbytes:
            return self._seal(
                BlobBuffer.copied(flat.view(np.uint8)), format, values.shape, b"", digest, raw=True
            )
        return self._seal(encoded.payload, format, values.shape, encoded.parameters, digest, raw=False)

    def decode(
        self, blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        """Turn a blob of this codec back into an array.

        Args:
            blob: what `encode` returned; any configuration of the same codec decodes it.
            reference: the base array that `encode` was given (delta codecs only).
            out: a C-contiguous writable array of the right shape and dtype to decode into.
            threads: how many threads may work on it.

        Returns:
            `out`, or an array of the original shape and dtype (possibly read-only).

        Raises:
            CorruptBlobError: the blob was cut, altered, or written by another codec.
            WrongReferenceError: the base is missing or not the one the blob was made with.
        """
        info = parse_blob(blob)
        if info.codec != self.name or info.version > self.version:
            raise CorruptBlobError(
                f"the blob was written by {info.codec!r} version {info.version}, not by {self.name!r} "
                f"(up to version {self.version}); use weightcodecs.decode"
            )
        if (info.reference is not None) != self.needs_reference:
            wanted = "has" if self.needs_reference else "has no"
            raise CorruptBlobError(f"a blob of {self.name} {wanted} reference digest")
        target = None if out is None else _checked_out(out, info)
        base = self._decoding_reference(info, reference)
        if info.raw or info.count == 0:
            flat = raw_array(info)
            if target is None:
                return flat.copy().reshape(info.shape)
            target[...] = flat
            return out  # type: ignore[return-value]
        flat = self._decode(info, base, target, threads)
        return flat.reshape(info.shape) if out is None else out

    # -- what a codec fills in ---------------------------------------------------------------------------

    @abstractmethod
    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        """Code a non-empty C-contiguous array; None means that raw is smaller.

        `values` is flat, or has its shape where the codec says `needs_shape`; `reference` is flat.
        """

    @abstractmethod
    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        """Decode into `out` (flat) if given, else into a new flat array; check every size first."""

    # -- shared ------------------------------------------------------------------------------------------

    def _seal(
        self,
        payload: io.BytesIO | BlobBuffer,
        format: FloatFormat,
        shape: tuple[int, ...],
        parameters: bytes,
        reference: bytes | None,
        *,
        raw: bool,
    ) -> Blob:
        return seal(
            payload,
            codec=self.name,
            version=self.version,
            format=format,
            shape=shape,
            raw=raw,
            parameters=parameters,
            reference=reference,
        )

    def _checked_reference(self, values: Array, reference: Array | None, format: FloatFormat) -> Array | None:
        if not self.needs_reference:
            if reference is not None:
                raise WrongReferenceError(f"{self.name} takes no reference")
            return None
        if reference is None:
            raise WrongReferenceError(f"{self.name} codes against a base array; pass reference=")
        if reference.shape != values.shape or format_of(reference) != format:
            raise WrongReferenceError(
                f"the base is {reference.dtype}{list(reference.shape)}, "
                f"the array is {values.dtype}{list(values.shape)}; they must agree"
            )
        return _flat(np.asarray(reference), format)

    def _decoding_reference(self, info: BlobInfo, reference: Array | None) -> Array | None:
        if info.reference is None:
            return None
        if reference is None:
            raise WrongReferenceError("this blob was coded against a base array; pass reference=")
        if format_of(reference) != info.format or reference.shape != info.shape:
            raise WrongReferenceError("the base has another shape or dtype than the blob's")
        flat = _flat(np.asarray(reference), info.format)
        if _digest(flat) != info.reference:
            raise WrongReferenceError("this is not the base that the blob was made with (its digest differs)")
        return flat


class ByteCodec(Codec):
    """Bytes in, bytes out: a general lossless compressor, which sees an array as its bytes."""

    @abstractmethod
    def compress(self, data: memoryview, threads: int = 1) -> bytes:
        """Return the compressed bytes of non-empty `data`."""

    @abstractmethod
    def decompress(self, data: memoryview, nbytes: int, threads: int = 1) -> Bytes:
        """Return the `nbytes` original bytes.

        Must not allocate more than `data` can really hold; anything that is not `nbytes` long when
        decompressed raises `CorruptBlobError`.
        """

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        # BytesIO takes over the only reference to the bytes: see blob.seal.
        return Encoded(io.BytesIO(self.compress(byte_view(values), threads)))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        data = self.decompress(info.payload, info.nbytes, threads)
        flat = np.frombuffer(data, info.format.bits_dtype).view(info.format.dtype)
        if flat.nbytes != info.nbytes:
            raise CorruptBlobError(f"{self.name}: {flat.nbytes} bytes came out where {info.nbytes} should")
        if out is None:
            return flat
        out[...] = flat
        return out


class ArrayCodec(Codec):
    """Looks at the elements of an array and knows their float format."""


class DeltaCodec(Codec):
    """Codes an array as its difference from a base array of the same shape and dtype."""

    needs_reference: ClassVar[bool] = True


def new_array(info: BlobInfo) -> Array:
    """Allocate the flat array that a blob decodes into; call it only after the payload's size was checked."""
    return np.empty(info.count, info.format.dtype)


def _flat(values: Array, format: FloatFormat) -> Array:
    # asarray with the table's dtype turns a foreign byte order round and copies only then.
    return np.ascontiguousarray(values, dtype=format.dtype).reshape(-1)


def _digest(flat: Array) -> bytes:
    return xxhash.xxh3_128(byte_view(flat)).digest()


def _checked_out(out: Array, info: BlobInfo) -> Array:
    if out.dtype != info.format.dtype or out.shape != info.shape:
        raise ValueError(
            f"out is {out.dtype}{list(out.shape)}; the blob holds {info.format.name}{list(info.shape)}"
        )
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError("out must be C-contiguous and writable")
    return out.reshape(-1)
