"""blosc2: Blosc2's shuffle or bit shuffle and an inner codec (the package blosc2, extra `baselines`).

Payload: one Blosc2 chunk for every 1 GiB, each behind its length (u32).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from .blob import BlobInfo, byte_view
from .codec import Array, ArrayCodec, Encoded
from .errors import ConfigError, CorruptBlobError
from .formats import FloatFormat
from .peer import accept, check_expansion, encode_exact, require_package

__all__ = ["Blosc2"]

_PART = 1 << 30
_HEADER = 32


@dataclass(frozen=True)
class Blosc2(ArrayCodec):
    """Blosc2; see the module's docstring.

    Attributes:
        filter: "shuffle" (bytes), "bitshuffle" or "none".
        codec: the inner codec: "zstd", "lz4", "lz4hc", "zlib" or "blosclz".
        level: 0 (none) to 9 (smallest).
    """

    name: ClassVar[str] = "blosc2"
    filter: Literal["shuffle", "bitshuffle", "none"] = "shuffle"
    codec: Literal["zstd", "lz4", "lz4hc", "zlib", "blosclz"] = "zstd"
    level: int = 1

    def validate(self) -> None:
        """Check the level, and that the package is installed."""
        require_package("blosc2")
        if not 0 <= self.level <= 9:
            raise ConfigError("blosc2: level must be from 0 to 9")

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        blosc2, data = _package(), byte_view(values)
        filters = {
            "shuffle": blosc2.Filter.SHUFFLE,
            "bitshuffle": blosc2.Filter.BITSHUFFLE,
            "none": blosc2.Filter.NOFILTER,
        }
        parts = []
        for start in range(0, len(data), _PART):
            part = blosc2.compress2(
                data[start : start + _PART],
                typesize=format.nbytes,
                clevel=self.level,
                codec=blosc2.Codec[self.codec.upper()],
                filters=[filters[self.filter]],
                filters_meta=[0],
                nthreads=max(threads, 1),
            )
            parts += [len(part).to_bytes(4, "little"), bytes(part)]
        return encode_exact(values, b"".join(parts))

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        check_expansion(self.name, info)
        blosc2, payload = _package(), info.payload
        parts = []
        at = 0
        for start in range(0, info.nbytes, _PART):
            size = min(_PART, info.nbytes - start)
            length = int.from_bytes(payload[at : at + 4], "little")
            part = bytes(payload[at + 4 : at + 4 + length])
            at += 4 + length
            if length < _HEADER or len(part) != length:
                raise CorruptBlobError("blosc2: a chunk is cut short")
            parts.append((part, size))
        if at != len(payload):
            raise CorruptBlobError("blosc2: bytes are left over behind the last chunk")
        target = np.empty(info.nbytes, np.uint8)
        at = 0
        for part, size in parts:
            try:
                if tuple(blosc2.get_cbuffer_sizes(part)[:2]) != (size, len(part)):
                    raise CorruptBlobError("blosc2: a chunk's header does not say its sizes")
                blosc2.decompress2(part, dst=target[at : at + size], nthreads=max(threads, 1))
            except (RuntimeError, ValueError) as error:
                raise CorruptBlobError(f"blosc2: {error}") from None
            at += size
        return accept(self.name, target, info, out)


@cache
def _package() -> Any:
    import blosc2

    return blosc2
