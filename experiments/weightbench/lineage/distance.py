"""Bit distance of two models: the mean number of bits in which corresponding weights differ.

The concept is ZipLLM's (Wang et al., 2025); sampling, interval and the test of relation are ours.

**Interval.** Samples are stratified (see `sampling`): D = Σ w_t D_t over tensors, w_t their shares of all
values. The variance of each D_t comes from the differences of successive blocks (values within a block may be
as correlated as they like), times the share of blocks that was not looked at. The interval is D ± 1.96
standard errors; where no sampled bit differs, its end is what 3 differing blocks among those sampled would
give.

**Relation.** Were the models unrelated, the bits of corresponding weights would be independent given how
often each bit is set in each tensor, p_a and p_b: the expected distance is
Σ_t w_t Σ_bits p_a (1 − p_b) + p_b (1 − p_a), the mean over all ways to pair a tensor's sampled values anew.
Strangers can be nearer than that where the sizes of their weights are alike, row by row (embeddings of rare
tokens); so of exponent bits the flips that were measured are taken where they are fewer, and it is signs and
mantissas that decide. The threshold is what results, minus the larger of 4 standard errors (without the
correction for what was looked at: the weights themselves are the random draw) and 1/6 bit, by which the signs
alone of Gaussians of correlation 1/2 fall short of independent ones; a fine-tune that has moved further than
that has little to gain from its base. Models are related if the interval's upper end is below the threshold,
and so, each for itself, are tensors that hold at least half of the values that could tell (equal masks or
position tables in models that share nothing else relate nobody).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan, sqrt
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from weightcodecs.formats import get_format

from .sampling import Drawn, Layout

__all__ = ["MARGIN", "MOST", "Distance", "Evidence", "apart", "compare", "judge", "widest_variance"]

CONFIDENCE = 1.96
MARGIN = 4.0
HALF_CORRELATED = 1 / 2 - 1 / 3  # signs of Gaussians of correlation 1/2 differ with probability arccos(1/2)/π
ZERO_BLOCKS = 3.0  # the rule of three: a share that was never met in n draws is below 3/n (95 %)
MOST = 0.5


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two models are apart.

    Attributes:
        bits: mean number of differing bits of a weight.
        low, high: its 95 % confidence interval; equal to `bits` where every value was compared.
        samples: number of values compared.
        independent: the distance expected if the models were unrelated.
        threshold: `independent` minus the margin; see the module.
        agreeing: share of values in tensors below their own thresholds, among those in tensors that could be.
        share: values with a counterpart as a share of the float values of the smaller model.
        cast: the format that the wider model was cast to, or "".
        per_bit: for each format, the share of values that differ in each bit, lowest bit first; empty where
            it was not asked for.
        entropy: bits a weight of coding one model against the other, each bit position by itself: Σ h(p_j). A
            predictor of the cost, for choosing among bases (correlated bits cost less); NaN without
            `per_bit`.
    """

    bits: float
    low: float
    high: float
    samples: int
    independent: float
    threshold: float
    agreeing: float
    share: float = 1.0
    cast: str = ""
    per_bit: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    entropy: float = nan

    @property
    def related(self) -> bool:
        """Whether the bits say that one family holds both."""
        if self.share < MOST:
            return False
        if self.bits == self.independent == 0:
            return True
        return self.high < self.threshold and self.agreeing >= MOST

    @property
    def decisive(self) -> bool:
        """Whether there is enough to tell a model at half a stranger's distance from a stranger."""
        return self.share >= MOST and self.threshold > self.independent / 2

    @property
    def nearness(self) -> float:
        """The interval's upper end over the threshold: below 1 for related models, from 1 on for others."""
        if self.related:
            return self.high / self.threshold if self.threshold > 0 else 0.0
        return max(1.0, self.high / self.threshold) if self.threshold > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for each tensor, (t,) unless said otherwise.

    Attributes:
        formats: of the tensors.
        weights: their shares of all values.
        unseen: shares of their values that were not looked at.
        means: mean numbers of differing bits of a value.
        variances: of the means, as if the weights were drawn anew.
        apart: shares of values that would differ in each bit if the tensors were unrelated, (t, bits).
        exponents: mean numbers of differing exponent bits.
        flips: shares of values that differ in each bit (t, bits), or None.
        blocks, samples: how many blocks and values were looked at.
    """

    formats: tuple[str, ...]
    weights: NDArray[np.float64]
    unseen: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    apart: NDArray[np.float64]
    exponents: NDArray[np.float64]
    flips: NDArray[np.float64] | None
    blocks: int
    samples: int


def compare(a: Drawn, b: Drawn, layout: Layout, *, share: float = 1.0, per_bit: bool = False) -> Distance:
    """Return the distance of samples of two models; the layout is not empty."""
    from weightcodecs.kernels.bit_distance import block_distances, masked_distances, set_moments

    blocks = np.empty(layout.ends.size)
    block_distances(a.patterns, b.patterns, layout.ends, blocks)
    means, variances = np.empty((2, len(layout.counts)))
    set_moments(blocks, layout.lengths, layout.first_blocks, means, variances)
    alone = np.diff(layout.first_blocks) == 1
    variances[alone] = widest_variance(layout.bits.itemsize * 8, np.diff(layout.first_values)[alone])
    exponents = np.empty(len(layout.counts))
    masked_distances(a.patterns, b.patterns, layout.first_values[1:], layout.exponents, exponents)
    evidence = Evidence(
        layout.formats,
        layout.weights,
        1.0 - layout.coverage,
        means,
        variances,
        apart(a.ones, b.ones),
        exponents / np.diff(layout.first_values),
        _flips(a, b, layout) if per_bit else None,
        layout.ends.size,
        int(layout.first_values[-1]),
    )
    return judge(evidence, share)


def widest_variance(bits: int, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the variance of means of `counts` values of as wide a spread as their bits allow."""
    return (bits / 2) ** 2 / counts


def apart(ones_a: NDArray[np.float64], ones_b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where independent values differ in each bit (t, bits), from the shares (t, bits) of set bits."""
    return ones_a + ones_b - 2 * ones_a * ones_b


def judge(found: Evidence, share: float) -> Distance:
    """Put together what was found for each tensor; `share` as in `Distance`."""
    weights, widest = found.weights, float(max(get_format(name).bits for name in found.formats))
    bits, independent = float(weights @ found.means), found.apart.sum(axis=1)
    half = CONFIDENCE * sqrt(weights**2 @ (found.variances * found.unseen))
    high = bits + half
    if bits == 0 and found.unseen.any():
        high = ZERO_BLOCKS / found.blocks * widest
    beside = found.apart.copy()
    for j, name in enumerate(found.formats):
        format = get_format(name)
        beside[j, format.mantissa_bits : format.bits - 1] = 0.0
    strangers = np.minimum(independent, found.exponents + beside.sum(axis=1))
    errors = np.sqrt(found.variances)
    margins = np.maximum(MARGIN * errors, HALF_CORRELATED)
    telling = strangers > 2 * margins
    below = telling & (found.means + CONFIDENCE * errors < strangers - margins)
    told = float(weights[telling].sum())
    margin = max(MARGIN * sqrt(weights**2 @ found.variances), HALF_CORRELATED)
    per_bit, entropy = ({}, nan) if found.flips is None else _by_format(found, found.flips)
    return Distance(
        bits=bits,
        low=max(0.0, bits - half),
        high=min(widest, high),
        samples=found.samples,
        independent=float(weights @ independent),
        threshold=float(weights @ strangers) - margin,
        agreeing=float(weights[below].sum()) / told if told else 0.0,
        share=share,
        per_bit=MappingProxyType(per_bit),
        entropy=entropy,
    )


def _flips(a: Drawn, b: Drawn, layout: Layout) -> NDArray[np.float64]:
    from weightcodecs.kernels.bit_distance import count_bits

    counts = np.zeros((len(layout.counts), layout.bits.itemsize * 8), np.int64)
    count_bits(a.patterns ^ b.patterns, layout.first_values, counts)
    shares: NDArray[np.float64] = counts / np.diff(layout.first_values)[:, None]
    return shares


def _by_format(found: Evidence, flips: NDArray[np.float64]) -> tuple[dict[str, tuple[float, ...]], float]:
    """Return the flips of each format's values, and the predicted cost of a value."""
    per_bit, entropy = {}, 0.0
    formats = np.array(found.formats)
    for name in dict.fromkeys(found.formats):
        weights = found.weights * (formats == name)
        shares = (weights @ flips / weights.sum())[: get_format(name).bits]
        inside = shares[(shares > 0) & (shares < 1)]
        costs = inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside)
        entropy -= float(weights.sum() * costs.sum())
        per_bit[name] = tuple(shares.tolist())
    return per_bit, entropy
