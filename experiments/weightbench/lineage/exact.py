"""The bit distance of all values, in one pass over both models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightbench.models import Model
from weightcodecs.formats import get_format

from .distance import Distance, Evidence, apart, judge, widest_variance
from .sampling import BLOCK

__all__ = ["exact_distance"]

AT_ONCE = 1 << 20  # elements; a multiple of BLOCK


def exact_distance(a: Model, b: Model, pairs: Sequence[tuple[str, str, int]], share: float) -> Distance:
    """Return the distance over all values of pairs (tensor of a, tensor of b, number of values), not empty.

    The interval has no width; the margin of the threshold is that of independent draws of the weights.
    """
    from weightcodecs.kernels.bit_distance import block_distances, count_bits

    formats = tuple(a.tensors[key].format for key, _, _ in pairs)
    counts = np.array([count for _, _, count in pairs])
    means, variances, exponents = np.zeros((3, len(pairs)))
    flips, independent = np.zeros((2, len(pairs), max(get_format(name).bits for name in formats)))
    for j, (ours, theirs, count) in enumerate(pairs):
        format = get_format(formats[j])
        found = np.zeros((3, format.bits), np.int64)
        squares, steps = 0.0, 0
        for start in range(0, count, AT_ONCE):
            stop = min(start + AT_ONCE, count)
            left = np.ascontiguousarray(a.elements(ours, start, stop)).view(format.bits_dtype)
            right = np.ascontiguousarray(b.elements(theirs, start, stop)).view(format.bits_dtype)
            whole = np.array([0, left.size])
            for row, patterns in zip(found, (left ^ right, left, right), strict=True):
                count_bits(patterns, whole, row[None])
            ends = np.arange(BLOCK, stop - start + 1, BLOCK)
            blocks = np.empty(ends.size)
            block_distances(left, right, ends, blocks)
            squares += float(np.square(np.diff(blocks / BLOCK)).sum())
            steps += max(0, ends.size - 1)
        a.drop(ours)
        b.drop(theirs)
        flips[j, : format.bits] = found[0] / count
        means[j] = flips[j].sum()
        independent[j, : format.bits] = apart(found[1] / count, found[2] / count)
        exponents[j] = flips[j, format.mantissa_bits : format.bits - 1].sum()
        variances[j] = (
            squares / (2 * steps) / (steps + 1) if steps else widest_variance(format.bits, counts)[j]
        )
    evidence = Evidence(
        formats,
        counts / counts.sum(),
        np.zeros(len(pairs)),
        means,
        variances,
        independent,
        exponents,
        flips,
        int(counts.sum()) // BLOCK,
        int(counts.sum()),
    )
    return judge(evidence, share)
