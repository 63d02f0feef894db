"""identity: the raw bytes. The noise floor of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .blob import BlobInfo
from .codec import Array, ArrayCodec, Encoded
from .errors import CorruptBlobError
from .formats import FloatFormat

__all__ = ["Identity"]


@dataclass(frozen=True)
class Identity(ArrayCodec):
    """Stores the array as it is: the raw fallback that every codec has, and nothing else."""

    name: ClassVar[str] = "identity"

    def _encode(
        self, values: Array, format: FloatFormat, reference: Array | None, threads: int
    ) -> Encoded | None:
        return None

    def _decode(self, info: BlobInfo, reference: Array | None, out: Array | None, threads: int) -> Array:
        raise CorruptBlobError("identity: the payload should be raw")
