"""Decoding objects, and what they are coded against."""

from __future__ import annotations

from typing import Protocol

import numpy as np

import weightcodecs
from weightbench.models.model import Array
from weightcodecs import FloatFormat, PairCodec, codec_class
from weightcodecs.blob import parse_description
from weightcodecs.errors import CorruptBlobError, UnknownNameError, WrongReferenceError
from weightcodecs.formats import format_of

from .errors import CorruptDepotError
from .folder import Pack
from .objects import Kind, ObjectId, ObjectSpan, Part, StoredObject

__all__ = ["Finder", "decode_object", "decode_part", "record_bytes"]


class Finder(Protocol):
    """What knows where objects are."""

    def find(self, id: ObjectId) -> tuple[Pack, StoredObject]:
        """Return the pack that holds an object; `CorruptDepotError` if there is none."""


def record_bytes(finder: Finder, id: ObjectId, kind: Kind) -> memoryview:
    """Return the bytes of an object that must be of a kind; `CorruptDepotError` if they were altered."""
    pack, stored = finder.find(id)
    if stored.kind != kind:
        raise CorruptDepotError(f"{pack.path}: an object is {stored.kind.name}, not {kind.name}")
    return pack.map().read(stored.record)


def decode_object(
    finder: Finder, id: ObjectId, count: int | None = None, threads: int = 1, *, as_reference: bool = False
) -> Array:
    """Return the values (n,) of an object that holds a unit.

    Args:
        finder: knows where objects are.
        id: the object.
        count: how many values there must be; None if that is not known.
        threads: handed to the codec.
        as_reference: whether a delta needs it, so that it must stand alone.

    Raises:
        CorruptDepotError: it is missing or damaged, or does not hold that many values.
    """
    pack, stored = finder.find(id)
    if stored.kind not in (Kind.UNIT, Kind.LITERALS):
        raise CorruptDepotError(f"{pack.path}: an object is {stored.kind.name}, which is not a unit's")
    if as_reference and stored.spans:
        raise CorruptDepotError(f"{pack.path}: a delta needs another delta")
    blob = pack.map().read(stored.record)
    try:
        info = parse_description(blob)  # the record's own checksum has just been checked
        if info.format.code != id.format or (count is not None and info.count != count):
            raise CorruptBlobError(f"holds {info.count} values of {info.format.name}, not {count}")
        if (info.reference is not None) != bool(stored.spans):
            raise CorruptBlobError("the pack and the blob disagree about a reference")
        reference = None
        if stored.spans:
            reference = _reference(finder, stored.spans, info.count, info.format).reshape(info.shape)
        return weightcodecs.decode(blob, reference=reference, threads=threads).reshape(-1)
    except (CorruptBlobError, WrongReferenceError) as error:
        raise CorruptDepotError(f"{pack.path}: {error}") from error


def decode_part(
    finder: Finder, id: ObjectId, part: Part, threads: int = 1, scales: dict[ObjectId, Array] | None = None
) -> Array:
    """Return an array of a pair object, flat; of the low parts only their own bytes are read.

    Decoding the low tensor brings its scales along: they are put into `scales`, and taken from there.

    Raises `CorruptDepotError` if what was read is damaged, or no such part is there.
    """
    if part == Part.SCALES and scales is not None and id in scales:
        return scales[id]
    pack, stored = finder.find(id)
    if stored.kind != Kind.PAIR:
        raise CorruptDepotError(f"{pack.path}: an object is {stored.kind.name}, not PAIR")
    # No checksum over the whole record for the low parts: the codec checks what it reads.
    blob = pack.map().read(stored.record) if part == Part.HIGH else pack.map().unchecked(stored.record)
    try:
        codec = codec_class(parse_description(blob).codec)()
        if not isinstance(codec, PairCodec):
            raise CorruptBlobError(f"{codec.name} is no pair codec")
        if part == Part.HIGH:
            return codec.decode(blob, threads=threads).reshape(-1)
        pack.map().used(codec.low_nbytes(blob))
        low = codec.decode_low(blob, threads=threads)
    except (CorruptBlobError, UnknownNameError) as error:
        raise CorruptDepotError(f"{pack.path}: {error}") from error
    if scales is not None and low.scales is not None:
        scales[id] = low.scales.reshape(-1)
    values = low.codes if part == Part.LOW else low.scales
    if values is None:
        raise CorruptDepotError(f"{pack.path}: a pair has no {part.name.lower()}")
    return values.reshape(-1)


def _reference(finder: Finder, spans: tuple[ObjectSpan, ...], count: int, format: FloatFormat) -> Array:
    if sum(span.count for span in spans) != count:
        raise CorruptBlobError("a delta's spans do not fit its values")
    parts: list[Array] = []
    held: tuple[ObjectId, Part, Array] | None = None  # spans of one object follow each other
    for span in spans:
        if span.object is None:
            parts.append(np.empty(0, format.dtype))
            continue
        if held is None or held[:2] != (span.object, span.part):
            held = None  # before decoding: never two of them in memory
            held = span.object, span.part, _referred(finder, span)
        values = held[2][span.first : span.first + span.count]
        if values.size != span.count or format_of(values) != format:
            raise CorruptBlobError("a delta's span leaves its object")
        parts.append(values)
    if 2 * sum(part.size for part in parts) < count:
        raise CorruptBlobError("a delta has a base for less than half of its values")
    if len(parts) == 1:
        return parts[0]
    zeros = np.zeros(count, format.dtype)
    at = 0
    for span, part in zip(spans, parts, strict=True):
        zeros[at : at + part.size] = part
        at += span.count
    return zeros


def _referred(finder: Finder, span: ObjectSpan) -> Array:
    assert span.object is not None
    if span.part == Part.WHOLE:
        return decode_object(finder, span.object, as_reference=True)
    return decode_part(finder, span.object, span.part)
