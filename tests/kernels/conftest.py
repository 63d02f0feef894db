"""Planes that entropy coders find hard."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


def _fibonacci_plane() -> Plane:
    counts = [1, 1]
    while len(counts) < 20:
        counts.append(counts[-1] + counts[-2])
    return np.random.default_rng(1).permutation(np.repeat(np.arange(20, dtype=np.uint8), counts))


def _exponents(seed: int, size: int) -> Plane:
    values = np.random.default_rng(seed).standard_normal(size).astype(np.float32) * np.float32(0.02)
    return (values.view(np.uint32) >> 23).astype(np.uint8)


def adversarial_planes() -> dict[str, Plane]:
    random = np.random.default_rng(0)
    rare = np.zeros(100_000, np.uint8)
    rare[77_777] = 200
    return {
        "empty": np.zeros(0, np.uint8),
        "one byte": np.full(1, 7, np.uint8),
        "two bytes": np.array([7, 9], np.uint8),
        "all equal": np.full(70_000, 255, np.uint8),
        "one rare byte": rare,
        "uniform": random.integers(0, 256, 300_001, np.uint8),
        "fibonacci counts": _fibonacci_plane(),
        "every byte": np.tile(np.arange(256, dtype=np.uint8), 40),
        "geometric": np.minimum(random.geometric(0.5, 150_003), 255).astype(np.uint8),
        "skewed": (random.random(200_000) < 0.03).astype(np.uint8) * random.integers(1, 8, 200_000, np.uint8),
        "exponents": _exponents(2, 400_000),
        "exponents with zeros": np.where(random.random(140_000) < 0.01, 0, _exponents(3, 140_000)).astype(
            np.uint8
        ),
        "long runs": np.repeat(random.integers(0, 256, 300, np.uint8), random.integers(1, 2000, 300)),
        "half noise, half zero": np.concatenate(
            [random.integers(0, 256, 200_000, np.uint8), np.zeros(99_999, np.uint8)]
        ),
        "wide and skewed": np.minimum(np.abs(random.standard_normal(131_072) * 30), 255).astype(np.uint8),
    }


@pytest.fixture(params=sorted(adversarial_planes()), scope="session")
def plane(request: pytest.FixtureRequest) -> Plane:
    drawn = adversarial_planes()[request.param]
    drawn.flags.writeable = False  # as inputs are, so that kernels are compiled once
    return drawn
