"""elves: dedup, then the smallest of raw, Distance Encoding and Elf, then zstd (Su et al., "Everything You
Always Wanted to Know About Storage Compressibility of Pre-Trained ML Models but Were Afraid to Ask", PVLDB
17(8), 2024).

`variant="paper"` is the authors' rule: one choice for a model, from the sizes of all its float16, float32
and float64 units (each content once) before zstd; of equal sizes raw goes before Distance Encoding and that
before Elf; then zstd-3 over what was chosen. All other formats are stored raw through zstd. Granularity
"model" gives the authors' flattened arrays. `variant="fast"` (ours): one choice for each unit, by what is
left at the very end. With entropy="zstd" the last stage is zstd, as theirs; with "auto" it is our entropy
coder where it fits (raw: the smaller of ZipNN and zstd). Distance Encoding is ten times slower than all
others, so that with search="sampled" what a sample shows to be over a tenth larger than the best is not
tried on arrays of 2^17 values and more (`smallest.promising`); search="all" tries everything everywhere.

What differs from the authors' release: it has no way back, ours decodes every unit; it drops tensors that are
no floats, stores repeated ones uncompressed and charges them the size of another; where everything was a
repetition, raw is chosen in both. Theirs compares values and loses −0.0, ours keeps it wherever raw or
Distance Encoding was chosen.

The error bound is that of Elf, also where something lossless was chosen: which it is hangs on the values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from weightbench.dedup import SeenUnits
from weightbench.granularity import Unit
from weightbench.lineage import BaseValues
from weightbench.models.model import Array, Model
from weightcodecs import EXACT, Blob, Codec, ConfigError, ErrorBound, FloatFormat, get_codec, get_format

from .smallest import promising, smallest, taken
from .system import System, SystemCoder

__all__ = ["Choice", "Elves", "paper_choice"]

Choice = Literal["raw", "distance", "elf"]


@dataclass(frozen=True)
class Elves(System):
    """Elves; see the module's docstring.

    Attributes:
        variant: "fast" (ours: a choice for each unit, at the end) or "paper" (one for a model, before zstd).
        entropy: last stage, variant fast only: "auto" (ours) or "zstd".
        error_bound_absolute: as for `Elf`, variant fast only.
        widen_bfloat16: as for `Elf`, variant fast only.
        level: of zstd; the authors use 3.
        search: variant fast only: "sampled", or "all" candidates on every unit.
    """

    dedup: ClassVar[bool | None] = True
    variant: Literal["fast", "paper"] = "fast"
    entropy: Literal["auto", "zstd"] = "auto"
    error_bound_absolute: float | None = None
    widen_bfloat16: bool = False
    level: int = 3
    search: Literal["sampled", "all"] = "sampled"

    @property
    def name(self) -> str:
        """Name of the system."""
        return "elves"

    def validate(self) -> None:
        """Check that the options go together, and those of the codecs."""
        fixed = {field.name: field.default for field in dataclasses.fields(self)}
        fixed |= {"variant": "paper", "level": self.level}
        if self.variant == "paper" and self.config() != fixed:
            raise ConfigError(
                "elves: variant=paper ends in zstd and has the bounds of the formats; it goes with no option "
                "but level (entropy=auto, error_bound_absolute=null, widen_bfloat16=false, search=sampled)"
            )
        try:
            self._candidates()
        except ConfigError as error:
            raise ConfigError(f"elves: {error}") from None

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return Elf's bound; exact for formats that Elf does not take."""
        return EXACT if self._elf.unsupported(format) else self._elf.error_bound(format)

    def coder(self, model: Model, units: Iterable[Unit], base: BaseValues | None) -> ElvesCoder:
        """Return the candidates for each unit; variant paper reads all units to choose one of them."""
        candidates = self._candidates()
        if self.variant == "fast":
            return ElvesCoder(self, candidates, candidates, self.search == "sampled")
        raw, distance, elf = candidates
        chosen = {"raw": raw, "distance": distance, "elf": elf}[paper_choice(units)]
        return ElvesCoder(self, (chosen,), (raw,), False)

    @property
    def _elf(self) -> Codec:
        paper: dict[str, Any] = {"variant": "paper", "entropy": "zstd", "level": self.level}
        ours = {
            "entropy": self.entropy,
            "error_bound_absolute": self.error_bound_absolute,
            "widen_bfloat16": self.widen_bfloat16,
            "level": self.level,
        }
        return get_codec("elf", **(paper if self.variant == "paper" else ours))

    def _candidates(self) -> tuple[Codec, ...]:
        """Return raw, Distance Encoding and Elf, each with its last stage; behind them raw's second one."""
        zstd = get_codec("zstd", level=self.level)
        distance = get_codec("distance", variant=self.variant, entropy="zstd", level=self.level)
        if self.variant == "fast" and self.entropy == "auto":
            return get_codec("zipnn"), distance, self._elf, zstd
        return zstd, distance, self._elf


@dataclass(frozen=True)
class ElvesCoder(SystemCoder):
    """The smallest of the candidates; `others` are for formats that are none of the authors'."""

    floats: tuple[Codec, ...]
    others: tuple[Codec, ...]
    samples: bool

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code an array; a reference is of no use."""
        from weightcodecs.elf import PAPER_FORMATS  # loads Numba

        left: Sequence[Codec] = self.floats if values.dtype.name in PAPER_FORMATS else self.others
        left = taken(left, values)
        if self.samples:
            left = promising(values, left)
        return smallest(values, left, threads=threads)


def paper_choice(units: Iterable[Unit]) -> Choice:
    """Return what the authors' rule chooses for a model: the smallest in all, before zstd.

    Reads every unit of float16, float32 and float64 once and codes it with Distance Encoding; units of equal
    content count once. Of equal sizes, and of nothing, the first of raw, distance and elf.
    """
    from weightcodecs.distance import paper_nbytes as distance_nbytes  # these load Numba
    from weightcodecs.elf import PAPER_FORMATS
    from weightcodecs.elf import paper_nbytes as elf_nbytes

    sizes: dict[Choice, int] = {"raw": 0, "distance": 0, "elf": 0}
    seen = SeenUnits()
    for place, unit in enumerate(units):
        if get_format(unit.format).name not in PAPER_FORMATS:
            continue
        values = unit.array()
        if values.size == 0 or seen.find_or_add(unit, values, place) is not None:
            continue
        sizes["raw"] += values.nbytes
        sizes["distance"] += distance_nbytes(values)
        sizes["elf"] += elf_nbytes(values)
    return min(sizes, key=lambda choice: sizes[choice])
