"""A pair codec in the place of a coder, so that pairs are measured by the same loop as everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from weightbench.models import Model
from weightbench.models.model import Array
from weightbench.pairing import PairOf, pair_arrays
from weightcodecs import Blob, ErrorBound, FloatFormat
from weightcodecs.blob import Bytes
from weightcodecs.codec import EXACT
from weightcodecs.pair import PairCodec
from weightcodecs.quantise import BLOCK

__all__ = ["LowCoder", "PairCoder"]


class PairCoder:
    """Codes high tensors, each together with its low one; decoding gives both back.

    The low tensor is no argument of `encode`: `prepare` brings it into memory, outside of what is timed.
    """

    needs_reference = False

    def __init__(self, codec: PairCodec, high: Model, low: Model, pairs: Mapping[str, PairOf]) -> None:
        """Code `pairs`, by the keys of their units, of two checkpoints."""
        self.codec, self._high, self._low, self._pairs = codec, high, low, pairs
        self._held: tuple[Array, Array, Array | None] | None = None

    @property
    def name(self) -> str:
        """Name of the codec."""
        return self.codec.name

    @property
    def version(self) -> int:
        """Version of the codec."""
        return self.codec.version

    def config(self) -> dict[str, Any]:
        """Return the codec's configuration."""
        return self.codec.config()

    def unsupported(self, format: FloatFormat) -> str | None:
        """Take everything: what is no pair does not come here."""
        return None

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        """Return that pairs come back exactly."""
        return EXACT

    def prepare(self, key: str) -> None:
        """Hold private copies of a pair; nothing for a unit that is none."""
        self._held = None
        if key in self._pairs:
            high, codes, scales = pair_arrays(self._high, self._low, self._pairs[key])
            self._held = np.array(high), np.array(codes), None if scales is None else np.array(scales)

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code a high tensor (or its first rows) with the low one."""
        _, codes, scales = self._pair(values.size)
        low = codes.reshape(values.shape) if codes.dtype == np.int8 else codes
        return self.codec.encode_pair(values, low, scales=scales, threads=threads)

    def decode(
        self, blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        """Return the high tensor; the low one is decoded with it."""
        return self.codec.decode_pair(blob, threads=threads).high

    def _pair(self, count: int) -> tuple[Array, Array, Array | None]:
        """Return the first `count` values of what is held: all of it, or some rows for a warm-up."""
        assert self._held is not None  # `prepare` comes first
        high, codes, scales = self._held
        if count == high.size:
            return high, codes, scales
        if codes.dtype != np.int8:
            return high, codes[: -(-count // 2)], None if scales is None else scales[: -(-count // BLOCK)]
        rows = None if scales is None else scales[: max(1, count * scales.size // high.size)]
        return high, codes.reshape(-1)[:count], rows


class LowCoder(PairCoder):
    """Codes low tensors, each together with its high one; decoding gives the low one back alone."""

    _shape: tuple[int, ...] = ()

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        """Code the pair whose low tensor is `values`; always all of it."""
        assert self._held is not None  # `prepare` comes first
        high, codes, scales = self._held
        # That of the tensor, for codes of NF4 are held flat; a warm-up gives a part of it only.
        self._shape = values.shape if values.size == codes.size else codes.shape
        return self.codec.encode_pair(high, codes, scales=scales, threads=threads)

    def decode(
        self, blob: Bytes, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        """Return the low tensor, reading the low part alone."""
        return self.codec.decode_low(blob, threads=threads).codes.reshape(self._shape)
