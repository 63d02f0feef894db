"""Paired intervals against values computed in another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weightbench.evaluate.paired import (
    aggregate_interval,
    binary_interval,
    flips,
    mean_interval,
    ratio_interval,
)


def test_flips_count_each_direction() -> None:
    before = np.array([1.0, 1, 1, 0, 0, 0, 1])
    after = np.array([0.0, 0, 1, 1, 0, 0, 1])
    assert flips(before, after) == (1, 2)
    assert flips(before, after * 0.5) is None


def test_binary_interval_is_adjusted_wald() -> None:
    interval = binary_interval(3, 9, 100)
    assert interval is not None
    counts = np.array([[40 + 0.5, 9 + 0.5], [3 + 0.5, 48 + 0.5]])
    n = counts.sum()
    p_loss, p_gain = counts[0, 1] / n, counts[1, 0] / n
    half = 1.959964 * np.sqrt((p_loss + p_gain - (p_gain - p_loss) ** 2) / n)
    assert interval.low == pytest.approx(p_gain - p_loss - half, rel=1e-6)
    assert interval.high == pytest.approx(p_gain - p_loss + half, rel=1e-6)


def test_no_flip_still_leaves_doubt() -> None:
    interval = binary_interval(0, 0, 200)
    assert interval is not None
    assert interval.low < 0 < interval.high < 0.011


def test_binary_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(1000):
        gained, lost, _same = rng.multinomial(300, [0.02, 0.05, 0.93])
        interval = binary_interval(int(gained), int(lost), 300)
        assert interval is not None
        covered += interval.low <= -0.03 <= interval.high
    assert 930 <= covered <= 980


def test_mean_interval_is_students() -> None:
    differences = np.random.default_rng(1).normal(0.3, 1, 25)
    interval = mean_interval(differences)
    low, high = stats.t.interval(0.95, 24, differences.mean(), stats.sem(differences))
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_ratio_interval_is_near_the_delta_method_and_pairs() -> None:
    rng = np.random.default_rng(2)
    weights = rng.integers(100, 900, 400).astype(np.float64)
    before = -weights * rng.normal(2.0, 0.5, 400)
    after = before - weights * rng.normal(0.01, 0.002, 400)
    interval = ratio_interval(before, after, weights, lambda ratio: -ratio, seed=3)
    assert interval is not None
    ratio = (before - after).sum() / weights.sum()
    residual = (before - after) - ratio * weights
    sigma = np.sqrt((residual**2).sum()) / weights.sum()
    # Unpaired, the interval would be some hundred times wider: documents differ far more than models do.
    assert interval.low == pytest.approx(ratio - 1.96 * sigma, abs=0.3 * sigma)
    assert interval.high == pytest.approx(ratio + 1.96 * sigma, abs=0.3 * sigma)


def test_aggregate_interval_of_a_mean_is_the_means() -> None:
    rng = np.random.default_rng(4)
    before = rng.normal(0, 1, 200)
    after = before + rng.normal(0.2, 0.1, 200)
    exact = mean_interval(after - before)
    drawn = aggregate_interval(list(before), list(after), lambda items: float(np.mean(items)), 1, 500)
    assert exact is not None
    assert drawn is not None
    assert drawn.low == pytest.approx(exact.low, abs=0.005)
    assert drawn.high == pytest.approx(exact.high, abs=0.005)


def test_one_document_gives_no_interval() -> None:
    one = np.ones(1)
    assert mean_interval(one) is None
    assert binary_interval(0, 0, 1) is None
    assert ratio_interval(one, one, one, lambda ratio: ratio, 0) is None
    assert aggregate_interval([1], [1], len, 0, 10) is None
