"""Every registered codec can be measured, with finite numbers and its promise kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from weightbench.measure import MeasurePlan, measure_units
from weightcodecs import FORMATS, MissingExtraError, get_codec, list_codecs
from weightcodecs.pair import PairCodec

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Held:
    key: str
    values: Array

    def array(self) -> Array:
        return self.values


def corpus() -> list[Held]:
    rng = np.random.default_rng(7)
    units = []
    for name, format in FORMATS.items():
        values = (rng.standard_normal((33, 31)) * 0.02).astype(format.dtype)
        if format.is_float:
            values[0, :3] = (np.nan, -0.0, 0.5)
        units += [Held(name, values), Held(f"{name}.T", values.T), Held(f"{name}.0d", values[1, 1])]
        units.append(Held(f"{name}.empty", values[:0]))
    return [Held(unit.key, np.asarray(unit.values)) for unit in units]


@pytest.mark.parametrize("output", ["fresh", "reused"])
@pytest.mark.parametrize("name", list_codecs())
def test_every_codec(name: str, output: Any) -> None:
    try:
        codec = get_codec(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    if isinstance(codec, PairCodec):
        pytest.skip("it codes pairs, which the pair workload measures")
    units = [unit for unit in corpus() if codec.unsupported(FORMATS[unit.values.dtype.name]) is None]
    assert units
    references = (
        (lambda key: next(u.values for u in units if u.key == key)) if codec.needs_reference else None
    )
    plan = MeasurePlan("law", 2, 0.0, output=output, min_timed_seconds=1e-5)
    result = measure_units(codec, units, plan, references=references)
    assert not result.verdict.violated, result.verdict.message()
    assert result.rounds == 2
    assert result.verdict.values == sum(unit.values.size for unit in units)
    assert [unit.key for unit in result.units] == [unit.key for unit in units]
    plain = result.plain()  # refuses NaN and infinity
    assert plain["encode"]["seconds"]["n"] == 2
    assert plain["blob_bytes"] == sum(unit["blob_bytes"] for unit in plain["units"])
