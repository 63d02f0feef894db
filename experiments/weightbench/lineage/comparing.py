"""Comparing two models bit by bit: what corresponds, a sample of it, the distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from weightbench.models import Model, cast
from weightcodecs.formats import get_format

from .base_values import Match
from .distance import Distance, compare
from .exact import exact_distance
from .matching import match_tensors
from .sampling import Sampler, float_count, layout_of
from .signature import bare_name

__all__ = ["SAMPLES", "Plan", "bit_distance", "float_pairs", "planned"]

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
    plan = planned(a, b, pairs)
    if samples is None:
        return replace(exact_distance(a, b, pairs, plan.share), cast=to)
    rate = min(1.0, samples / sum(plan.counts))
    layout = layout_of(plan.counts, plan.formats, plan.labels, rate, seed)
    left = Sampler(a, rate, seed).draw(plan.ours, layout)
    right = Sampler(b, rate, seed).draw(plan.theirs, layout)
    return replace(compare(left, right, layout, share=plan.share, per_bit=True), cast=to)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared of two models.

    Attributes:
        ours, theirs: names of corresponding float tensors.
        counts: of how many leading values.
        formats: their formats.
        labels: of their places (`sampling`): names that do not depend on which model is which.
        share: see `Distance`.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    counts: tuple[int, ...]
    formats: tuple[str, ...]
    labels: tuple[str, ...]
    share: float


def planned(a: Model, b: Model, pairs: Sequence[tuple[str, str, int]]) -> Plan:
    """Return the plan for pairs (tensor of a, tensor of b, values in common), not empty."""
    ours, theirs, counts = zip(*pairs, strict=True)
    return Plan(
        ours,
        theirs,
        counts,
        tuple(a.tensors[key].format for key in ours),
        tuple(min(bare_name(a, one), bare_name(b, other)) for one, other, _ in pairs),
        min(1.0, sum(counts) / max(1, min(float_count(a), float_count(b)))),
    )


def float_pairs(a: Model, matches: Mapping[str, Match]) -> list[tuple[str, str, int]]:
    """Return (tensor of a, tensor of b, values in common) of the matched float tensors, in a's order.

    Copies in a second file are left out.
    """
    return [
        (key, matches[key].tensor, matches[key].common)
        for key, info in a.tensors.items()
        if key in matches and get_format(info.format).is_float and bare_name(a, key) == key
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
