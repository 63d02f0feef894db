"""How many chunks of a set of models resemble an earlier one, and what that saves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import weightcodecs
from weightbench.dedup import projected_metadata_bytes
from weightbench.dedup.chunks import Chunks
from weightbench.dedup.contents import Contents, Place
from weightbench.dedup.projection import ENTRY_BYTES
from weightbench.granularity import Granularity
from weightbench.models.model import Model
from weightcodecs import Codec, ConfigError, get_codec, get_format
from weightcodecs.blob import byte_view
from weightcodecs.kernels.super_features import SUPER_FEATURES, super_features

from .delta import delta_nbytes, encode_delta

__all__ = ["SimilarityReport", "analyse_similarity"]

_FEATURE_ENTRY_BYTES = 16  # a super-feature and the chunk that has it


@dataclass(frozen=True, slots=True)
class SimilarityReport:
    """What dedup, then similarity detection, then compression make of the chunks of a set of models.

    Attributes:
        chunk_bytes, chunking: how the chunks were cut, see `Granularity`.
        chunks: how many there are.
        duplicates: those equal to an earlier one.
        candidates: others that share a super-feature with an earlier one.
        similar: candidates whose delta was smaller than they are by themselves.
        raw_bytes, duplicate_bytes, similar_bytes: of all chunks, of duplicates and of similar ones.
        delta_bytes: of the deltas.
        similar_alone_bytes: what the similar chunks would take by themselves.
        alone_bytes: of all other chunks, each compressed by itself.
        seconds: wall time on one core: cutting, hashing, features, coding.
        feature_seconds: of that, super-features and their look-up.
    """

    chunk_bytes: int
    chunking: str
    chunks: int
    duplicates: int
    candidates: int
    similar: int
    raw_bytes: int
    duplicate_bytes: int
    similar_bytes: int
    delta_bytes: int
    similar_alone_bytes: int
    alone_bytes: int
    seconds: float
    feature_seconds: float

    @property
    def entries(self) -> int:
        """Chunks that are no duplicates: what an index must know."""
        return self.chunks - self.duplicates

    @property
    def similar_share(self) -> float:
        """Similar chunks in a hundred."""
        return 100 * self.similar / self.chunks if self.chunks else 0.0

    @property
    def ratio(self) -> float:
        """Raw bytes over deltas and what is stored by itself; metadata not counted."""
        return self.raw_bytes / max(self.delta_bytes + self.alone_bytes, 1)

    @property
    def ratio_without(self) -> float:
        """The same with dedup and compression alone: what similarity adds is the difference."""
        return self.raw_bytes / max(self.similar_alone_bytes + self.alone_bytes, 1)

    @property
    def metadata_bytes(self) -> int:
        """64 bytes for each entry, and 16 for each super-feature of those stored by themselves."""
        return (
            self.entries * ENTRY_BYTES + (self.entries - self.similar) * SUPER_FEATURES * _FEATURE_ENTRY_BYTES
        )

    @property
    def projected(self) -> float:
        """Bytes of metadata for a hub of 17 PB, at this many for each raw byte."""
        return projected_metadata_bytes(1, self.raw_bytes, entry_bytes=self.metadata_bytes)

    @property
    def mb_per_second(self) -> float:
        """10^6 raw bytes a second, coding included."""
        return self.raw_bytes / 1e6 / self.seconds if self.seconds else 0.0

    @property
    def feature_mb_per_second(self) -> float:
        """10^6 raw bytes a second of super-features and their look-up alone."""
        return self.raw_bytes / 1e6 / self.feature_seconds if self.feature_seconds else 0.0

    def plain(self) -> dict[str, Any]:
        """Return all of it in plain values."""
        made = ("entries", "similar_share", "ratio", "ratio_without", "metadata_bytes", "projected")
        names = [*self.__dataclass_fields__, *made, "mb_per_second", "feature_mb_per_second"]
        return {name: getattr(self, name) for name in names}


def analyse_similarity(
    models: Sequence[Model],
    chunk_bytes: int,
    *,
    chunking: str = "fixed",
    alone: str = "zipnn",
    threads: int = 1,
) -> SimilarityReport:
    """Look for equal chunks, then for similar ones, in a set of models, in order.

    A chunk that shares a super-feature with an earlier one of the same format is coded against it (of
    several, against one that shares most), and that counts where it is smaller. Only chunks stored by
    themselves are candidates, so that a delta never leads to another one. Payloads are counted, metadata
    apart.

    Args:
        models: read in this order, a tensor at a time.
        chunk_bytes, chunking: see `Granularity`.
        alone: name of the lossless codec for chunks by themselves.
        threads: handed to that codec.

    Raises:
        ConfigError: a setting of the cut is out of range, or `alone` loses bits or takes too few formats.
    """
    codec = get_codec(alone)
    if codec.needs_reference or any(
        codec.unsupported(format) or not codec.error_bound(format).lossless
        for format in weightcodecs.FORMATS.values()
    ):
        raise ConfigError(f"{alone} is no lossless codec for every format; choose zipnn or zstd")
    chunks = Chunks(models, Granularity("chunk", chunk_bytes, chunking))
    _warm_up(chunks, codec)
    begun = time.perf_counter()
    contents = Contents(chunks.read_bytes, 4)
    index = _FeatureIndex()
    count: Counter[str] = Counter()
    feature_seconds = 0.0
    for tensor in chunks:
        clock = time.perf_counter()
        width, kind = tensor.format.nbytes, bytes((tensor.format.code,))
        data = np.frombuffer(byte_view(tensor.values), np.uint8)
        features = super_features(data, tensor.ends * width, width)
        feature_seconds += time.perf_counter() - clock
        for place, row in zip(tensor.places, features.tolist(), strict=True):
            values = tensor.values[place[2] : place[3]]
            count["chunks"] += 1
            count["raw_bytes"] += values.nbytes
            if contents.find_or_add(kind, byte_view(values), place) is not None:
                count["duplicates"] += 1
                count["duplicate_bytes"] += values.nbytes
                continue
            size = len(weightcodecs.payload(codec.encode(values, threads=threads)))
            clock = time.perf_counter()
            earlier = index.find(kind, row)
            feature_seconds += time.perf_counter() - clock
            if earlier is not None:
                count["candidates"] += 1
                delta = delta_nbytes(encode_delta(values, chunks.read(earlier)))
                if delta < size:
                    count["similar"] += 1
                    count["similar_bytes"] += values.nbytes
                    count["delta_bytes"] += delta
                    count["similar_alone_bytes"] += size
                    continue
            count["alone_bytes"] += size
            index.add(kind, row, place)
    numbers = {name: count[name] for name in SimilarityReport.__dataclass_fields__ if name in _COUNTED}
    return SimilarityReport(
        chunk_bytes=chunk_bytes,
        chunking=chunking,
        **numbers,
        seconds=time.perf_counter() - begun,
        feature_seconds=feature_seconds,
    )


_COUNTED = {
    *("chunks", "duplicates", "candidates", "similar", "raw_bytes", "duplicate_bytes", "similar_bytes"),
    *("delta_bytes", "similar_alone_bytes", "alone_bytes"),
}


def _warm_up(chunks: Chunks, codec: Codec) -> None:
    """Compile what will be called, so that no time is spent on it later."""
    chunks.warm_up()
    for format in dict.fromkeys(info.format for model in chunks.models for info in model.tensors.values()):
        dtype = get_format(format).dtype
        values = np.frombuffer(bytes(4096), dtype)  # read-only, as a model's
        super_features(np.frombuffer(byte_view(values), np.uint8), np.array([values.nbytes]), values.itemsize)
        codec.encode(values)
        encode_delta(values, values)


class _FeatureIndex:
    """Which chunk had a super-feature first."""

    def __init__(self) -> None:
        self._place: dict[tuple[bytes, int, int], Place] = {}

    def find(self, kind: bytes, features: Sequence[int]) -> Place | None:
        """Return the chunk that shares most super-features, the first found of equal ones; or None."""
        shared: Counter[Place] = Counter()
        for number, feature in enumerate(features):
            place = self._place.get((kind, number, feature))
            if place is not None:
                shared[place] += 1
        return shared.most_common(1)[0][0] if shared else None

    def add(self, kind: bytes, features: Sequence[int], place: Place) -> None:
        """Remember a chunk under its super-features, unless another one had them before."""
        for number, feature in enumerate(features):
            self._place.setdefault((kind, number, feature), place)
