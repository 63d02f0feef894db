from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from weightbench.granularity import KINDS, Granularity, assemble, layer_of, units
from weightbench.granularity.source import TensorSource
from weightbench.models import SyntheticSource, cast, open_model
from weightbench.models.mapped import MappedModel, WeightFile, map_file
from weightbench.models.model import Origin, TensorInfo
from weightcodecs.errors import ConfigError, UnknownNameError

GRANULARITIES = [
    *(Granularity(kind) for kind in KINDS),
    *(Granularity("chunk", size, how) for size, how in product((256, 1000), ("fixed", "content"))),
]


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
def test_units_give_back_every_bit(model, granularity):
    found = list(units(model, granularity))
    assert len({unit.key for unit in found}) == len(found)
    assert [u.key for u in units(model, granularity)] == [u.key for u in found]
    covered = dict.fromkeys(model.tensors, 0)
    for unit in found:
        assert unit.count == sum(piece.count for piece in unit.pieces)
        assert all(piece.count for piece in unit.pieces)
        assert {model.tensors[piece.tensor].format for piece in unit.pieces} == {unit.format}
        values = unit.values()
        assert values.shape == unit.shape
        assert values.nbytes == unit.nbytes
        assert not values.flags.writeable
        assert unit.restore(unit.array()).tobytes() == values.tobytes()
        for piece in unit.pieces:
            covered[piece.tensor] += piece.count
    assert covered == {name: prod(info.shape) for name, info in model.tensors.items()}
    parts = ((unit, unit.restore(unit.array())) for unit in found)
    tensors = dict(assemble(model.tensors, parts))
    assert tensors.keys() == model.tensors.keys()
    for name, values in tensors.items():
        assert same(values, model.read(name))


def one_format(tmp_path: Path) -> tuple[MappedModel, np.ndarray]:
    data = np.arange(3000, dtype=np.float32)
    (tmp_path / "w").write_bytes(bytes(64) + data.tobytes())
    infos = [
        TensorInfo("layers.0.a", "float32", (10, 100), 4000, 64),
        TensorInfo("layers.0.b", "float32", (1000,), 4000, 4064),
        TensorInfo("layers.1.a", "float32", (1000,), 4000, 8064),
    ]
    file = map_file(tmp_path / "w")
    return MappedModel(Origin("m"), [WeightFile(file, infos)]), np.frombuffer(file.data, np.uint8)


@pytest.mark.parametrize("granularity", [g for g in GRANULARITIES if g.kind != "parameter"], ids=str)
def test_units_are_views_of_the_map(tmp_path, granularity):
    model, memory = one_format(tmp_path)
    found = list(units(model, granularity))
    for unit in found:
        assert np.shares_memory(unit.array(), memory)
    if granularity.kind in ("model", "layer", "tensor"):
        assert len(found) == {"model": 1, "layer": 2, "tensor": 3}[granularity.kind]


def test_tensors_apart_are_copied_and_unaligned_ones_too(tmp_path):
    (tmp_path / "w").write_bytes(bytes(range(200)))
    near = TensorInfo("a", "float32", (4,), 16, 8)
    far = TensorInfo("b", "float32", (4,), 16, 32)
    odd = TensorInfo("c", "float32", (4,), 16, 61)
    file = map_file(tmp_path / "w")
    model = MappedModel(Origin("m"), [WeightFile(file, [near, far, odd])])
    memory = np.frombuffer(file.data, np.uint8)
    (whole,) = units(model, Granularity("model"))
    assert not np.shares_memory(whole.array(), memory)
    views = [np.shares_memory(unit.array(), memory) for unit in units(model, Granularity("tensor"))]
    assert views == [True, True, False]
    expected = bytes(range(8, 24)) + bytes(range(32, 48)) + bytes(range(61, 77))
    assert whole.array().tobytes() == expected


def test_units_are_made_when_they_are_reached(model, monkeypatch):
    read = []
    original = TensorSource.read
    monkeypatch.setattr(TensorSource, "read", lambda s, f, p: read.append(p) or original(s, f, p))
    for granularity in GRANULARITIES:
        if granularity.chunking == "fixed":
            list(units(model, granularity))
    assert not read
    next(units(model, Granularity("chunk", 256, "content")))
    assert len(read) == 1


def test_computed_models_give_the_same_units():
    source = SyntheticSource(shapes=[[64, 32], [100], [7, 11]], dtype="float32")
    model = cast(open_model(source), "bfloat16")
    for granularity in GRANULARITIES:
        tensors = dict(
            assemble(model.tensors, ((u, u.restore(u.array())) for u in units(model, granularity)))
        )
        assert all(same(values, model.read(name)) for name, values in tensors.items())


def test_chunk_sizes(tmp_path):
    values = np.random.default_rng(0).standard_normal(100_001).astype(np.float32)
    (tmp_path / "w").write_bytes(values.tobytes())
    info = TensorInfo("w", "float32", (100_001,), values.nbytes, 0)
    model = MappedModel(Origin("m"), [WeightFile(map_file(tmp_path / "w"), [info])])
    fixed = [unit.nbytes for unit in units(model, Granularity("chunk", 4096))]
    assert fixed[:-1] == [4096] * (len(fixed) - 1)
    content = [unit.nbytes for unit in units(model, Granularity("chunk", 4096, "content"))]
    assert all(1024 <= size <= 16384 for size in content[:-1])
    assert 3000 < np.mean(content) < 7000


def test_content_defined_chunks_survive_an_insertion(tmp_path):
    values = np.random.default_rng(1).standard_normal(50_000).astype(np.float32)

    def chunks(array, name):
        (tmp_path / name).write_bytes(array.tobytes())
        info = TensorInfo("w", "float32", array.shape, array.nbytes, 0)
        model = MappedModel(Origin("m"), [WeightFile(map_file(tmp_path / name), [info])])
        return {unit.array().tobytes() for unit in units(model, Granularity("chunk", 2048, "content"))}

    before, after = chunks(values, "a"), chunks(np.insert(values, 7, 0.5), "b")
    assert len(before & after) > 0.9 * len(before)


def test_layers():
    assert layer_of("transformer.h.11.attn.c_attn.weight") == "transformer.h.11"
    assert layer_of("encoder.block.3.layer.0.SelfAttention.q.weight") == "encoder.block.3"
    assert layer_of("blk.3.attn_q.weight") == "blk.3"
    assert layer_of("model.norm.weight") == "model.norm"
    assert layer_of("params.3") == "params"


def test_bad_settings_are_refused():
    with pytest.raises(UnknownNameError) as error:
        Granularity("tensr")
    assert error.value.nearest[0] == "tensor"
    with pytest.raises(UnknownNameError):
        Granularity("chunk", 1024, "fixd")
    for size in (0, -1, 63, True, 2.5, "1024", 1 << 50):
        with pytest.raises(ConfigError):
            Granularity("chunk", size)
    with pytest.raises(ConfigError):
        Granularity("chunk", 128, "content")


def test_assemble_refuses_what_does_not_fit(model):
    found = list(units(model, Granularity("chunk", 256)))
    parts = [(unit, unit.array()) for unit in found]
    for wrong in (parts[1:], [parts[0], *parts], parts[:-1], [parts[1], parts[0], *parts[2:]]):
        with pytest.raises(ValueError, match=r"missing|go on"):
            dict(assemble(model.tensors, wrong))
    with pytest.raises(ValueError, match="takes"):
        dict(assemble(model.tensors, [(found[0], found[0].array()[1:])]))


def test_bfloat16_views(tmp_path):
    values = np.arange(64).astype(ml_dtypes.bfloat16)
    (tmp_path / "w").write_bytes(values.tobytes())
    file = map_file(tmp_path / "w")
    info = TensorInfo("w", "bfloat16", (8, 8), 128, 0)
    (unit,) = units(MappedModel(Origin("m"), [WeightFile(file, [info])]), Granularity("tensor"))
    assert unit.array().shape == (8, 8)
    assert np.shares_memory(unit.array(), np.frombuffer(file.data, np.uint8))
