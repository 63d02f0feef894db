"""Memory beside the unit itself, as Python's allocator hooks see it (NumPy reports to them)."""

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightbench.measure import MeasurePlan, measure_units
from weightbench.verify import check
from weightcodecs import get_codec

_SIZE = 4_000_000  # values, 16 MB


@dataclass(frozen=True)
class Made:
    """Made when asked for, as synthetic models are: the original counts too."""

    key: str

    def array(self) -> np.ndarray[Any, Any]:
        return np.arange(_SIZE, dtype=np.float32)


def test_measuring_holds_four_units() -> None:
    units = [Made(f"u{i}") for i in range(3)]
    for output in ("fresh", "reused"):
        plan = MeasurePlan("memory", 2, 0.0, output=output)  # type: ignore[arg-type]
        measure_units(get_codec("identity"), units[:1], plan)
        tracemalloc.start()
        try:
            measure_units(get_codec("identity"), units, plan)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # original, private copy, blob (as large as the original here), decoded values
        assert peak < 4.1 * 4 * _SIZE


def test_verifying_needs_a_few_megabytes() -> None:
    codec = get_codec("cast", to="bfloat16")
    original = Made("u").array()
    decoded = codec.decode(codec.encode(original))
    check(codec, original[:10], decoded[:10])
    tracemalloc.start()
    try:
        unit, _ = check(codec, original, decoded)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not unit.violated
    assert peak < 8_000_000
