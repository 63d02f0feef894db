"""Cutting a model into units."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from itertools import pairwise
from math import prod

import numpy as np

from weightbench.models.model import Model
from weightcodecs.formats import get_format

from .kinds import Granularity
from .layers import layer_of
from .parameters import SEGMENT, ParameterUnit
from .source import Piece, TensorSource
from .unit import Unit

__all__ = ["units"]


def units(model: Model, granularity: Granularity, only: Container[str] | None = None) -> Iterator[Unit]:
    """Yield the units of a model, in file order (of their first tensors), each made when it is reached.

    Together they cover every element of every tensor once; a tensor without elements has no unit.

    - model: one unit for each format: all its values, flattened, as the papers do.
    - layer: one for each layer (`layer_of`) and format.
    - tensor: one for each tensor, of its own shape.
    - chunk: pieces of `chunk_bytes` of each tensor; a chunk never spans two tensors.
    - parameter: segments of each format's stream; see `parameters`.

    Only tensors in `only` count, if that is given.
    """
    source = TensorSource(model)
    pieces = [piece for piece in _tensors(model) if only is None or piece.tensor in only]
    match granularity.kind:
        case "model":
            yield from _grouped(source, pieces, lambda _: "model")
        case "layer":
            yield from _grouped(source, pieces, layer_of)
        case "tensor":
            for piece in pieces:
                info = model.tensors[piece.tensor]
                yield Unit(piece.tensor, info.format, (piece,), info.shape, source)
        case "chunk":
            for piece in pieces:
                yield from _chunks(source, piece, granularity)
        case _:
            yield from _segments(source, pieces)


def _tensors(model: Model) -> Iterator[Piece]:
    for name, info in model.tensors.items():
        if count := prod(info.shape):
            yield Piece(name, 0, count)


def _grouped(source: TensorSource, tensors: list[Piece], group_of: Callable[[str], str]) -> Iterator[Unit]:
    groups: dict[tuple[str, str], list[Piece]] = {}
    for piece in tensors:
        format = source.model.tensors[piece.tensor].format
        groups.setdefault((group_of(piece.tensor), format), []).append(piece)
    for (group, format), pieces in groups.items():
        count = sum(piece.count for piece in pieces)
        yield Unit(f"{group}/{format}", format, tuple(pieces), (count,), source)


def _chunks(source: TensorSource, whole: Piece, granularity: Granularity) -> Iterator[Unit]:
    name = whole.tensor
    format = source.model.tensors[name].format
    width = get_format(format).nbytes
    if granularity.chunking == "content":
        from weightcodecs.kernels.gear import cut_points  # loads Numba, which other cuts do without

        data = source.read(format, (whole,)).view(np.uint8)
        ends = [int(end) // width for end in cut_points(data, width, granularity.chunk_bytes)]
        del data
    else:
        step = max(granularity.chunk_bytes // width, 1)
        ends = [*range(step, whole.count, step), whole.count]
    for first, end in pairwise([0, *ends]):
        piece = Piece(name, first, end - first)
        yield Unit(f"{name}[{first}:{end}]", format, (piece,), (piece.count,), source)


def _segments(source: TensorSource, tensors: list[Piece]) -> Iterator[Unit]:
    streams: dict[str, list[Piece]] = {}
    for piece in tensors:
        streams.setdefault(source.model.tensors[piece.tensor].format, []).append(piece)
    for format, stream in streams.items():
        for i, pieces in enumerate(_cut_stream(stream)):
            count = sum(piece.count for piece in pieces)
            yield ParameterUnit(f"{format}/{i}", format, tuple(pieces), (count,), source)


def _cut_stream(stream: list[Piece]) -> Iterator[list[Piece]]:
    segment: list[Piece] = []
    room = SEGMENT
    for piece in stream:
        first, left = piece.first, piece.count
        while left:
            count = min(left, room)
            segment.append(Piece(piece.tensor, first, count))
            first, left, room = first + count, left - count, room - count
            if room == 0:
                yield segment
                segment, room = [], SEGMENT
    if segment:
        yield segment
