"""What is said of models' bases, by the user, a source or a model card, as far as the bits allow it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from weightbench.models import Model

from .at_hand import find_at_hand
from .comparer import Comparer
from .distance import Distance
from .model_card import Declaration, declared_base

__all__ = ["Claim", "Claims", "collect_claims", "contradiction"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A base that is at hand and can be compared, and who names it: ``given``, or ``declared`` in a file."""

    base: str
    how: Literal["given", "declared"]
    source: str


@dataclass(slots=True)
class Claims:
    """What is said of bases.

    Attributes:
        followed: models with their bases; free of cycles.
        missing: models whose bases are not at hand, with their ids.
        remarks: why what is said of other models, or of those whose base is missing, was not followed.
    """

    followed: dict[str, Claim] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def root(self, name: str) -> str:
        """Return the end of the chain of bases that starts at a model."""
        while name in self.followed:
            name = self.followed[name].base
        return name


def collect_claims(comparer: Comparer) -> Claims:
    """Ask every model for its base; see `inference.infer`."""
    claims = Claims()
    folders = {name: _folder(model) for name, model in comparer.models.items()}
    for name, model in comparer.models.items():
        if model.base is not None:
            _given(comparer, claims, name, model.base, find_at_hand(model.base, folders, but=name))
        elif (declaration := declared_base(model)) is not None:
            found = {find_at_hand(base, folders, but=name) for base in declaration.bases}
            _declared(comparer, claims, name, declaration, sorted(base for base in found if base is not None))
    _break_cycles(claims)
    return claims


def contradiction(base: str, distance: Distance | None) -> str:
    """Say what speaks against a base: no tensors in common, or a distance as between strangers."""
    if distance is None:
        return f"no tensor of {base} corresponds to one of its own in name, format and shape"
    return (
        f"its distance to {base} is {distance.bits:.3f} bits [{distance.low:.3f}, {distance.high:.3f}], "
        f"not below the threshold of {distance.threshold:.3f}"
    )


def _given(comparer: Comparer, claims: Claims, name: str, given: str, found: str | None) -> None:
    if found is None:
        claims.missing[name] = given
        claims.remarks[name] = f"its base {given} is not at hand"
    elif (distance := comparer.distance(name, found)) is None:
        claims.remarks[name] = f"it is said to come from {found}, but {contradiction(found, distance)}"
    else:
        claims.followed[name] = Claim(found, "given", "given")


def _declared(
    comparer: Comparer, claims: Claims, name: str, declaration: Declaration, at_hand: list[str]
) -> None:
    named = " and ".join(declaration.bases)
    where = "its card" if declaration.source == "card" else "its configuration"
    if not at_hand:
        if declaration.source == "card":  # a path in a configuration says nothing if it leads nowhere
            claims.missing[name] = named
            claims.remarks[name] = f"its declared base {named} is not at hand"
        return
    measured = {base: comparer.distance(name, base) for base in at_hand}
    near = [(d.bits, base) for base, d in measured.items() if d and (d.related or not d.decisive)]
    if near:
        source = f"named by {where}, and not contradicted by the bits"
        claims.followed[name] = Claim(min(near)[1], "declared", source)
        return
    told = "; ".join(contradiction(base, distance) for base, distance in measured.items())
    claims.remarks[name] = f"{where} names {named}, but {told}"


def _break_cycles(claims: Claims) -> None:
    """Make the first model of each cycle a root."""
    for name in sorted(claims.followed):
        seen, at = [name], name
        while at in claims.followed:
            at = claims.followed[at].base
            if at in seen:
                first = min(seen[seen.index(at) :])
                claims.remarks[first] = (
                    f"it and {claims.followed[first].base} are each said to come from the other"
                )
                del claims.followed[first]
                break
            seen.append(at)


def _folder(model: Model) -> str:
    return model.directory.name if model.directory is not None else Path(model.name).name
