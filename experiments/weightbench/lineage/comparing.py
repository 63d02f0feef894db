"""Comparing two models bit by bit: what corresponds, a sample of it, the distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from weightbench.models import Model, cast
from weightcodecs.formats import get_format

from .base_values import Match
from .distance import Distance, compare
from .exact import exact_distance
from .matching import match_tensors
from .sampling import Sampler, float_count, layout_of

__all__ = ["SAMPLES", "bit_distance", "float_pairs"]

SAMPLES = 1 << 16


def bit_distance(
    a: Model,
    b: Model,
    matches: Mapping[str, Match] | None = None,
    *,
    samples: int | None = SAMPLES,
    seed: int = 0,
) -> Distance | None:
    """Return the bit distance of two models; see `distance` for what it is and how sure it is.

    Args:
        a, b: the models.
        matches: which tensor of `b` each tensor of `a` came from; found if not given.
        samples: about how many values to compare; None for all.
        seed: of the places of the samples.

    Returns:
        None if no float tensors correspond. If that is for their formats alone, the wider model is cast to
        the format of the narrower one (as IEEE arithmetic rounds; `Distance.cast` says so): such a distance
        tells relation, but the one cannot be coded against the other bit by bit.
    """
    to = ""
    if matches is None:
        matches = match_tensors(a, b, seed=seed)
        if not float_pairs(a, matches):
            a, b, to = _same_format(a, b)
            matches = match_tensors(a, b, seed=seed) if to else {}
    pairs = float_pairs(a, matches)
    if not pairs:
        return None
    counts = tuple(count for _, _, count in pairs)
    share = sum(counts) / max(1, min(float_count(a), float_count(b)))
    if samples is None:
        return replace(exact_distance(a, b, pairs, share), cast=to)
    rate = min(1.0, samples / sum(counts))
    layout = layout_of(counts, tuple(a.tensors[key].format for key, _, _ in pairs), rate, seed)
    left = Sampler(a, rate, seed).draw([(key, count) for key, _, count in pairs], layout)
    right = Sampler(b, rate, seed).draw([(key, count) for _, key, count in pairs], layout)
    return replace(compare(left, right, layout, share=min(share, 1.0), per_bit=True), cast=to)


def float_pairs(a: Model, matches: Mapping[str, Match]) -> list[tuple[str, str, int]]:
    """Return (tensor of a, tensor of b, values in common) of the matched float tensors, in a's order."""
    return [
        (key, matches[key].tensor, matches[key].common)
        for key, info in a.tensors.items()
        if key in matches and get_format(info.format).is_float
    ]


def _same_format(a: Model, b: Model) -> tuple[Model, Model, str]:
    """Cast the wider of two models, each of one float format, to the other's; "" if that cannot be done."""
    formats = [{i.format for i in m.tensors.values() if get_format(i.format).is_float} for m in (a, b)]
    if any(len(found) != 1 for found in formats) or formats[0] == formats[1]:
        return a, b, ""
    ours, theirs = (get_format(found.pop()) for found in formats)
    if ours.bits == theirs.bits:  # bfloat16 and float16: neither holds the other
        return a, b, ""
    if ours.bits > theirs.bits:
        return cast(a, theirs.name, overflow="ieee"), b, theirs.name
    return a, cast(b, ours.name, overflow="ieee"), ours.name
