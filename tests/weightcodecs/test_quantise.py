"""INT8, INT4 and NF4: the formulas, and what the papers' kernels do with zeros and non-finite values."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from weightcodecs import UnsupportedFormatError, format_of, get_codec, payload
from weightcodecs.quantise import (
    NF4_LEVELS,
    code_intervals,
    dequantise_int4,
    dequantise_int8,
    dequantise_nf4,
    pack_nibbles,
    quantise_int4,
    quantise_int8,
    quantise_nf4,
    unpack_nibbles,
)

FLOATS = [np.float32, np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS)
def test_int8_is_the_formula(dtype: type) -> None:
    high = (np.random.default_rng(1).standard_normal((50, 77)) * 0.02).astype(dtype)
    made = quantise_int8(high)
    wide = high.astype(np.float32)
    scales = np.abs(wide).max(axis=1)
    assert made.scales is not None
    assert (made.scales == scales).all()
    assert (made.codes == np.rint(wide * (np.float32(127) / scales[:, None]))).all()
    assert made.codes.min() >= -127
    assert made.nbytes == 50 * 77 + 50 * 4
    back = dequantise_int8(made.codes, made.scales, np.float32)
    assert (np.abs(back - wide) <= scales[:, None] / 254 * (1 + 2.0**-18)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(50, 77), (3, 5), (201,), (4, 3, 2, 2)])
def test_int4_is_the_formula(dtype: type, shape: tuple[int, ...]) -> None:
    high = (np.random.default_rng(1).standard_normal(shape) * 0.02).astype(dtype)
    made = quantise_int4(high)
    wide = high.astype(np.float32).reshape(shape[0] if len(shape) > 1 else 1, -1)
    scales = np.abs(wide).max(axis=1)
    assert made.scales is not None
    assert (made.scales == scales).all()
    wanted = np.rint(wide * (np.float32(7) / scales[:, None])).astype(np.int64).reshape(-1)
    assert made.codes.dtype == np.uint8
    assert (unpack_nibbles(made.codes, high.size) == wanted % 16).all()
    assert made.nbytes == -(-high.size // 2) + 4 * scales.size
    back = dequantise_int4(made.codes, made.scales, shape, np.float32)
    assert back.shape == shape
    exact = wanted.reshape(wide.shape) * (scales[:, None].astype(np.float64) / 7)
    assert (back.reshape(wide.shape) == exact.astype(np.float32)).all()
    assert (np.abs(back.reshape(wide.shape) - wide) <= scales[:, None] / 14 * (1 + 2.0**-18)).all()


def test_int4_takes_zeros_and_non_finite_rows() -> None:
    high = np.ones((5, 3), np.float32)
    high[0] = 0
    high[1, 2] = np.inf
    high[2, 1] = np.nan
    high[3] = [1e-45, -7e-45, 3e-45]
    high[4] = [3e38, -3e38, -0.0]
    made = quantise_int4(high)
    np.testing.assert_array_equal(made.scales, [0, np.inf, 1, np.float32(7e-45), np.float32(3e38)])
    wanted = [0, 0, 0, 0, 0, 0, 7, 0, 7, 1, -7, 3, 7, -7, 0]
    # 7e-45 is 5 times the smallest subnormal: codes are 7·(1, −5, 2)/5 of it, to the nearest.
    np.testing.assert_array_equal(unpack_nibbles(made.codes, 15), np.array(wanted) % 16)


@pytest.mark.parametrize("dtype", FLOATS)
def test_int4_stays_within_half_a_step(dtype: type) -> None:
    values = (np.random.default_rng(4).standard_normal((40, 999)) * 0.02).astype(dtype)
    values[3, 7], values[5, 1] = np.nan, np.inf
    codec = get_codec("int4")
    blob = codec.encode(values)
    back = codec.decode(blob).astype(np.float64)
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    bound = codec.error_bound(format_of(values))
    assert 1 / 14 <= bound.of_max < 1 / 14 + 2.0**-20 + 2.0 ** -format_of(values).mantissa_bits
    largest = np.abs(wide[finite]).max()
    error = np.abs(back[finite] - wide[finite]).max()
    assert error <= bound.of(largest).absolute
    assert error > largest / 14 * 0.9  # the bound is not a generous one
    np.testing.assert_array_equal(back[~finite], wide[~finite])
    # Codes, scales, and an exception list of two values; infinity counts for nothing in its row's scale.
    assert len(payload(blob)) == values.size // 2 + 4 * 40 + 4 + 2 * (2 + values.itemsize)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nf4_is_the_nearest_level(dtype: type) -> None:
    high = (np.random.default_rng(2).standard_normal((3, 67)) * 0.02).astype(dtype)
    made = quantise_nf4(high)
    flat = high.astype(np.float32).reshape(-1)
    assert made.scales is not None
    assert made.codes.size == 101
    codes = unpack_nibbles(made.codes, 201)
    for block in range(4):
        part = flat[64 * block : 64 * block + 64]
        scale = np.abs(part).max()
        assert made.scales[block] == scale
        distance = np.abs(part[:, None] / scale - NF4_LEVELS)
        assert (
            distance[np.arange(part.size), codes[64 * block : 64 * block + 64]] <= distance.min(1) + 1e-7
        ).all()
    back = dequantise_nf4(made.codes, made.scales, high.shape, np.float32)
    assert np.abs(back - high.astype(np.float32)).max() <= 0.1520 * made.scales.max()


def test_zeros_and_non_finite_rows() -> None:
    high = np.ones((6, 4), np.float32)
    high[0] = 0
    high[1, 2] = np.inf
    high[2, 1] = np.nan
    high[3] = np.nan
    high[4] = [1e-45, -1e-45, 3e-45, 0]
    high[5] = [3e38, -3e38, 0, -0.0]
    made = quantise_int8(high)
    assert made.scales is not None
    np.testing.assert_array_equal(made.scales[:4], [0, np.inf, 1, 0])
    np.testing.assert_array_equal(
        made.codes,
        [[0] * 4, [0] * 4, [127, 0, 127, 127], [0] * 4, [64, -64, 127, 0], [127, -127, 0, 0]],
    )
    blocks = np.zeros(256, np.float32)
    blocks[64], blocks[128], blocks[192] = np.inf, np.nan, 2
    four = quantise_nf4(blocks)
    assert four.scales is not None
    np.testing.assert_array_equal(four.scales, [0, np.inf, 0, 2])
    codes = unpack_nibbles(four.codes, 256)
    assert codes[192] == 15
    assert (np.delete(codes, 192) == 7).all()


def test_rows_are_those_of_the_first_axis() -> None:
    for shape, rows in (((), 1), ((9,), 1), ((4, 5), 4), ((4, 5, 3, 3), 4), ((0, 5), 0), ((3, 0), 3)):
        made = quantise_int8(np.ones(shape, np.float32))
        assert made.scales is not None
        assert made.scales.shape == (rows,)
        assert made.codes.shape == shape
        assert dequantise_int8(made.codes, made.scales, np.float32).shape == shape


def test_intervals_hold_what_has_their_code() -> None:
    ratios = np.linspace(-1, 1, 20001).astype(np.float32)
    lower, upper = code_intervals(256)
    codes = quantise_int8(ratios).codes.view(np.uint8)
    assert ((lower[codes] <= ratios) & (ratios <= upper[codes])).all()
    lower, upper = code_intervals(16)
    codes = unpack_nibbles(quantise_nf4(np.append(ratios, 1)[-64:].astype(np.float32)).codes, 64)
    assert ((lower[codes] <= ratios[-64:]) & (ratios[-64:] <= upper[codes])).all()


def test_nibbles() -> None:
    for count in (0, 1, 2, 7):
        codes = np.arange(count, dtype=np.uint8)
        assert (unpack_nibbles(pack_nibbles(codes), count) == codes).all()
    assert pack_nibbles(np.array([1, 2, 3], np.uint8)).tolist() == [0x12, 0x30]


def test_what_is_refused() -> None:
    for dtype in (np.float64, np.int8, ml_dtypes.float8_e5m2):
        for quantise in (quantise_int8, quantise_int4, quantise_nf4):
            with pytest.raises(UnsupportedFormatError, match="quantised"):
                quantise(np.zeros(3, dtype))
    with pytest.raises(ValueError, match="rows"):
        dequantise_int8(np.zeros(5, np.int8), np.zeros(2, np.float32), np.float32)
    with pytest.raises(ValueError, match="codes"):
        dequantise_int4(np.zeros(5, np.uint8), np.zeros(1, np.float32), (11,), np.float32)
    with pytest.raises(ValueError, match="rows"):
        dequantise_int4(np.zeros(5, np.uint8), np.zeros(3, np.float32), (10,), np.float32)
    with pytest.raises(ValueError, match="scales"):
        dequantise_nf4(np.zeros(5, np.uint8), np.zeros(2, np.float32), (10,), np.float32)
