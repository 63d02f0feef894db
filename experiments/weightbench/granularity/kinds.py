"""The kinds of granularity and their settings."""

from __future__ import annotations

from dataclasses import dataclass

from weightcodecs.errors import ConfigError, UnknownNameError

__all__ = ["CHUNKINGS", "KINDS", "Granularity"]

KINDS = ("model", "layer", "tensor", "chunk", "parameter")
CHUNKINGS = ("fixed", "content")
SMALLEST_FIXED = 64
SMALLEST_CONTENT = 256  # a quarter of it is the window of the Gear hash
LARGEST = 1 << 40


@dataclass(frozen=True, slots=True)
class Granularity:
    """How a model is cut into units.

    Attributes:
        kind: "model", "layer", "tensor", "chunk" or "parameter".
        chunk_bytes: size of a chunk ("fixed") or its normal size ("content": from a quarter of it to four
            times as much), in bytes, rounded to whole elements. Other kinds do not look at it.
        chunking: "fixed", or "content" for content-defined cut points, which move with the data when
            something is inserted before it.

    Raises:
        UnknownNameError: no such kind or chunking; has the nearest names.
        ConfigError: `chunk_bytes` is out of range.
    """

    kind: str = "tensor"
    chunk_bytes: int = 1 << 20
    chunking: str = "fixed"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("granularity", str(self.kind), KINDS)
        if self.chunking not in CHUNKINGS:
            raise UnknownNameError("chunking", str(self.chunking), CHUNKINGS)
        if isinstance(self.chunk_bytes, bool) or not isinstance(self.chunk_bytes, int):
            raise ConfigError(
                f"granularity: chunk_bytes must be a whole number of bytes, not {self.chunk_bytes!r}"
            )
        least = SMALLEST_FIXED if self.chunking == "fixed" else SMALLEST_CONTENT
        if not least <= self.chunk_bytes <= LARGEST:
            raise ConfigError(
                f"granularity: chunk_bytes is {self.chunk_bytes}; {self.chunking} chunks take from {least} "
                f"to {LARGEST} bytes"
            )
