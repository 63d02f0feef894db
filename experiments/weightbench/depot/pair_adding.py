"""Adding a checkpoint and its low-precision version, whose tensors are coded together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from weightbench.archive import UnitRecord
from weightbench.granularity import Granularity, Piece
from weightbench.models.model import Array, Model
from weightbench.pairing import PairOf, pair_arrays
from weightbench.systems import Coder
from weightcodecs import Blob, PairCodec, format_of, get_format
from weightcodecs.blob import byte_view
from weightcodecs.errors import ConfigError

from .added import Added
from .adding import IN_DEPOT, Adding, Progress, Settings, put_manifests
from .folder import Folder
from .ingest import Ingest
from .jobs import Job
from .manifest import ManifestUnit
from .objects import Kind, ObjectId, Part
from .pack_writing import NewPacks
from .pipeline import Budget, in_order

__all__ = ["add_pair"]

IN_FLIGHT = 3


@dataclass(slots=True)
class PairJob:
    """A pair of tensors that has been read, and then coded."""

    pair: PairOf
    share: int
    codec: PairCodec
    arrays: tuple[Array, Array, NDArray[np.float32] | None] | None
    key: bytes
    threads: int
    blob: Blob | None = None
    seconds: float = 0.0

    def encode(self) -> PairJob:
        """Code the pair."""
        assert self.arrays is not None
        high, low, scales = self.arrays
        begun = time.perf_counter()
        self.blob = self.codec.encode_pair(high, low, scales=scales, threads=self.threads)
        self.seconds = time.perf_counter() - begun
        self.arrays = None
        return self


def add_pair(
    folder: Folder,
    high: Model,
    low: Model,
    pairs: Sequence[PairOf],
    codec: PairCodec,
    alone: Coder,
    settings: Settings,
    progress: Progress | None,
    on_unit: Callable[[UnitRecord], None] | None,
) -> tuple[Added, Added]:
    """Add both models; see `Depot.add_pair`. The caller is the one writer and has pruned the folder."""
    begun = time.perf_counter()
    budget = Budget(settings.memory_bytes)
    with NewPacks(folder) as packs:
        ingest = Ingest(folder, packs, settings.dedup)
        beside = Ingest(folder, packs, settings.dedup, ingest)
        of_high = Adding(folder, ingest, high, alone, Granularity(), None, settings)
        of_low = Adding(folder, beside, low, alone, Granularity(), None, settings)
        done = of_high.begin() + of_low.begin()
        total = sum(info.nbytes for model in (high, low) for info in model.tensors.values())
        coded = [pair for pair in pairs if not _taken(pair, of_high, of_low)]
        _require_coded(high, low, coded, codec)

        def jobs() -> Iterator[Job | PairJob]:
            yield from of_high.jobs(budget, frozenset(pair.high for pair in coded))
            for pair in coded:
                yield _read(high, low, pair, codec, budget, ingest, settings)
            yield from of_low.jobs(budget, frozenset(name for pair in coded for name in _of_low(pair)))

        results = in_order(jobs(), _encode, settings.threads, budget, overlap=settings.overlap)
        with closing(results):
            for job in results:
                if isinstance(job, PairJob):
                    records = _write(job, ingest, of_high, of_low)
                else:
                    owner = of_high if job.kept.unit.source.model is high else of_low
                    records = (owner.write(job),)
                budget.give_back(job.share)
                for record in records:
                    done += record.raw_bytes
                    if on_unit:
                        on_unit(record)
                if progress:
                    progress(done, total)
        said: dict[str, Any] = {
            "pair": [high.name, low.name],
            "pair_codec": codec.name,
            "pair_config": codec.config(),
        }
        # The low one does not count before the high one is there, and with it both are.
        manifests = of_low.finish(high.name, **said), of_high.finish(**said)
    for_low, for_high = put_manifests(folder, manifests, packs)
    folder.refresh()
    seconds = time.perf_counter() - begun
    theirs = beside.payload + beside.side + beside.literals
    return (
        of_high.told(packs.nbytes - theirs + for_high, seconds),
        of_low.told(theirs + for_low, seconds),
    )


def _encode(job: Job | PairJob) -> Job | PairJob:
    return job.encode()


def _of_low(pair: PairOf) -> tuple[str, ...]:
    return (pair.low,) if pair.scales is None else (pair.low, pair.scales)


def _taken(pair: PairOf, of_high: Adding, of_low: Adding) -> bool:
    """Whether a tensor of a pair is in a file that is there already: then each is taken by itself."""
    low = of_low.taken_tensors()
    return pair.high in of_high.taken_tensors() or any(name in low for name in _of_low(pair))


def _require_coded(high: Model, low: Model, pairs: Sequence[PairOf], codec: PairCodec) -> None:
    for pair in pairs:
        formats = get_format(high.info(pair.high).format), get_format(low.info(pair.low).format)
        if reason := codec.unsupported_pair(*formats):
            raise ConfigError(f"{codec.name} does not take {pair.high!r} with {pair.low!r}: {reason}")
        if not codec.error_bound(formats[0]).lossless:
            raise ConfigError(f"{codec.name} has an error; pairs are stored losslessly")
    names = [pair.high for pair in pairs], [name for pair in pairs for name in _of_low(pair)]
    if any(len(set(own)) != len(own) for own in names):
        raise ConfigError("a tensor is in two pairs")


def _read(
    high: Model,
    low: Model,
    pair: PairOf,
    codec: PairCodec,
    budget: Budget,
    ingest: Ingest,
    settings: Settings,
) -> PairJob:
    nbytes = high.info(pair.high).nbytes + sum(low.info(name).nbytes for name in _of_low(pair))
    share = budget.take(IN_FLIGHT * nbytes)
    with ingest.timed("read"):
        arrays = pair_arrays(high, low, pair)
        digest = xxhash.xxh3_128()
        for array in arrays:
            if array is not None:
                digest.update(byte_view(np.ascontiguousarray(array)))
    alone = 2 * share > settings.memory_bytes or not settings.overlap
    key = bytes((format_of(arrays[0]).code,)) + digest.digest()
    return PairJob(pair, share, codec, arrays, key, settings.threads if alone else 1)


def _write(job: PairJob, ingest: Ingest, of_high: Adding, of_low: Adding) -> tuple[UnitRecord, ...]:
    """Store a pair; its bytes count for the high model's tensor."""
    assert job.blob is not None
    id, nbytes = ingest.add_blob(job.key, job.blob, True, (), Kind.PAIR)
    ingest.spent["encode"] += job.seconds
    pair, repeats = job.pair, None if nbytes else IN_DEPOT
    told = [_note(of_high, pair.high, id, Part.HIGH, job, nbytes, repeats)]
    told.append(_note(of_low, pair.low, id, Part.LOW, job, 0, pair.high))
    if pair.scales is not None:
        told.append(_note(of_low, pair.scales, id, Part.SCALES, job, 0, pair.high))
    return tuple(told)


def _note(
    of: Adding, name: str, id: ObjectId, part: Part, job: PairJob, stored: int, repeats: str | None
) -> UnitRecord:
    info = of.model.tensors[name]
    count = prod(info.shape)
    seconds = job.seconds if part == Part.HIGH else 0.0
    told = UnitRecord(name, info.format, info.nbytes, stored, 0, seconds, job.codec.name, None, repeats)
    of.note(ManifestUnit(info.format, id, part, None, count, ((Piece(name, 0, count), 0),)), told)
    of.give_back([(of.model, name)], info.nbytes)
    return told
