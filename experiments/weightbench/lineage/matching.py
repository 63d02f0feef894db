"""Which tensor of a base each tensor of a fine-tune came from: by name, else by what the bits say."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from weightbench.models import Model, TensorInfo

from .base_values import Match
from .by_content import match_by_content
from .signature import bare_name

__all__ = ["match_by_name", "match_tensors"]

STRIPPED = 3  # leading parts of a name that may differ: "base_model.model.model."


def match_tensors(model: Model, base: Model, *, seed: int = 0) -> dict[str, Match]:
    """Return, for the tensors of `model` that have one, their counterparts in `base`.

    In this order:

    1. Same name (copies in a second file count under their bare names, tied tensors under those that hold
       their bytes) and format: of the same shape, whole; with another number of rows of the same shape (a
       resized vocabulary), the leading rows that both have.
       A tied tensor goes by all its names; if these belong to different tensors of the other model, the bits
       say to which, by rule 3, and names only where they say nothing.
    2. Names that differ in up to three leading parts, as ``model.`` added or removed, where the rest belongs
       to one tensor of each side.
    3. Other float tensors of the same format and shape, then of another number of rows, by sampled bit
       distance: the nearest tensor of the base, clearly below what unrelated ones would have, and nearer
       than all others by a margin; see `by_content`.

    Rows that were inserted before others are not looked for. Tensors without elements are left out.
    """
    found = match_by_name(model, base)
    missing = [key for key in model.tensors if key not in found and prod(model.tensors[key].shape) > 0]
    told = match_by_content(model, base, missing, found, seed=seed)
    used = {match.tensor for match in told.values()}
    named = {key: fits[0] for key, fits in _fits(model, base).items() if fits[0].tensor not in used}
    return named | told | found


def match_by_name(model: Model, base: Model) -> dict[str, Match]:
    """Return what rules 1 and 2 of `match_tensors` find; weights, which may be needed, are not read."""
    ours = {key: bare_name(model, key) for key in model.tensors if prod(model.tensors[key].shape) > 0}
    fits = _fits(model, base)
    claims: dict[str, set[str]] = {}
    for key, matches in fits.items():
        for match in matches:
            claims.setdefault(match.tensor, set()).add(ours[key])
    found = {
        key: matches[0]
        for key, matches in fits.items()
        if len(matches) == 1 and len(claims[matches[0].tensor]) == 1
    }
    left = {key: name for key, name in ours.items() if key not in fits}
    return found | _by_suffix(model, base, left, _names(base), found)


def _names(base: Model) -> dict[str, str]:
    """Return the tensors by bare name, tied ones by each of theirs."""
    keys: dict[str, str] = {}
    for key in base.tensors:
        keys.setdefault(bare_name(base, key), key)
    for name, key in base.ties.items():
        keys.setdefault(bare_name(base, name), key)
    return keys


def _fits(model: Model, base: Model) -> dict[str, list[Match]]:
    """Return the different tensors of the base that a tensor of the model shares a name with, where any."""
    theirs = _names(base)
    names = {key: [bare_name(model, key)] for key in model.tensors if prod(model.tensors[key].shape) > 0}
    for name, key in model.ties.items():
        if key in names:
            names[key].append(bare_name(model, name))
    found = {}
    for key, called in names.items():
        keys = dict.fromkeys(theirs[name] for name in called if name in theirs)
        fits = [match for other in keys if (match := _fit(model.tensors[key], base, other))]
        if fits:
            found[key] = fits
    return found


def _by_suffix(
    model: Model, base: Model, ours: dict[str, str], theirs: dict[str, str], taken: dict[str, Match]
) -> dict[str, Match]:
    used = {match.tensor for match in taken.values()}
    names: dict[str, set[str]] = {}
    for name, key in theirs.items():
        if key not in used:
            for suffix in _suffixes(name):
                names.setdefault(suffix, set()).add(key)
    claims: dict[str, set[str]] = {}
    for name in ours.values():
        for suffix in _suffixes(name):
            claims.setdefault(suffix, set()).add(name)
    found = {}
    for key, name in ours.items():
        for suffix in _suffixes(name):
            if len(names.get(suffix, ())) == len(claims[suffix]) == 1:
                match = _fit(model.tensors[key], base, next(iter(names[suffix])))
                if match:
                    found[key] = match
                    break
    return found


def _suffixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    for first in range(min(STRIPPED + 1, len(parts))):
        yield ".".join(parts[first:])


def _fit(info: TensorInfo, base: Model, key: str) -> Match | None:
    other = base.tensors[key]
    if info.format != other.format or len(info.shape) != len(other.shape):
        return None
    if info.shape[1:] != other.shape[1:]:
        return None
    common = min(prod(info.shape), prod(other.shape))
    return Match(key, common) if common else None
