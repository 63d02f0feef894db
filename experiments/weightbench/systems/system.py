"""What a system is: whether units are kept once, whether a base is of use, and what codes each unit."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import weightcodecs
from weightbench.granularity import Unit
from weightbench.lineage import BaseValues
from weightbench.models.model import Array, Model
from weightcodecs import EXACT, Blob, ConfigError, ErrorBound, FloatFormat
from weightcodecs.blob import Bytes, parse_description
from weightcodecs.typed_fields import first_misfit

from .coder import Coder

__all__ = ["System", "SystemCoder", "decode_unit"]


@dataclass(frozen=True)
class System(ABC):
    """A way of storing models; like a codec, a frozen dataclass whose fields are its configuration.

    Attributes:
        dedup: whether units with equal content are kept once; None: as the run says.
    """

    dedup: ClassVar[bool | None] = None

    def __post_init__(self) -> None:
        """Refuse a configuration that is not valid (`ConfigError`)."""
        if misfit := first_misfit(self):
            raise ConfigError(f"{self.name}: {misfit}")
        self.validate()

    def validate(self) -> None:  # noqa: B027
        """Raise `ConfigError` if the configuration is not valid. Systems with limits override this."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the system."""

    @property
    def version(self) -> int:
        """Version: a part of the identity of what it writes."""
        return 1

    def config(self) -> dict[str, Any]:
        """Return the configuration: `get_system(system.name, **system.config()) == system`."""
        return dataclasses.asdict(self)

    @property
    def uses_base(self) -> bool:
        """Whether the arrays of a base model are of use."""
        return False

    @property
    def needs_base(self) -> bool:
        """Whether models without a base are not what it is for (delta codecs)."""
        return False

    def unsupported(self, format: FloatFormat) -> str | None:
        """Return why arrays of this format are refused, or None if they are taken."""
        return None

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return how far a decoded value of this format may be from the original."""
        return EXACT

    @abstractmethod
    def coder(self, model: Model, units: Iterable[Unit], base: BaseValues | None) -> Coder:
        """Return what codes the units of one model.

        Args:
            model: the model.
            units: those that will be coded, for systems that decide by what is in them; may be read once.
            base: values of the model's base, or None if it has none.
        """


@dataclass(frozen=True)
class SystemCoder(ABC):
    """Codes for a system; what it writes, `weightcodecs.decode` reads."""

    system: System

    @property
    def name(self) -> str:
        """Name of the system."""
        return self.system.name

    @property
    def version(self) -> int:
        """Its version."""
        return self.system.version

    @property
    def needs_reference(self) -> bool:
        """Whether nothing can be coded without a reference."""
        return False

    def config(self) -> dict[str, Any]:
        """Return its configuration in plain values."""
        return self.system.config()

    def unsupported(self, format: FloatFormat) -> str | None:
        """Return why arrays of this format are refused, or None if they are taken."""
        return self.system.unsupported(format)

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return how far a decoded value of this format may be from the original."""
        return self.system.error_bound(format)

    @abstractmethod
    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code an array, against `reference` if that is given and of use; see `Coder.encode`."""

    def decode(
        self, blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        """Turn a blob back into an array; see `decode_unit`."""
        return decode_unit(blob, reference=reference, out=out, threads=threads)


def decode_unit(
    blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
) -> Array:
    """Decode a blob of any codec; a reference that it was not coded against is ignored.

    Raises:
        CorruptBlobError: the blob was cut or altered.
        WrongReferenceError: the reference is missing, or not the one that the blob was made with.
    """
    used = reference if parse_description(blob).reference is not None else None
    return weightcodecs.decode(blob, reference=used, out=out, threads=threads)
