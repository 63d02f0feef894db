"""The arrays that the laws are tried on, for every number format, and what "came back" means."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightcodecs import FORMATS, Codec, FloatFormat, PairCodec, format_of
from weightcodecs.quantise import quantise_int8, quantise_nf4

Array = NDArray[Any]

ZOO = Path(__file__).parents[2] / "experiments/weightbench/zoo/llama/model.safetensors"
ODD_SIZES = (*range(71), 127, 255, 257, 4095, 4096, 4097, 8191, 8193)


def bits(values: Array) -> Array:
    """Return the bit patterns of an array, native byte order, flat."""
    flat = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")).reshape(-1)
    return flat.view(f"u{flat.itemsize}")


def from_bits(patterns: Array, format: FloatFormat) -> Array:
    """Return the array with these bit patterns."""
    return np.ascontiguousarray(patterns.astype(format.bits_dtype)).view(format.dtype)


def random_bits(format: FloatFormat, count: int, seed: int = 0) -> Array:
    """Return uniformly random bit patterns: every NaN payload, subnormal and infinity may appear."""
    raw = np.random.default_rng(seed).bytes(count * format.nbytes)
    return np.frombuffer(raw, format.bits_dtype).view(format.dtype)


def weights(format: FloatFormat, count: int, seed: int = 0) -> Array:
    """Return what weights look like: N(0, 0.02), or small whole numbers."""
    gaussian = np.random.default_rng(seed).standard_normal(count)
    if format.is_float:
        return (gaussian * 0.02).astype(format.dtype)
    return np.abs(gaussian * 20).astype(format.dtype)


def edge_patterns(format: FloatFormat) -> Array:
    """Return every sign and exponent with mantissas at the edges, or all patterns of 16 bits and fewer."""
    if format.bits <= 16:
        return np.arange(1 << format.bits, dtype=np.uint64)
    if not format.is_float:
        top = np.uint64((1 << format.bits) - 1)
        low = np.arange(300, dtype=np.uint64)
        return np.concatenate([low, top - low, (top >> np.uint64(1)) - low])
    m, e = format.mantissa_bits, format.exponent_bits
    ones = (1 << m) - 1
    mantissas = [0, 1, 2, 3, ones >> 1, (ones >> 1) + 1, (ones >> 1) + 2, ones - 2, ones - 1, ones]
    exponents = np.arange(1 << e, dtype=np.uint64) << np.uint64(m)
    positive = (exponents[:, None] | np.array(mantissas, np.uint64)).reshape(-1)
    return np.concatenate([positive, positive | np.uint64(1 << (format.bits - 1))])


def ties(format: FloatFormat) -> Array:
    """Return values at and beside the guards of Elf and the ties of narrower formats, both signs."""
    values = [1.0, 2.0, 0.5, 0.999, 0.9999999, 0.99999999999]
    for t in (1, 7, 8, 9, 10, 11, 16, 22, 23, 24, 25, 51, 52, 53, 54):
        unit = 2.0**-t
        values += [unit, 1 - unit, 1 - 3 * unit, 3 * unit, 5 * unit, 0.25 + unit, 1 + unit, 0.02 + unit]
    for narrow_unit in (2.0**-9, 2.0**-10, 2.0**-16, 2.0**-17, 2.0**-24, 2.0**-133, 2.0**-134, 2.0**-149):
        values += [1.5 * narrow_unit, 0.5 * narrow_unit, narrow_unit * (0.5 + 2.0**-30), narrow_unit * 2.5]
    with np.errstate(all="ignore"):
        exact = np.array(values + [-v for v in values]).astype(format.dtype)
    near = [bits(exact) + np.uint64(d) for d in (0, 1, np.uint64(2**64 - 1))]
    return from_bits(np.concatenate(near), format)


@cache
def zoo(format: FloatFormat) -> tuple[tuple[str, Array], ...]:
    """Return a few real tensors, cut short, cast to the format if they have another."""
    if not ZOO.exists() or not format.is_float:
        return ()
    from safetensors.numpy import load_file

    tensors = sorted(load_file(ZOO).items(), key=lambda item: item[0])
    picked = [(name, values) for name, values in tensors if values.dtype == np.float32][::9][:3]
    with np.errstate(all="ignore"):
        return tuple((f"zoo {name}", values[:40].astype(format.dtype)) for name, values in picked)


def tricky(format: FloatFormat) -> Iterator[tuple[str, Array]]:
    """Yield a few dozen named arrays of special content or layout."""
    yield "edge patterns", from_bits(edge_patterns(format), format)
    yield "random bits", random_bits(format, 5000)
    yield "weights", weights(format, 9000)
    zeros = np.zeros(5000, format.dtype)
    yield "zeros", zeros
    yield "all equal", from_bits(np.full(4097, bits(weights(format, 1, 5))[0]), format)
    yield "one NaN or top pattern each", from_bits(np.full(777, (1 << format.bits) - 1, np.uint64), format)
    if format.is_float:
        yield "ties and guards", ties(format)
        mixed = weights(format, 10_000, 2)
        mixed[::97] = random_bits(format, mixed[::97].size, 3)
        yield "some exceptions", mixed
        yield "negative zeros", from_bits(np.full(70, 1 << (format.bits - 1), np.uint64), format)
        yield "all exceptions", from_bits(np.full(4099, bits(np.ones(1, format.dtype))[0]), format)
    block = weights(format, 60 * 70, 7).reshape(60, 70)
    yield "transposed", block.T
    yield "strided", block[::2, 1::3]
    yield "backwards", block[::-1, ::-1]
    yield "three dimensions", block.reshape(6, 10, 70).transpose(2, 0, 1)
    yield "broadcast", np.broadcast_to(block[0], (9, 70))
    yield "many dimensions", block[:1, :2].reshape((1,) * 63 + (2,))
    yield "other byte order", block.astype(block.dtype.newbyteorder(">"))
    read_only = weights(format, 900)
    read_only.flags.writeable = False
    yield "read-only", read_only
    yield "unaligned", np.frombuffer(b"x" + block.tobytes(), np.uint8)[1:].view(format.dtype)
    yield "no rows", np.zeros((0, 5), format.dtype)
    yield "no columns", np.zeros((3, 0, 2), format.dtype)
    yield "0-d", np.array(weights(format, 1)[0])
    yield "0-d special", random_bits(format, 1, 9).reshape(())
    yield from zoo(format)


def cases(format: FloatFormat) -> Iterator[tuple[str, Array]]:
    """Yield the whole corpus of one format as (name, array)."""
    yield from tricky(format)
    every = from_bits(np.concatenate([bits(weights(format, 6000)), bits(random_bits(format, 4000))]), format)
    for size in ODD_SIZES:
        start = every.size // 2 - size // 2
        yield f"length {size}", every[start : start + size]


def base_of(values: Array) -> Array:
    """Return a base for a delta codec: the same array with about one low bit in eight turned."""
    patterns = bits(values)
    noise = np.random.default_rng(patterns.size).integers(0, 256, patterns.size) < 32
    native = values.dtype.newbyteorder("=")
    return (patterns ^ noise.astype(patterns.dtype)).view(native).reshape(values.shape)


def references(codec: Codec, values: Array) -> dict[str, Array]:
    """Return the keyword arguments with which `codec` codes `values`."""
    return {"reference": base_of(values)} if codec.needs_reference else {}


def small_pairs(codec: PairCodec) -> Iterator[tuple[str, Array, Array, Array | None]]:
    """Yield (what, high, low, scales): pairs of our quantisers, of others, without scales, odd and empty."""
    for name in ("bfloat16", "float16", "float32"):
        format = FORMATS[name]
        for quantise in (quantise_int8, quantise_nf4):
            if codec.unsupported_pair(format, format_of(quantise(np.zeros(2, format.dtype)).codes)):
                continue
            mixed = weights(format, 12 * 75, 2).reshape(12, 75)
            special = mixed.copy()
            special[::3, ::7] = random_bits(format, special[::3, ::7].size, 3).reshape(4, 11)
            special[1], special[4] = 0, np.inf
            special[7] = -special[1]  # negative zeros
            sparse = mixed.copy()
            sparse.reshape(-1)[np.arange(mixed.size) % 3 > 0] = 0
            shapes = [(), (1,), (7,), (0, 5), (3, 0), (1, 130), (130, 1), (2, 3, 11)]
            arrays = [("weights", mixed), ("special", special), ("sparse", sparse)]
            arrays += [(f"shape {s}", weights(format, int(np.prod(s)), 4).reshape(s)) for s in shapes]
            for what, high in arrays:
                with np.errstate(invalid="ignore"):
                    made = quantise(high)
                what = f"{name} {quantise.__name__} {what}"
                yield what, high, made.codes, made.scales
                if "shape" in what or made.scales is None:
                    continue
                yield f"{what}, no scales", high, made.codes, None
                low = np.random.default_rng(5).integers(0, 256, made.codes.size).astype(np.uint8)
                low = low.view(made.codes.dtype).reshape(made.codes.shape)
                yield f"{what}, random codes", high, low, made.scales
                odd = np.array([0, -1, np.nan, np.inf, 1e-45, 3e38, 1], np.float32)
                yield f"{what}, odd scales", high, made.codes, np.resize(odd, made.scales.shape)


def refused(codec: Codec, format: FloatFormat) -> bool:
    """Whether the codec says that it does not take the format."""
    return codec.unsupported(format) is not None


def assert_faithful(codec: Codec, format: FloatFormat, values: Array, decoded: Array, what: str) -> None:
    """Assert that an array came back as the codec promises: exactly, or within its bound."""
    assert decoded.dtype == format.dtype, what
    assert decoded.shape == values.shape, what
    bound = codec.error_bound(format)
    same = bits(values) == bits(decoded)
    if bound.lossless:
        assert same.all(), f"{what}: {np.flatnonzero(~same)[:5]} differ"
        return
    flat, back = bits(values)[~same].view(format.dtype), bits(decoded)[~same].view(format.dtype)
    # An 80-bit or wider type, so that the difference of two float64 is exact where it matters.
    wide, wide_back = (
        flat.astype(np.float64).astype(np.longdouble),
        back.astype(np.float64).astype(np.longdouble),
    )
    assert np.isfinite(wide).all(), f"{what}: a non-finite value changed"
    assert np.isfinite(wide_back).all(), f"{what}: a finite value became non-finite"
    with np.errstate(invalid="ignore"):  # signalling NaNs
        every = np.abs(bits(values).view(format.dtype).astype(np.float64))
    judged = bound.of(float(every[np.isfinite(every)].max(initial=0.0)))
    allowed = np.maximum(np.longdouble(judged.absolute), np.longdouble(judged.relative) * np.abs(wide))
    beyond = np.abs(wide_back - wide) > allowed
    assert not beyond.any(), f"{what}: {flat[beyond][:3]} came back as {back[beyond][:3]}, bound {bound}"
