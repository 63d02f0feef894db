"""Where the values of a base are in the depot, for what is coded against them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from weightbench.granularity import Piece
from weightbench.lineage import BaseValues, Span

from .errors import UnfitBaseError
from .folder import Folder
from .manifest import Manifest, ManifestUnit
from .objects import ObjectSpan, Part

__all__ = ["AGAINST", "Base", "BaseObjects"]

AGAINST = "against"
"""The entry of a manifest's `about` that names the base it was coded against, or is None."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a model is coded against.

    Attributes:
        name: of the base's manifest in the depot.
        values: the base itself; it must be the model that was added under that name.
    """

    name: str
    values: BaseValues


class BaseObjects:
    """Resolves elements of a base's tensors into elements of objects."""

    def __init__(self, folder: Folder, base: Base) -> None:
        """Look at the base's manifest.

        Raises:
            NoSuchModelError: the depot has no such model.
            UnfitBaseError: it is not the model of `base.values`, was itself coded against a base, or does
                not come back exactly.
        """
        self.base, self._folder = base, folder
        manifest = folder.manifest(base.name)
        _require_fit(manifest, base)
        self._pieces: dict[str, list[tuple[Piece, int, ManifestUnit]]] = {}
        for unit in manifest.units:
            for piece, at in unit.pieces:
                self._pieces.setdefault(piece.tensor, []).append((piece, at, unit))
        for pieces in self._pieces.values():
            pieces.sort(key=lambda row: row[0].first)

    def resolve(self, spans: tuple[Span, ...]) -> tuple[ObjectSpan, ...] | None:
        """Return spans of objects; None if an object is a delta itself (of a model stored earlier).

        Raises `UnfitBaseError` if the base in the depot has not got these elements.
        """
        found: list[ObjectSpan] = []
        for span in spans:
            for part in self._of(span):
                if part is None:
                    return None
                last = found[-1] if found else None
                if last and (last.object, last.part, last.first + last.count) == (
                    part.object,
                    part.part,
                    part.first,
                ):
                    found[-1] = ObjectSpan(last.object, last.part, last.first, last.count + part.count)
                else:
                    found.append(part)
        return tuple(found)

    def _of(self, span: Span) -> Iterator[ObjectSpan | None]:
        if span.tensor is None:
            yield ObjectSpan(None, Part.WHOLE, 0, span.count)
            return
        pieces = self._pieces.get(span.tensor, [])
        first, end = span.first, span.first + span.count
        number = bisect_right(pieces, first, key=lambda row: row[0].first) - 1
        while first < end:
            if not 0 <= number < len(pieces) or pieces[number][0].first + pieces[number][0].count <= first:
                raise UnfitBaseError(
                    f"model {self.base.name!r} in the depot has no element {first} of {span.tensor!r}"
                )
            piece, at, unit = pieces[number]
            if unit.side is not None or self._folder.find(unit.object)[1].spans:
                yield None
                return
            count = min(end, piece.first + piece.count) - first
            yield ObjectSpan(unit.object, unit.part, at + first - piece.first, count)
            first, number = first + count, number + 1


def _require_fit(manifest: Manifest, base: Base) -> None:
    name, model = base.name, base.values.model
    if manifest.about.get(AGAINST) is not None:
        raise UnfitBaseError(
            f"model {name!r} was itself coded against {manifest.about[AGAINST]!r}; use that one as the base "
            "(references have depth one)"
        )
    if manifest.about.get("revision") != model.revision():
        raise UnfitBaseError(f"model {name!r} in the depot is not the one whose values are given as the base")
    formats = {model.tensors[match.tensor].format for match in base.values.matches.values()}
    inexact = [f for f in sorted(formats) if f in manifest.bounds and not manifest.bounds[f].lossless]
    if inexact:
        raise UnfitBaseError(
            f"model {name!r} was stored with an error ({', '.join(inexact)}), so that what is coded against "
            "it could not be restored; store it with a lossless codec"
        )
