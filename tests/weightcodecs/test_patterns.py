"""Hypothesis draws bit patterns, shapes and layouts; every codec keeps its promise on them."""

from __future__ import annotations

import numpy as np
import pytest
from configurations import configurations
from corpus import Array, assert_faithful, bits, edge_patterns, from_bits, references, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weightcodecs
from weightcodecs import FORMATS, Codec, FloatFormat
from weightcodecs.blob import footer_limit, read_varint, varint

CODECS = [pytest.param(codec, id=name) for name, codec in configurations()]
FLOATS = [format for format in FORMATS.values() if format.is_float]


@st.composite
def arrays(draw: st.DrawFn, format: FloatFormat) -> Array:
    """Arrays of any bit patterns: uniform ones, those at the edges, near neighbours, long repeats."""
    edges = edge_patterns(format)
    top = (1 << format.bits) - 1
    half = 1 << (format.mantissa_bits + format.exponent_bits - 1)
    pattern = st.one_of(
        st.integers(0, top),
        st.sampled_from(range(edges.size)).map(lambda index: int(edges[index])),
        st.integers(max(half - 5000, 0), half),
    )
    patterns = draw(st.lists(pattern, max_size=30))
    repeats = draw(st.sampled_from([1, 1, 2, 7, 64, 300]))
    values = np.tile(from_bits(np.array(patterns, np.uint64), format), repeats)
    if draw(st.booleans()):
        values = values[::-1]
    if values.size % 2 == 0 and draw(st.booleans()):
        values = values.reshape(2, -1).T
    if draw(st.booleans()):
        values = values.astype(values.dtype.newbyteorder(">"))
    return values


@pytest.mark.parametrize("format", FLOATS, ids=lambda format: format.name)
@pytest.mark.parametrize("codec", CODECS)
def test_any_bit_pattern(codec: Codec, format: FloatFormat) -> None:
    if refused(codec, format):
        pytest.skip("refused, see test_laws")

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(arrays(format))
    def check(values: Array) -> None:
        before = bits(values).copy()
        extra = references(codec, values)
        blob = codec.encode(values, **extra)
        assert (bits(values) == before).all()
        assert len(blob) <= values.nbytes + footer_limit(
            codec.name, values.shape, reference=codec.needs_reference
        )
        assert_faithful(codec, format, values, weightcodecs.decode(blob, **extra), repr(codec))

    check()


@settings(database=None)
@given(st.integers(0, (1 << 70) - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_varints(value: int, before: bytes, after: bytes) -> None:
    data = before + varint(value) + after
    assert read_varint(data, len(before)) == (value, len(data) - len(after))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 30])
def test_varints_that_do_not_end(data: bytes) -> None:
    with pytest.raises(weightcodecs.CorruptBlobError):
        read_varint(data, 0)
