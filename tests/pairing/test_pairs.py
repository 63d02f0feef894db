"""Which tensors are pairs: our own checkpoints, those of bitsandbytes, and what only looks like one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from weightbench.models import LocalSource, Model, ZooSource, open_model, quantised
from weightbench.models.quantised import Precision
from weightbench.pairing import PairOf, pair_arrays, pair_tensors
from weightcodecs import get_codec
from weightcodecs.pair import PairCodec

RANDOM = np.random.default_rng(7)
Tensors = Mapping[str, NDArray[Any]]


def checkpoint(folder: Path, tensors: Tensors, *more: Tensors) -> Model:
    """Write a checkpoint, a file for each mapping, and open it."""
    folder.mkdir()
    shards = (tensors, *more)
    for number, shard in enumerate(shards, 1):
        save_file(dict(shard), folder / f"model-{number:05}-of-{len(shards):05}.safetensors")
    return open_model(LocalSource(str(folder)))


def floats(*shape: int, dtype: Any = ml_dtypes.bfloat16) -> NDArray[Any]:
    return RANDOM.standard_normal(shape).astype(dtype)


def codes(*shape: int, dtype: Any = np.int8) -> NDArray[Any]:
    return RANDOM.integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_pairs_of_our_quantiser_come_back(precision: Precision) -> None:
    high = open_model(ZooSource("llama"))
    low = quantised(high, precision)
    pairs = pair_tensors(high, low)
    assert len(pairs) == 28
    codec = get_codec("qstore")
    assert isinstance(codec, PairCodec)
    for pair in pairs[:3]:
        assert pair.scales is not None
        values, quants, scales = pair_arrays(high, low, pair)
        blob = codec.encode_pair(values, quants, scales=scales)
        assert len(memoryview(blob)) < 0.8 * (values.nbytes + quants.nbytes)
        back = codec.decode_pair(blob)
        assert back.high.tobytes() == values.tobytes()
        assert back.low.tobytes() == low.read(pair.low).tobytes()
        assert back.scales is not None
        assert back.scales.tobytes() == low.read(pair.scales).tobytes()


def test_checkpoints_of_llm_int8(tmp_path: Path) -> None:
    high = checkpoint(
        tmp_path / "high",
        {"h.0.dense_4h_to_h.weight": floats(6, 10), "lm_head.weight": floats(9, 6)},
        {"h.0.gate.weight": floats(4, 6), "h.0.norm.weight": floats(6)},
    )
    low = checkpoint(
        tmp_path / "low",
        {
            "h.0.dense_4h_to_h.weight": codes(6, 10),
            "h.0.gate.weight": codes(4, 6),
            "h.0.dense_4h_to_h.weight_format": np.zeros((), np.uint8),
            "lm_head.weight": floats(9, 6),
            "h.0.norm.weight": floats(6),
        },
        {
            "h.0.dense_4h_to_h.SCB": floats(6, dtype=np.float32),
            "h.0.gate.SCB": floats(1, 4, dtype=np.float32),
        },
    )
    assert set(pair_tensors(high, low)) == {
        PairOf("h.0.dense_4h_to_h.weight", "h.0.dense_4h_to_h.weight", "h.0.dense_4h_to_h.SCB"),
        PairOf("h.0.gate.weight", "h.0.gate.weight", "h.0.gate.SCB"),
    }
    assert pair_tensors(low, high) == ()


def test_checkpoints_of_bitsandbytes_nf4(tmp_path: Path) -> None:
    state = ".weight.quant_state.bitsandbytes__"
    high = checkpoint(tmp_path / "high", {f"{name}.weight": floats(5, 65) for name in "abcd"})
    low = checkpoint(
        tmp_path / "low",
        {f"{name}.weight": codes(163, 1, dtype=np.uint8) for name in "abc"}
        | {"d.weight": codes(162, 1, dtype=np.uint8)}
        | {f"{name}{state}nf4": codes(7, dtype=np.uint8) for name in "ab"}
        | {f"c{state}fp4": codes(7, dtype=np.uint8)}
        | {"a.weight.absmax": floats(6, dtype=np.float32), "a.weight.quant_map": floats(16, dtype=np.float32)}
        # scales that were quantised again
        | {
            "b.weight.absmax": codes(6, dtype=np.uint8),
            "b.weight.nested_absmax": floats(1, dtype=np.float32),
        },
    )
    assert pair_tensors(high, low) == (
        PairOf("a.weight", "a.weight", "a.weight.absmax"),
        PairOf("b.weight", "b.weight", None),
    )
    values, quants, scales = pair_arrays(high, low, PairOf("b.weight", "b.weight", None))
    assert (values.shape, quants.shape, scales) == ((5, 65), (163,), None)


def test_codes_without_scales_that_can_be_used(tmp_path: Path) -> None:
    names = ("none", "wide", "rows", "step")
    high = checkpoint(tmp_path / "high", {f"{name}.weight": floats(4, 6, dtype=np.float16) for name in names})
    low = checkpoint(
        tmp_path / "low",
        {f"{name}.weight": codes(4, 6) for name in names}
        | {
            "wide.SCB": floats(4, dtype=np.float64),
            "rows.SCB": floats(3, dtype=np.float32),
            "step.weight_scale": floats(4, dtype=np.float32),
        },
    )
    pairs = pair_tensors(high, low)
    assert [pair.scales for pair in pairs] == [None] * 4
    assert {pair.high for pair in pairs} == {f"{name}.weight" for name in names}


def test_other_shapes_formats_and_names_are_no_pairs(tmp_path: Path) -> None:
    high = checkpoint(
        tmp_path / "high",
        {
            "shape.weight": floats(4, 6),
            "wide.weight": floats(4, 6, dtype=np.float64),
            "same.weight": floats(4, 6),
            "empty.weight": floats(0, 6),
            "only.weight": floats(2, 2),
        },
    )
    low = checkpoint(
        tmp_path / "low",
        {
            "shape.weight": codes(6, 4),
            "wide.weight": codes(4, 6),
            "same.weight": floats(4, 6),
            "empty.weight": codes(0, 6),
        },
    )
    assert pair_tensors(high, low) == ()
