"""A codec by itself, as a system: dedup as the run says; beside a delta codec one for what has no base."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from weightbench.granularity import Unit
from weightbench.lineage import BaseValues
from weightbench.models.model import Array, Model
from weightcodecs import FORMATS, Blob, Codec, ConfigError, ErrorBound, FloatFormat

from .system import System, SystemCoder

__all__ = ["PlainSystem"]


@dataclass(frozen=True)
class PlainSystem(System):
    """A codec by itself.

    Attributes:
        codec: codes every unit (a delta codec: every unit that has a base).
        alone: delta codecs: codes units without a base; lossless, and not a delta codec itself. Others have
            no use for it. No part of `config()`: it belongs to the workload.
    """

    codec: Codec
    alone: Codec | None = None

    def validate(self) -> None:
        """Check that a delta codec has a lossless codec beside it."""
        if not self.codec.needs_reference:
            return
        if self.alone is None:
            raise ConfigError(f"{self.codec.name} codes against a base; name a codec for what has none")
        if self.alone.needs_reference:
            raise ConfigError(f"{self.alone.name} needs a base itself; it cannot code what has none")
        taken = [format for format in FORMATS.values() if not self.alone.unsupported(format)]
        lossy = [format.name for format in taken if not self.alone.error_bound(format).lossless]
        if lossy or not taken:
            raise ConfigError(
                f"{self.alone.name} is not lossless, {self.codec.name} is; what has no base must be as exact "
                f"as what has one: choose a lossless codec, such as zipnn"
            )

    @property
    def name(self) -> str:
        """Name of the codec."""
        return self.codec.name

    @property
    def version(self) -> int:
        """Version of the codec."""
        return self.codec.version

    def config(self) -> dict[str, Any]:
        """Return the configuration of the codec."""
        return self.codec.config()

    @property
    def uses_base(self) -> bool:
        """Whether the codec is a delta codec."""
        return self.codec.needs_reference

    @property
    def needs_base(self) -> bool:
        """Whether the codec is a delta codec."""
        return self.codec.needs_reference

    def unsupported(self, format: FloatFormat) -> str | None:
        """Return why the codec, or the one for what has no base, refuses a format."""
        reason = self.codec.unsupported(format)
        if reason is None and self.alone is not None and self.codec.needs_reference:
            reason = self.alone.unsupported(format)
        return reason

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return the codec's bound."""
        return self.codec.error_bound(format)

    def coder(self, model: Model, units: Iterable[Unit], base: BaseValues | None) -> PlainCoder:
        """Return the codec, or the choice between it and the one for what has no base."""
        return PlainCoder(self, self.codec, self.alone)


@dataclass(frozen=True)
class PlainCoder(SystemCoder):
    """Codes with the codec, or without a base with the other one."""

    codec: Codec
    alone: Codec | None

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code an array; a reference is for delta codecs alone."""
        if not self.codec.needs_reference:
            return self.codec.encode(values, threads=threads)
        if reference is not None:
            return self.codec.encode(values, reference=reference, threads=threads)
        assert self.alone is not None  # PlainSystem.validate
        return self.alone.encode(values, threads=threads)
