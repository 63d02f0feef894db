"""Elf against the facts of the paper and the authors' release, and its kernels against plain NumPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from corpus import assert_faithful, bits, edge_patterns, from_bits, random_bits, ties, weights

import weightcodecs
from weightcodecs import FORMATS, ConfigError, UnsupportedFormatError, get_codec
from weightcodecs.kernels.bit_stream import pack_bits, pack_bits_reference, packed_bytes, unpack_bits
from weightcodecs.kernels.fixed_point import (
    BLOCK,
    decode_planes,
    decode_planes_reference,
    encode_planes,
    encode_planes_reference,
    outside_guard,
    plane_depth,
    rest_bytes,
)

FAST = get_codec("elf", entropy="none")
PAPER = get_codec("elf", variant="paper", entropy="none")
TYPES = ["float16", "float32", "float64"]
CODE_BITS = {"float16": 11, "float32": 24, "float64": 53}
BOUND = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
every_type = pytest.mark.parametrize("name", TYPES)
both_variants = pytest.mark.parametrize("codec", [FAST, PAPER], ids=["fast", "paper"])


def inside_values(name: str, count: int) -> np.ndarray:
    """Return values that neither variant lists as exceptions."""
    return np.random.default_rng(4).uniform(-0.99, 0.99, count).astype(name)


def round_trip(codec: weightcodecs.Codec, values: np.ndarray) -> np.ndarray:
    return codec.decode(codec.encode(values))


# -- sizes -------------------------------------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("blocks", [1, 63, 64, 65, 1000])
def test_fast_size_is_exact(name: str, blocks: int) -> None:
    """24/32, 11/16 and 53/64 of raw, to the byte, for multiples of 64."""
    values = inside_values(name, 64 * blocks)
    payload = weightcodecs.payload(FAST.encode(values))
    assert len(payload) * values.itemsize * 8 == values.nbytes * CODE_BITS[name]


@every_type
@pytest.mark.parametrize("count", [8, 15, 64, 777, 10_001])
def test_paper_size_is_exact(name: str, count: int) -> None:
    payload = weightcodecs.payload(PAPER.encode(inside_values(name, count)))
    assert len(payload) == -(-count * CODE_BITS[name] // 8)


@every_type
def test_paper_exceptions_cost_what_the_release_pays(name: str) -> None:
    """Bits a parameter: code·(1−p) + (value + 32)·p."""
    values = inside_values(name, 8000)
    values[::40] = 3.0
    payload = weightcodecs.payload(PAPER.encode(values))
    assert len(payload) == (7800 * CODE_BITS[name] + 7) // 8 + 200 * (4 + values.itemsize)


def test_entropy_stage_reaches_its_target() -> None:
    values = (np.random.default_rng(0).standard_normal(1 << 20) * 0.02).astype(np.float32)
    blob = get_codec("elf").encode(values)
    assert values.nbytes / len(blob) >= 1.60


# -- bounds ------------------------------------------------------------------------------------------------


@both_variants
def test_every_float16(codec: weightcodecs.Codec) -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    # Half of them are exceptions; with enough others beside them they are not simply kept raw.
    values = np.concatenate([values, *[values[np.abs(values) < 0.99]] * 9])
    blob = codec.encode(values)
    assert not weightcodecs.inspect(blob).raw
    decoded = codec.decode(blob)
    assert_faithful(codec, FORMATS["float16"], values, decoded, "all float16")
    finite = np.isfinite(values)
    error = np.abs(values[finite].astype(np.float64) - decoded[finite].astype(np.float64))
    assert error.max() == BOUND["float16"], "the bound is attained"


@both_variants
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_bound_is_kept_and_attained(codec: weightcodecs.Codec, name: str) -> None:
    format = FORMATS[name]
    values = np.concatenate([ties(format), weights(format, 500_000), inside_values(name, 500_000)])
    decoded = round_trip(codec, values)
    assert_faithful(codec, format, values, decoded, name)
    small = np.abs(values) < 2.0**-20  # here the difference of two float64 is exact
    error = np.abs(values[small].astype(np.float64) - decoded[small].astype(np.float64))
    assert codec.error_bound(format).absolute == BOUND[name]
    assert error.max() == BOUND[name]


@every_type
@both_variants
def test_second_pass_is_lossless(codec: weightcodecs.Codec, name: str) -> None:
    once = round_trip(codec, np.concatenate([weights(FORMATS[name], 5000), ties(FORMATS[name])]))
    again = round_trip(codec, once)
    same = bits(once) == bits(again)
    # The release's packing turns -0.0 into +0.0, its own flattened negatives included.
    assert (same | (once == 0)).all()
    if codec is FAST:
        assert same.all()


@every_type
@pytest.mark.parametrize("entropy", ["none", "zstd"])
def test_asking_for_a_bound(name: str, entropy: str) -> None:
    """A coarser bound is kept, and never takes more room."""
    format = FORMATS[name]
    values = np.concatenate([weights(format, 64 * 300), inside_values(name, 64 * 20), ties(format)])
    ordinary, sizes = weights(format, 64 * 500), []
    for exponent in np.arange(1.0, format.mantissa_bits + 1.01, 0.75):
        codec = get_codec("elf", entropy=entropy, error_bound_absolute=float(2.0**-exponent))
        assert codec.error_bound(format).absolute <= 2.0**-exponent
        assert codec.error_bound(format).absolute > 2.0 ** -(exponent + 1) or exponent <= 2
        blob = codec.encode(values)
        assert_faithful(codec, format, values, codec.decode(blob), f"2^-{exponent}")
        sizes.append(len(codec.encode(ordinary)))
    slack = 8 if entropy == "none" else 100
    assert all(after >= before - slack for before, after in pairwise(sizes)), sizes


def test_bounds_that_cannot_be_kept() -> None:
    codec = get_codec("elf", error_bound_absolute=1e-6)
    with pytest.raises(UnsupportedFormatError, match="finest bound is 2\\^-11"):
        codec.encode(np.zeros(3, np.float16))
    for wrong in (0.0, -1.0, 1.0, float("nan"), float("inf"), True, "small"):
        with pytest.raises(ConfigError, match="error_bound_absolute"):
            get_codec("elf", error_bound_absolute=wrong)
    for option in ({"entropy": "auto"}, {"error_bound_absolute": 0.01}, {"widen_bfloat16": True}):
        with pytest.raises(ConfigError, match="paper"):
            get_codec("elf", **{"variant": "paper", "entropy": "none", **option})


def test_float16_is_exact_in_float32() -> None:
    """Values of float16 at 2^-13 and above are multiples of 2^-23."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    values = values[np.abs(values) >= 2.0**-13]
    assert (bits(round_trip(FAST, values)) == bits(values)).all()


# -- special cases (papers, 1.A.4) --------------------------------------------------------------------------


@every_type
@both_variants
def test_special_cases(codec: weightcodecs.Codec, name: str) -> None:
    format = FORMATS[name]
    half = 2.0 ** -(format.mantissa_bits + 1)
    dtype = format.dtype
    tiny = float(np.finfo(dtype).smallest_subnormal)
    table = [0.0, tiny, half / 2, half, -tiny, -half / 2, -half]
    given = np.array([*table, 1.0, -1.0, 2.5, np.inf, -np.inf, 1 - half, -(1 - half), 0.5, -0.25], dtype)
    wanted = np.array([0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, *given[7:]], dtype)
    given, wanted = np.repeat(given, 1), np.repeat(wanted, 1)
    # Enough ordinary values beside them, or the raw fallback would hide what the transform does.
    filler = np.full(1000, 0.5, dtype)
    blob = codec.encode(np.concatenate([given, filler]))
    assert not weightcodecs.inspect(blob).raw
    decoded = codec.decode(blob)
    assert (bits(decoded[: given.size]) == bits(wanted)).all()
    assert (bits(decoded[given.size :]) == bits(filler)).all()


@every_type
def test_sign_of_zero(name: str) -> None:
    """The release loses the sign of -0.0; ours keeps it."""
    values = np.full(640, -0.0, name)
    assert np.signbit(round_trip(FAST, values)).all()
    paper = round_trip(PAPER, values)
    assert not np.signbit(paper).any()
    assert (paper == 0).all()


def exceptions(codec: weightcodecs.Codec, values: np.ndarray) -> int:
    """Return how many of `values` are kept apart, counted from the size of the payload."""
    filler = np.full(64 * 40 - values.size, 0.5, values.dtype)
    payload = len(weightcodecs.payload(codec.encode(np.concatenate([values, filler]))))
    width, item = CODE_BITS[values.dtype.name], values.itemsize
    for count in range(values.size + 1):
        listed = (4 + count * (2 + item)) if count else 0
        fast = 2560 * width // 8 + listed
        paper = ((2560 - count) * width + 7) // 8 + count * (4 + item)
        if payload == (paper if codec is PAPER else fast):
            return count
    raise AssertionError(payload)


@every_type
def test_guards(name: str) -> None:
    """Ours leaves out only what would round up to 1; the release's guards are a little stricter."""
    m = FORMATS[name].mantissa_bits
    excluded = np.array([1 - 2.0 ** -(m + 1), -(1 - 2.0 ** -(m + 1)), 1.0, np.nan, np.inf], name)
    assert exceptions(FAST, excluded) == 5
    assert exceptions(PAPER, excluded) == 5
    largest = np.array([1 - 2.0**-m, -(1 - 2.0**-m)], name)
    assert exceptions(FAST, largest) == 0
    assert exceptions(PAPER, largest) == 2
    if name == "float32":
        assert exceptions(PAPER, np.array([1 - 3 * 2.0**-24], name)) == 0
    if name == "float16":
        assert exceptions(PAPER, np.array([1 - 3 * 2.0**-11], name)) == 0
    assert (bits(round_trip(FAST, np.tile(largest, 50))) == bits(np.tile(largest, 50))).all()


def test_bfloat16() -> None:
    values = weights(FORMATS["bfloat16"], 5000)
    with pytest.raises(UnsupportedFormatError, match="widen_bfloat16=true"):
        FAST.encode(values)
    # At 24 bits a value, nothing is won without the entropy stage, and raw is kept.
    assert weightcodecs.inspect(get_codec("elf", entropy="none", widen_bfloat16=True).encode(values)).raw
    coarse = get_codec("elf", widen_bfloat16=True, error_bound_absolute=2.0**-11)
    blob = coarse.encode(values)
    assert len(blob) < values.nbytes * 0.7
    assert_faithful(coarse, FORMATS["bfloat16"], values, coarse.decode(blob), "bfloat16")


# -- the release's packing, written again from the paper -----------------------------------------------------


def release_encode(values: np.ndarray) -> bytes:
    """Encode as the release does, one value at a time: codes, then positions, then values."""
    name = values.dtype.name
    m = FORMATS[name].mantissa_bits
    guard = {"float16": np.float32(0.999), "float32": np.float32(0.9999999), "float64": 0.99999999999}[name]
    stream, positions, kept = "", [], []
    for position, w in enumerate(values):
        magnitude = abs(w)
        if not (np.float32(magnitude) if name == "float16" else magnitude) < guard:
            positions.append(position)
            kept.append(w)
            continue
        y = values.dtype.type(magnitude + values.dtype.type(1))
        mantissa = int(y.view(f"u{values.itemsize}")) & ((1 << m) - 1)
        stream += f"{(mantissa << 1) | (1 if w < 0 else 0):0{m + 1}b}"
    stream += "0" * (-len(stream) % 8)
    codes = bytes(int(stream[i : i + 8], 2) for i in range(0, len(stream), 8))
    return codes + np.array(positions, "<i4").tobytes() + np.array(kept, values.dtype).tobytes()


@every_type
@pytest.mark.parametrize("count", [40, 63, 64, 65, 700])
def test_paper_bytes(name: str, count: int) -> None:
    values = inside_values(name, count)
    values[::9] = weights(FORMATS[name], values[::9].size)
    values[3], values[11], values[17] = -0.0, np.inf, 1.5
    if count > 100:
        edges = ties(FORMATS[name])
        edges = edges[np.abs(edges) < 1][:400]
        values[20 : 20 + edges.size] = edges
        values[-2:] = 1 - 2.0**-23, 1 - 2.0**-22
    assert bytes(weightcodecs.payload(PAPER.encode(values))) == release_encode(values)


# -- kernels against their references ----------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("fraction", [1, 2, 6, 7, 8, 10, 14, 15, 16, 22, 23, 31, 40, 47, 51, 52])
@pytest.mark.parametrize("short", [False, True], ids=["", "short codes in bytes"])
def test_planes_kernels(name: str, fraction: int, short: bool) -> None:
    format = FORMATS[name]
    if fraction > format.mantissa_bits or (short and fraction > 7):
        pytest.skip("more bits than the format or a byte has")
    guard = 1 - 2.0 ** -(fraction + 1)
    width = 1 if short else (fraction + 1) // 8
    depth = plane_depth(fraction, width)
    pool = np.concatenate(
        [from_bits(edge_patterns(format)[:3000], format), ties(format), weights(format, 9000)]
    )
    pool = np.concatenate([pool, random_bits(format, 2000)])
    for count in (1, 7, 63, 64, 65, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 130):
        values = pool[-count:]
        planes = np.full((width, count + 5), 0xAA, np.uint8)
        rest = np.full(rest_bytes(count, depth) // 8, 0xAAAA, np.uint64).view(np.uint8)
        outside = encode_planes(values, fraction, guard, planes, rest, 2)
        wanted, wanted_rest, wanted_outside = encode_planes_reference(values, fraction, guard, width)
        assert outside == wanted_outside
        assert (planes[:, 2 : 2 + count] == wanted).all()
        assert (planes[:, :2] == 0xAA).all()
        assert (planes[:, 2 + count :] == 0xAA).all()
        assert (rest == wanted_rest).all()
        with np.errstate(invalid="ignore"):
            inside = np.abs(values.astype(np.float64)) < guard
        assert (outside_guard(values, guard, outside) == np.flatnonzero(~inside)).all()
        decoded = np.full(count, 7, format.dtype)
        decode_planes(planes, rest, fraction, decoded, 2)
        plain = decode_planes_reference(wanted, wanted_rest, fraction, count, format.dtype)
        assert (bits(decoded) == bits(plain)).all()


@every_type
@pytest.mark.parametrize("fraction", [1, 7, 9, 10, 19, 23, 36, 52])
def test_planes_of_any_content(name: str, fraction: int) -> None:
    """Any bytes are planes: both decoders agree on what they mean, even where no encoder writes them."""
    if fraction > FORMATS[name].mantissa_bits:
        pytest.skip("more bits than the format has")
    depth, width = (fraction + 1) % 8, (fraction + 1) // 8
    rng = np.random.default_rng(fraction)
    for count in (1, 64, 100, BLOCK + 77):
        planes = rng.integers(0, 256, (width, count), np.uint8)
        rest = rng.integers(0, 1 << 63, rest_bytes(count, depth) // 8, np.uint64).view(np.uint8)
        decoded = np.empty(count, name)
        decode_planes(planes, rest, fraction, decoded)
        wanted = decode_planes_reference(planes, rest, fraction, count, name)
        assert (bits(decoded) == bits(wanted)).all()
        assert (np.abs(decoded) < 1).all()


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 11, 24, 53, 56])
def test_bit_stream_kernels(width: int) -> None:
    rng = np.random.default_rng(width)
    for count in (0, 1, 2, 7, 8, 9, 100):
        codes = rng.integers(0, 1 << width, count, np.uint64)
        data = np.full(packed_bytes(count, width), 0xAA, np.uint8)
        pack_bits(codes, width, data)
        assert data.tobytes() == pack_bits_reference(codes, width)
        back = np.empty(count, np.uint64)
        unpack_bits(data, width, back)
        assert (back == codes).all()


@pytest.mark.parametrize("entropy", ["none", "auto", "zstd"])
def test_many_exceptions(entropy: str) -> None:
    """More of them than the buffer has room for at first, and still smaller than raw."""
    values = np.full(10_000, 0.25, np.float32)
    values[::16] = 2.0
    codec = get_codec("elf", entropy=entropy)
    blob = codec.encode(values)
    assert not weightcodecs.inspect(blob).raw
    assert (codec.decode(blob) == values).all()
