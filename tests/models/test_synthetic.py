"""Generated models: sizes, determinism, laziness, distributions."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from weightbench.models import Model, ModelError, SyntheticSource, UnknownModelError, open_model
from weightbench.models.llama_shapes import LLAMA, count, llama_tensors

Reassemble = Callable[[Model], dict[str, bytes]]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama2_7b", 6_738_415_616),
        ("llama3_1b", 1_235_814_400),
        ("llama3_3b", 3_212_749_824),
        ("llama3_8b", 8_030_261_248),
        ("llama3_70b", 70_553_706_496),
        ("smollm2_135m", 134_515_008),
        ("tinyllama", 1_100_048_384),
    ],
)
def test_shapes_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert count(llama_tensors(name)) == parameters


@pytest.mark.parametrize("name", LLAMA)
@pytest.mark.parametrize("limit", [3 * 10**6, 10**7, 10**8, 10**9, 10**11])
def test_any_size(name: str, limit: int) -> None:
    shapes = llama_tensors(name, limit)
    assert 0.4 * limit < count(shapes) <= limit
    rows = {shape[-1] for label, shape in shapes if "proj" in label}
    assert rows == {shape[-1] for label, shape in llama_tensors(name) if "proj" in label}


def test_too_small_is_refused() -> None:
    with pytest.raises(ModelError, match="too few"):
        llama_tensors("llama3_8b", 1000)
    with pytest.raises(ModelError, match="too few"):
        llama_tensors("llama3_8b", 20_000)


def test_is_the_safetensors_file_it_would_be(reassemble: Reassemble) -> None:
    shapes = [(300, 70), (5,), (0, 3), (), (2, 3, 4)]
    model = open_model(SyntheticSource(shapes=shapes, dtype="float32"))
    (content,) = reassemble(model).values()
    loaded = load(content)
    assert set(loaded) == set(model.tensors)
    for name, array in loaded.items():
        np.testing.assert_array_equal(model.read(name), array)


def test_any_part_alone_equals_the_whole() -> None:
    source = SyntheticSource(shapes=[(1100, 1003)], dtype="bfloat16", distribution="row_varying")
    model = open_model(source)
    whole = model.read("tensor.0").reshape(-1)
    edge = 1 << 20
    for start, stop in [(0, 1), (edge - 1, edge + 1), (edge, edge + 3), (1100 * 1003 - 5, 1100 * 1003)]:
        assert model.elements("tensor.0", start, stop).tobytes() == whole[start:stop].tobytes()
    offset = model.tensors["tensor.0"].offset + 2 * edge - 1  # odd: in the middle of a value
    assert model.read_range("model.safetensors", offset, 4) == whole.tobytes()[2 * edge - 1 : 2 * edge + 3]


def test_seeded_by_name() -> None:
    a, b = (open_model(SyntheticSource(shapes=[(64, 64)] * n)) for n in (1, 2))
    assert a.read("tensor.0").tobytes() == b.read("tensor.0").tobytes()
    assert b.read("tensor.0").tobytes() != b.read("tensor.1").tobytes()
    other = open_model(SyntheticSource(shapes=[(64, 64)], seed=1))
    assert a.read("tensor.0").tobytes() != other.read("tensor.0").tobytes()
    revisions = {a.revision(), b.revision(), other.revision()}
    assert len(revisions) == 3
    assert open_model(SyntheticSource(shapes=[[64, 64]], name="again")).revision() == a.revision()


def test_twenty_gigabytes_read_tensor_by_tensor() -> None:
    tracemalloc.start()
    try:
        model = open_model(SyntheticSource(shapes="llama3_8b", nbytes=20 * 10**9))
        assert 19e9 < model.nbytes <= 20e9 + 100_000
        array = model.read("model.layers.30.self_attn.k_proj.weight")
        assert array.shape == (1024, 4096)
        bytes(model.read_range("model.safetensors", model.nbytes - 100, 100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes + 40 * 2**20


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
)
def test_gaussian(dtype: str) -> None:
    model = open_model(SyntheticSource(shapes=[(256, 1024)], dtype=dtype, std=0.5))
    values = model.read("tensor.0").astype(np.float64)
    assert model.read("tensor.0").dtype.name == dtype
    assert abs(values.mean()) < 0.005
    assert abs(values.std() - 0.5) < 0.005


def test_student_t_has_heavy_tails_and_the_same_spread() -> None:
    model = open_model(
        SyntheticSource(shapes=[(512, 1024)], dtype="float64", distribution="student_t", std=0.02)
    )
    values = model.read("tensor.0") / 0.02
    assert abs(values.std() - 1) < 0.02
    assert (np.abs(values) > 5).mean() > 1e-4  # a Gaussian has 6e-7


def test_student_t_without_variance_saturates() -> None:
    model = open_model(
        SyntheticSource(shapes=[(512, 512)], dtype="float8_e4m3fn", distribution="student_t", df=0.2, std=1)
    )
    values = model.read("tensor.0").astype(np.float32)
    assert np.isfinite(values).all()
    assert np.abs(values).max() == 448


def test_rows_vary() -> None:
    model = open_model(SyntheticSource(shapes=[(2000, 600)], dtype="float32", distribution="row_varying"))
    rows = np.log(model.read("tensor.0").std(axis=1) / 0.02)
    assert abs(rows.std() - 0.35) < 0.02
    assert abs(rows.mean()) < 0.03


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (SyntheticSource(shapes="llama3_8"), "did you mean 'llama3_8b'"),
        (SyntheticSource(distribution="gausian"), "did you mean 'gaussian'"),
        (SyntheticSource(dtype="bfloat"), "did you mean 'bfloat16'"),
    ],
)
def test_unknown_names(source: SyntheticSource, why: str) -> None:
    with pytest.raises(UnknownModelError, match=why):
        open_model(source)


@pytest.mark.parametrize(
    "source",
    [
        SyntheticSource(std=0),
        SyntheticSource(std=math.inf),
        SyntheticSource(df=-1),
        SyntheticSource(seed=-1),
        SyntheticSource(nbytes=10**9, parameters=10**9),
        SyntheticSource(shapes=[(2, 2)], nbytes=8),
        SyntheticSource(shapes=[(-2, 2)]),
        SyntheticSource(shapes=[(2**40, 2**40)]),
    ],
)
def test_senseless_parameters(source: SyntheticSource) -> None:
    with pytest.raises(ModelError, match="synthetic:"):
        open_model(source)


def test_evaluates_to_nothing(tmp_path: Path) -> None:
    model = open_model(SyntheticSource(shapes=[(2, 2)]))
    assert model.directory is None
    assert "generated" in model.note
    assert model.family == "synthetic"
