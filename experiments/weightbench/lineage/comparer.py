"""Distances between many models: each model is read once, tensors of equal architectures are matched once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, log2

from weightbench.models import Model
from weightcodecs.errors import ConfigError

from .base_values import Match
from .comparing import SAMPLES, Plan, float_pairs, planned
from .distance import MOST, Distance, compare
from .matching import match_by_name, match_tensors
from .sampling import Sampler, float_count, layout_of
from .signature import Signature, signature

__all__ = ["Comparer"]

TRIES = 16  # pairs of models that are matched by content before two architectures count as different ones


class Comparer:
    """Measures distances between models, by name, and remembers them.

    A model is sampled at a rate of a power of two that gives at least `samples` values; a pair at the lower
    rate of the two. So models of one architecture are sampled at the same places: n of them cost n readings
    of `samples` values, which are kept, and each pair a pass over two samples.

    Raises:
        ConfigError: two models have one name.
    """

    def __init__(self, models: Sequence[Model], *, samples: int = SAMPLES, seed: int = 0) -> None:
        self.models: Mapping[str, Model] = {m.name: m for m in sorted(models, key=lambda m: m.name)}
        if len(self.models) != len(models):
            names = sorted(m.name for m in models)
            twice = next(a for a, b in pairwise(names) if a == b)
            raise ConfigError(f"lineage: two models are called {twice!r}; give each a name of its own")
        self.signatures: Mapping[str, Signature] = {n: signature(m) for n, m in self.models.items()}
        self._seed = seed
        self._rates = {name: _rate(model, samples) for name, model in self.models.items()}
        self._samplers: dict[tuple[str, float], Sampler] = {}
        self._plans: dict[tuple[str, str], Plan | None] = {}
        self._tried: dict[tuple[str, str], int] = {}
        self._found: dict[tuple[str, str], Distance | None] = {}

    def distance(self, a: str, b: str, *, per_bit: bool = False) -> Distance | None:
        """Return the distance of two models, with `per_bit` if wanted; None if nothing corresponds."""
        a, b = min(a, b), max(a, b)
        if (a, b) not in self._found:
            self._found[a, b] = self._measure(a, b, per_bit)
        found = self._found[a, b]
        if found is not None and per_bit and not found.per_bit:
            found = self._found[a, b] = self._measure(a, b, per_bit)
        return found

    def known(self) -> Mapping[tuple[str, str], Distance | None]:
        """Return the distances that were measured, by pairs of names in order."""
        return dict(self._found)

    def _measure(self, a: str, b: str, per_bit: bool) -> Distance | None:
        plan = self._plan(a, b)
        if plan is None:
            return None
        rate = min(self._rates[a], self._rates[b])
        layout = layout_of(plan.counts, plan.formats, plan.labels, rate, self._seed)
        left = self._sampler(a, rate).draw(plan.ours, layout)
        right = self._sampler(b, rate).draw(plan.theirs, layout)
        return compare(left, right, layout, share=plan.share, per_bit=per_bit)

    def _sampler(self, name: str, rate: float) -> Sampler:
        found = self._samplers.get((name, rate))
        if found is None:
            found = self._samplers[name, rate] = Sampler(self.models[name], rate, self._seed)
        return found

    def _plan(self, a: str, b: str) -> Plan | None:
        key = self.signatures[a].exact, self.signatures[b].exact
        if key not in self._plans:
            ours, theirs = self.models[a], self.models[b]
            plan = _planned(ours, theirs, match_by_name(ours, theirs))
            if plan is None or plan.share < MOST:
                plan = _planned(ours, theirs, match_tensors(ours, theirs, seed=self._seed)) or plan
                self._tried[key] = self._tried.get(key, 0) + 1
                if (plan is None or plan.share < MOST) and self._tried[key] < TRIES:
                    return plan
            self._plans[key] = plan
        return self._plans[key]


def _planned(ours: Model, theirs: Model, matches: Mapping[str, Match]) -> Plan | None:
    pairs = float_pairs(ours, matches)
    return planned(ours, theirs, pairs) if pairs else None


def _rate(model: Model, samples: int) -> float:
    return float(min(1.0, 2.0 ** ceil(log2(samples / max(1, float_count(model))))))
