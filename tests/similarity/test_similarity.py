"""Similar chunks are found where there are any, and noise is not taken for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from weightbench.models import Model
from weightbench.similarity import analyse_similarity, decode_delta, encode_delta
from weightcodecs import ConfigError, CorruptBlobError
from weightcodecs.kernels.super_features import super_features, super_features_reference

Array = NDArray[Any]


def weights(count: int, seed: int) -> Array:
    return (np.random.default_rng(seed).standard_normal(count) * 0.02).astype(np.float32)


def model_of(mapped: Any, folder: Path, **tensors: Array) -> Model:
    folder.mkdir(exist_ok=True)
    made: Model = mapped(folder, {"weights.bin": list(tensors.items())})
    return made


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_super_features_are_the_plain_ones(width: int) -> None:
    data = np.frombuffer(np.random.default_rng(width).bytes(960), np.uint8)
    ends = np.array([width, 80, 400, 960])
    found = super_features(data, ends, width)
    assert found.dtype == np.uint64
    assert (found == super_features_reference(data, ends, width)).all()


@pytest.mark.parametrize("ends", [[], [8, 8, 16], [6, 16], [8], [8, 24], [-8, 16]])
def test_super_features_refuse_what_does_not_fit(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="super_features"):
        super_features(np.zeros(16, np.uint8), np.array(ends, np.int64), 8)


def test_edited_chunks_are_found(mapped: Any, tmp_path: Path) -> None:
    before = weights(40_000, 0)
    after = before.copy()
    after[500::2000] *= 2  # one value of each chunk of 2000
    first, second = model_of(mapped, tmp_path / "a", w=before), model_of(mapped, tmp_path / "b", w=after)
    report = analyse_similarity([first, second], 8000)
    assert (report.chunks, report.duplicates) == (40, 0)
    assert report.similar > 16  # of 20; twelve features, each of which one edit of 2000 values may take away
    assert report.similar == report.candidates
    assert report.delta_bytes < 0.05 * report.similar_alone_bytes
    assert report.ratio > 1.6 * report.ratio_without
    assert report.raw_bytes == first.nbytes + second.nbytes - 2 * 21 - 2 * 3 or report.raw_bytes == 320_000
    assert report.entries == 40


def test_shifted_chunks_are_found(mapped: Any, tmp_path: Path) -> None:
    """Content-defined cuts move along; a delta of matches bridges an insertion."""
    before = weights(60_000, 1)
    after = np.insert(before, [7_001, 20_002, 41_003], np.float32(3.0))
    models = [model_of(mapped, tmp_path / "a", w=before), model_of(mapped, tmp_path / "b", w=after)]
    report = analyse_similarity(models, 8192, chunking="content")
    assert report.duplicates > 10  # chunks without an insertion are equal
    assert report.similar >= 1
    assert report.delta_bytes < 0.1 * report.similar_alone_bytes
    fixed = analyse_similarity(models, 8192)
    assert fixed.duplicates < report.duplicates


def test_noise_is_not_similar(mapped: Any, tmp_path: Path) -> None:
    """Neither unrelated weights nor those of which every one has changed a little."""
    before = weights(60_000, 2)
    tuned = before * np.float32(1.0001)
    tensors = {"w": before, "x": weights(60_000, 3), "y": tuned, "z": before.astype(ml_dtypes.bfloat16)}
    report = analyse_similarity([model_of(mapped, tmp_path / "a", **tensors)], 4096)
    assert (report.duplicates, report.candidates, report.similar) == (0, 0, 0)
    assert report.ratio == report.ratio_without > 1.1
    assert report.metadata_bytes == report.entries * (64 + 48)


def test_equal_chunks_are_duplicates_and_no_deltas(mapped: Any, tmp_path: Path) -> None:
    values = weights(8_192, 4)
    models = [model_of(mapped, tmp_path / str(i), w=values) for i in range(3)]
    report = analyse_similarity(models, 4096)
    assert (report.chunks, report.duplicates, report.similar) == (24, 16, 0)
    assert report.duplicate_bytes == 2 * values.nbytes
    assert report.ratio > 3


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "int64", "uint16"])
def test_deltas_come_back(dtype: str) -> None:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    base = (weights(3000, 5).astype(np.float64) * 500).astype(kind)
    edited = base.copy()
    edited[::97] = edited[::97][::-1]
    moved, rng = np.concatenate([base[11:], base[:7]]), np.random.default_rng(6)
    noise = np.frombuffer(rng.bytes(base.nbytes), base.dtype)
    for values in (base, edited, moved, noise, base[:1000], np.concatenate([base, base]), base[:1]):
        delta = encode_delta(values, base)
        back = decode_delta(delta, base, values.size)
        assert back.dtype == values.dtype
        assert (back.view(np.uint8) == np.ascontiguousarray(values).view(np.uint8)).all()
    letters = {encode_delta(values, base)[:1] for values in (edited, moved)}
    assert b"z" in letters


def test_damaged_deltas_are_refused() -> None:
    base = weights(1000, 7)
    for values in (base * np.float32(1.001), np.concatenate([base[3:], base[:3]])):
        delta = encode_delta(values, base)
        for wrong in (b"", b"q" + delta[1:], delta[:-1], delta[:1], delta + b"1" * 40):
            with pytest.raises(CorruptBlobError):
                decode_delta(wrong, base, values.size)
        if delta[:1] == b"z":
            with pytest.raises(CorruptBlobError):
                decode_delta(delta, base, values.size + 1)


def test_settings_that_do_not_fit(mapped: Any, tmp_path: Path) -> None:
    models = [model_of(mapped, tmp_path, w=weights(10, 0))]
    for codec in ("elf", "bitx", "int8"):
        with pytest.raises(ConfigError, match="lossless"):
            analyse_similarity(models, 4096, alone=codec)
    with pytest.raises(ConfigError, match="chunk_bytes"):
        analyse_similarity(models, 3)
