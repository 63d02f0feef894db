import math
from itertools import product

import numpy as np
import pytest

from weightbench.measure.summary import median_ranks, summarize


def test_hand_computed() -> None:
    found = summarize([3.0, 1.0, 2.0, 5.0, 4.0])
    assert found is not None
    assert (found.min, found.q1, found.median, found.q3, found.max, found.n) == (1, 2, 3, 4, 5, 5)
    assert found.cv == pytest.approx(math.sqrt(2.5) / 3)
    assert (found.ci_low, found.ci_high, found.ci_confidence) == (1, 5, 0.9375)


def test_one_and_none() -> None:
    one = summarize([2.0])
    assert one is not None
    assert (one.median, one.cv, one.ci_low, one.ci_confidence) == (2.0, None, None, None)
    assert summarize([]) is None
    with pytest.raises(ValueError, match="finite"):
        summarize([1.0, math.nan])


# Conover, table of binomial quantiles: ranks of the 95 % interval of the median.
@pytest.mark.parametrize(
    ("n", "rank"), [(2, 1), (5, 1), (6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6)]
)
def test_ranks(n: int, rank: int) -> None:
    found, coverage = median_ranks(n)
    assert found == rank
    if n <= 12:  # every pattern of samples below and above the median
        inside = sum(rank <= sum(pattern) <= n - rank for pattern in product((0, 1), repeat=n))
        assert coverage == inside / 2**n
    assert coverage >= 0.95 or n < 6


# 1,024 rounds and more have more patterns than a float counts. By SciPy's binomial distribution.
@pytest.mark.parametrize(("n", "rank", "coverage"), [(1023, 480, 0.95465796), (3000, 1446, 0.95343355)])
def test_ranks_of_very_many_rounds(n: int, rank: int, coverage: float) -> None:
    assert median_ranks(n) == (rank, pytest.approx(coverage, abs=1e-8))


def test_interval_covers_as_promised() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        found = summarize(rng.exponential(size=10).tolist())
        assert found is not None
        assert found.ci_low is not None
        assert found.ci_high is not None
        hits += found.ci_low <= math.log(2) <= found.ci_high
    assert hits / 2000 == pytest.approx(median_ranks(10)[1], abs=0.01)
