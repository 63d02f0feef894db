"""FM-Delta: the official stream byte for byte, and the fast variant never larger."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from corpus import ZOO, base_of, bits, from_bits, random_bits, weights
from numpy.typing import NDArray

import weightcodecs
from weightcodecs import FORMATS, ConfigError, get_codec
from weightcodecs.kernels.delta_tokens import (
    PIECE,
    changes_of,
    ordered_reference,
    patterns_of,
    token_lengths,
    tokens_of,
)
from weightcodecs.kernels.range_coder import encode_fm_delta

Array = NDArray[Any]
CASES = json.loads((Path(__file__).parents[1] / "vectors/fm_delta.json").read_text())["cases"]
PAPER, FAST = get_codec("fm_delta", variant="paper"), get_codec("fm_delta")
WIDE = [FORMATS[name] for name in ("float16", "bfloat16", "float32", "float64")]
every_format = pytest.mark.parametrize("format", WIDE, ids=lambda format: format.name)


def pair(case: dict[str, Any]) -> tuple[Array, Array]:
    """Return base and fine-tuned array by the vectors' recipe."""
    count, special = case["n"], "case" in case
    rng = np.random.Generator(np.random.PCG64(case["seed"]))
    base = rng.standard_normal(count) * (0.02 if special else case["sigma_w"])
    delta = rng.standard_normal(count) * (1e-3 if special else case["sigma_delta"])
    if special:
        delta[rng.random(count) < 0.5] = 0
    fine = base + delta
    if case["dtype"] == "bfloat16":
        base, fine = base.astype(np.float32), fine.astype(np.float32)
    dtype = np.dtype(getattr(ml_dtypes, case["dtype"], case["dtype"]))
    base, fine = base.astype(dtype), fine.astype(dtype)
    if special:
        fine[10:14] = [np.nan, np.inf, -np.inf, -0.0]
        base[14:16] = [np.nan, np.inf]
    return base, fine


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['dtype']}-{case.get('sigma_delta', 'half')}")
def test_vectors(case: dict[str, Any]) -> None:
    base, fine = pair(case)
    assert hashlib.sha256(fine.tobytes()).hexdigest() == case["fine_sha256"]
    blob = PAPER.encode(fine, reference=base)
    stream = bytes(weightcodecs.payload(blob))
    assert (len(stream), hashlib.sha256(stream).hexdigest()) == (case["size"], case["sha256"])
    assert (bits(PAPER.decode(blob, reference=base)) == bits(fine)).all()
    ours = FAST.encode(fine, reference=base)
    assert len(ours) <= case["size"], "everything counted"
    assert (bits(FAST.decode(ours, reference=base)) == bits(fine)).all()


@pytest.mark.parametrize("tuned", ["llama_kjv_1e-4", "llama_kjv_1e-6", "llama_jargon_3e-5"])
def test_fast_is_not_larger_on_the_zoo(tuned: str) -> None:
    from safetensors.numpy import load_file

    base, fine = load_file(ZOO), load_file(ZOO.parents[1] / tuned / "model.safetensors")
    names = sorted(base)[::4]
    ours, theirs = (
        sum(len(codec.encode(fine[name], reference=base[name])) for name in names) for codec in (FAST, PAPER)
    )
    assert ours <= 0.99 * theirs


def test_four_dimensions_reset_the_model() -> None:
    """The official program starts its model anew for every output channel, and so does the paper variant."""
    fine = weights(FORMATS["float32"], 8 * 4 * 3 * 3).reshape(8, 4, 3, 3)
    base = base_of(fine)
    flat = PAPER.encode(fine.reshape(-1), reference=base.reshape(-1))
    blob = PAPER.encode(fine, reference=base)
    expected = encode_fm_delta(base, fine, 0, (3, 3, 4, 8))
    assert bytes(weightcodecs.payload(blob)) == expected
    assert bytes(weightcodecs.payload(flat)) != expected
    assert (bits(PAPER.decode(blob, reference=base)) == bits(fine)).all()


def test_header_has_the_shape_reversed() -> None:
    fine = weights(FORMATS["float32"], 600)
    base = base_of(fine)
    for shape, dims in (
        ((600,), (600, 1, 1, 1)),
        ((20, 30), (30, 20, 1, 1)),
        ((2, 10, 30), (30, 10, 2, 1)),
        ((2, 3, 4, 5, 5), (600, 1, 1, 1)),
    ):
        blob = PAPER.encode(fine.reshape(shape), reference=base.reshape(shape))
        assert bytes(weightcodecs.payload(blob)) == encode_fm_delta(base, fine, 0, dims)


@every_format
def test_unrelated_arrays_are_stored_raw(format: weightcodecs.FloatFormat) -> None:
    fine, base = random_bits(format, 40_000, 1), random_bits(format, 40_000, 2)
    assert weightcodecs.inspect(PAPER.encode(fine, reference=base)).raw
    for codec in (PAPER, FAST):
        blob = codec.encode(fine, reference=base)
        assert (bits(codec.decode(blob, reference=base)) == bits(fine)).all()


@every_format
def test_equal_arrays_cost_next_to_nothing(format: weightcodecs.FloatFormat) -> None:
    fine = weights(format, 1_000_000)
    assert len(FAST.encode(fine, reference=fine)) < 1000


@every_format
@pytest.mark.parametrize("count", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5])
def test_edges_of_pieces(format: weightcodecs.FloatFormat, count: int) -> None:
    base = weights(format, count)
    fine = (base.astype(np.float64) * 1.01 + 1e-4).astype(format.dtype)
    fine[:: PIECE // 8] = random_bits(format, fine[:: PIECE // 8].size)
    for contexts in (1, 3, 8, 16):
        codec = get_codec("fm_delta", contexts=contexts)
        one, two = (bytes(codec.encode(fine, reference=base, threads=threads)) for threads in (1, 2))
        assert one == two
        assert (bits(codec.decode(one, reference=base, threads=2)) == bits(fine)).all()


def test_a_noisy_piece_is_raw_alone() -> None:
    format = FORMATS["float32"]
    base = weights(format, 3 * PIECE)
    fine = base.copy()
    fine[PIECE : 2 * PIECE] = random_bits(format, PIECE)
    blob = FAST.encode(fine, reference=base)
    assert len(blob) < 4 * PIECE + 2000
    assert (bits(FAST.decode(blob, reference=base)) == bits(fine)).all()


@every_format
def test_tokens_match_their_definition(format: weightcodecs.FloatFormat) -> None:
    word = format.bits_dtype.type
    top = {2: 1, 4: 2, 8: 1}[format.nbytes]
    half = 1 << (format.bits - 1)
    edges = np.array([0, 1, 2, 3, half - 1, half, 2 * half - 1], np.uint64).astype(format.bits_dtype)
    base = np.concatenate([bits(random_bits(format, 500, 1)), np.repeat(edges, edges.size)])
    fine = np.concatenate([bits(random_bits(format, 500, 2)), np.tile(edges, edges.size)])
    index = np.full(base.size, 0x300, np.uint16)
    raw, back, change = np.empty_like(base), np.empty_like(base), np.empty_like(base)
    base.flags.writeable = fine.flags.writeable = False
    tokens_of(base, fine, word(top), index, raw)
    lengths = np.empty(256, np.int64)
    assert token_lengths(top, format.bits, lengths) > (index & 0xFF).max()
    pairs = zip(ordered_reference(base).tolist(), ordered_reference(fine).tolist(), strict=True)
    for i, (expected, actual) in enumerate(pairs):
        a = abs(actual - expected)
        s = max(a.bit_length() - 1 - top, 0)
        token = 2 * ((s << top) + (a >> s)) + (actual < expected)
        assert (index[i], lengths[token], raw[i]) == (0x300 + token, s, a & ((1 << s) - 1))
    entry = np.uint32 if format.bits == 16 else np.uint64
    entries = ((index & 0xFF).astype(np.uint64) << np.uint64(16)).astype(entry)
    changes_of(entries, raw.astype(entry), entry(top), change)
    assert (change == ordered_reference(fine) - ordered_reference(base)).all()
    patterns_of(base, change, back)
    assert (back == fine).all()


def test_order_of_the_map() -> None:
    format = FORMATS["bfloat16"]
    every = from_bits(np.arange(1 << 16, dtype=np.uint64), format)
    finite = every[np.isfinite(every.astype(np.float32))].astype(np.float64)
    ordered = ordered_reference(bits(every[np.isfinite(every.astype(np.float32))]))
    assert (np.diff(finite[np.argsort(ordered)]) >= 0).all()
    assert np.unique(ordered_reference(bits(every))).size == 1 << 16


def test_configuration() -> None:
    for wrong in ({"contexts": 0}, {"contexts": 17}, {"variant": "paper", "contexts": 4}):
        with pytest.raises(ConfigError):
            get_codec("fm_delta", **wrong)
