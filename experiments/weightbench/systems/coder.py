"""What codes the units of a model: a codec is one, and so is a rule that picks a codec for each unit."""

from __future__ import annotations

from typing import Any, Protocol

from weightbench.models.model import Array
from weightcodecs import Blob, ErrorBound, FloatFormat
from weightcodecs.blob import Bytes

__all__ = ["Coder"]


class Coder(Protocol):
    """Codes arrays into blobs of weightcodecs. Every blob names the codec that decodes it."""

    @property
    def name(self) -> str:
        """Name of the codec or system."""

    @property
    def version(self) -> int:
        """Its version: a part of the identity of what it writes."""

    @property
    def needs_reference(self) -> bool:
        """Whether nothing can be coded without a reference (delta codecs)."""

    def config(self) -> dict[str, Any]:
        """Return its configuration in plain values."""

    def unsupported(self, format: FloatFormat) -> str | None:
        """Return why arrays of this format are refused, or None if they are taken."""

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return how far a decoded value of this format may be from the original."""

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code an array, against `reference` (same shape and dtype) if that is given and of use.

        Whether the blob needs the reference again says `weightcodecs.inspect(blob).reference is not None`.
        """

    def decode(
        self, blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        """Turn a blob back into an array; a reference that the blob was not coded against is ignored."""
