"""zipllm: dedup, then BitX against the base, ZipNN for the rest (Wang et al., "ZipLLM: Efficient LLM Storage
via Model-Aware Synergistic Data Deduplication and Compression", NSDI 2026, arXiv 2505.06252).

Units with equal content are kept once; one that is left is coded against its base (BitX), or by itself where
there is no base or where that is smaller. Which model is the base of which says the workload.

What differs from the authors' release: it compresses what has no base with zstd (the paper says ZipNN) and
never asks whether BitX was worth it; a tensor that equals its base's is coded against itself there, here it
is found by dedup and costs a reference; and its bases must be kept raw.

`variant="paper"`: BitX as released (16-bit words, zstd-3) wherever there is a base. Without one, ZipNN as
published, and zstd-3 for formats that this does not take; or zstd-3 for all of them (stand_alone="zstd"),
as released. `variant="fast"` (ours): our BitX and ZipNN, the smaller of both, counted after coding. Of arrays
of 2^17 values and more, one of the two is left out where a sample shows it to be over a tenth larger.
`delta="fm_delta"` (ours) keeps the system and puts FM-Delta's integer difference in the place of BitX's XOR,
which costs fewer bits where weights change by little; BitX stays for the formats that FM-Delta does not take.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from weightbench.granularity import Unit
from weightbench.lineage import BaseValues
from weightbench.models.model import Array, Model
from weightcodecs import Blob, Codec, ConfigError, get_codec

from .smallest import promising, smallest, taken
from .system import System, SystemCoder

__all__ = ["ZipLlm"]


@dataclass(frozen=True)
class ZipLlm(System):
    """ZipLLM; see the module's docstring.

    Attributes:
        variant: "fast" (ours) or "paper".
        stand_alone: what codes units without a base: "zipnn", or "zstd" (level 3).
        delta: what codes units against a base: "bitx" (the paper), or "fm_delta"; only with variant "fast".
    """

    dedup: ClassVar[bool | None] = True
    variant: Literal["fast", "paper"] = "fast"
    stand_alone: Literal["zipnn", "zstd"] = "zipnn"
    delta: Literal["bitx", "fm_delta"] = "bitx"

    def validate(self) -> None:
        """Check that the options go together."""
        if self.variant == "paper" and self.delta != "bitx":
            raise ConfigError("zipllm: variant=paper takes BitX; use delta=bitx with it")

    @property
    def name(self) -> str:
        """Name of the system."""
        return "zipllm"

    @property
    def uses_base(self) -> bool:
        """Base arrays are of use."""
        return True

    def coder(self, model: Model, units: Iterable[Unit], base: BaseValues | None) -> ZipLlmCoder:
        """Return the choice between a delta and a stand-alone codec."""
        delta: tuple[Codec, ...] = (get_codec("bitx", variant=self.variant),)
        if self.delta == "fm_delta":
            delta = (get_codec("fm_delta"), *delta)
        alone: tuple[Codec, ...] = (get_codec("zstd", level=3),)
        if self.stand_alone == "zipnn":
            # zstd is for what ZipNN as published refuses: integers and float64.
            alone = (get_codec("zipnn", variant=self.variant), *alone)
        return ZipLlmCoder(self, delta, alone, self.variant == "fast")


@dataclass(frozen=True)
class ZipLlmCoder(SystemCoder):
    """The first of `delta` or the first of `alone` that takes the format."""

    delta: tuple[Codec, ...]
    alone: tuple[Codec, ...]
    compares: bool

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code an array; see `Coder.encode`."""
        alone = taken(self.alone, values)[0]
        if reference is None:
            return alone.encode(values, threads=threads)
        delta = taken(self.delta, values)[0]
        if not self.compares:
            return delta.encode(values, reference=reference, threads=threads)
        left = promising(values, (delta, alone), reference=reference)
        return smallest(values, left, reference=reference, threads=threads)
