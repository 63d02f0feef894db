from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weightbench.dedup import SeenUnits, content_key
from weightbench.granularity import Granularity, expand, parameters, reference_bytes, split, units
from weightcodecs.errors import CorruptBlobError
from weightcodecs.kernels.bit_stream import pack_bits_reference
from weightcodecs.kernels.distinct import distinct_patterns, distinct_patterns_reference

WIDTHS = ["u1", "u2", "u4", "u8"]


@pytest.mark.parametrize("dtype", WIDTHS)
@settings(deadline=None)
@given(data=st.data())
def test_distinct_patterns_are_numpys(dtype, data):
    bits = data.draw(hnp.arrays(dtype, st.integers(1, 300), elements={"max_value": 200} | {"min_value": 0}))
    bits = bits * np.array(np.iinfo(dtype).max // 255, dtype)
    for mine, theirs in zip(distinct_patterns(bits), distinct_patterns_reference(bits), strict=True):
        assert mine.dtype == theirs.dtype
        assert (mine == theirs).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "bool"])
@pytest.mark.parametrize("block", [parameters.BLOCK, 8, 64])
def test_split_and_expand(dtype, block, monkeypatch):
    monkeypatch.setattr(parameters, "BLOCK", block)
    rng = np.random.default_rng(3)
    for count, kinds in ((1, 1), (9, 1), (2, 2), (1000, 3), (999, 900), (5000, 256)):
        values = rng.integers(0, kinds, count).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
        parts = split(values)
        bits = parts.values.view(f"u{values.itemsize}")
        assert (np.diff(bits.astype(np.float64)) > 0).all()
        assert len(parts.references) == reference_bytes(count, parts.values.size)
        assert expand(parts.values, parts.references, count).tobytes() == values.tobytes()
        width = (parts.values.size - 1).bit_length()
        if width:
            ranks = distinct_patterns_reference(values.view(f"u{values.itemsize}"))[1]
            assert parts.references == pack_bits_reference(ranks.astype(np.uint64), width)


def test_nan_payloads_and_zero_signs_stay_apart():
    values = np.array([0.0, -0.0, np.nan, np.nan], np.float32)
    values.view(np.uint32)[3] ^= 1
    parts = split(values)
    assert parts.values.size == 4
    assert expand(parts.values, parts.references, 4).tobytes() == values.tobytes()


def test_damaged_references_are_refused():
    parts = split(np.arange(5, dtype=np.float32))
    for references, count in (
        (parts.references[:-1], 5),
        (parts.references + b"0", 5),
        (parts.references, 6),
    ):
        with pytest.raises(CorruptBlobError):
            expand(parts.values, references, count)
    with pytest.raises(CorruptBlobError, match="behind"):
        expand(parts.values, b"\xff\xff", 5)
    with pytest.raises(CorruptBlobError):
        expand(parts.values[:0], b"", 5)
    with pytest.raises(ValueError, match="takes from"):
        split(np.empty(0, np.float32))


def test_streams_are_cut_into_segments(model, monkeypatch):
    monkeypatch.setattr("weightbench.granularity.cutting.SEGMENT", 100)
    found = list(units(model, Granularity("parameter")))
    assert max(unit.count for unit in found) == 100
    for unit in found:
        assert unit.restore(unit.array()).tobytes() == unit.values().tobytes()
        assert unit.array().size == np.unique(unit.values().view(f"u{unit.values().itemsize}")).size


def test_content_keys():
    a = np.array([0.0, np.nan], np.float32)
    assert content_key(a) == content_key(a.copy())
    assert content_key(a) != content_key(-a)
    assert content_key(a) != content_key(a.view(np.int32))
    assert content_key(np.float32(1).reshape(())) == content_key(np.ones(1, np.float32))


def test_a_hit_is_compared(model, monkeypatch):
    monkeypatch.setattr("weightbench.dedup.content_key", lambda array: b"same for all")
    seen = SeenUnits()
    found = list(units(model, Granularity("tensor")))
    places = [seen.find_or_add(unit, unit.array(), i) for i, unit in enumerate(found)]
    for i, place in enumerate(places):
        earlier = [j for j in range(i) if found[j].array().tobytes() == found[i].array().tobytes()]
        assert place == (earlier[0] if earlier else None)
