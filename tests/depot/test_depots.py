from __future__ import annotations

import numpy as np
import pytest

import weightcodecs
from weightbench.archive import refused_formats
from weightbench.depot import create_depot, open_depot
from weightbench.granularity import KINDS, Granularity
from weightcodecs import get_codec

CHUNKS = [Granularity("chunk", 256), Granularity("chunk", 512, "content")]
GRANULARITIES = [*(Granularity(kind) for kind in KINDS), *CHUNKS]
CODECS = [("identity", False), ("zstd", True), ("zipnn", True), ("elf", True)]


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize(("name", "dedup"), CODECS)
def test_laws(kit, model, granularity, name, dedup, tmp_path):
    codec, told, progress = get_codec(name), [], []
    depot = create_depot(tmp_path / "depot")
    added = depot.add(
        model,
        codec,
        granularity,
        dedup=dedup,
        on_unit=told.append,
        progress=lambda done, total: progress.append((done, total)),
    )
    sizes = depot.sizes()
    assert sizes.total == added.added_bytes == sum(map(len, kit.contents(depot).values()))
    assert sizes.disk == kit.du(depot.path)
    assert (sizes.payload, sizes.side, sizes.literals) == (
        added.sizes.payload,
        added.sizes.side,
        added.sizes.literals,
    )
    assert min(sizes.payload, sizes.side, sizes.literals, sizes.index) >= 0
    assert (sizes.side > 0) == (granularity.kind == "parameter")
    assert sizes.objects == added.objects
    total = sum(info.nbytes for info in model.tensors.values())
    assert progress[-1] == (total, total)
    assert tuple(told) == added.units
    assert sum(unit.raw_bytes for unit in told) == total
    refused = refused_formats(model, codec)
    assert {u.format: u.passed_through for u in told if u.passed_through} == refused
    assert bool(added.repeated_units) == (dedup and any(u.repeats for u in told))
    if dedup and granularity.kind == "tensor":
        assert any(unit.key == "copy.weight" for unit in told if unit.repeats)

    depot = open_depot(tmp_path / "depot")
    depot.verify()
    depot.verify(deep=True)
    assert depot.models() == (model.name,)
    stored = depot.open(model.name)
    assert dict(stored.tensors()) == dict(model.tensors)
    for tensor in reversed(list(model.tensors)):
        found, expected = stored.read_tensor(tensor), model.read(tensor)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert not found.flags.writeable
        bound = stored.bounds.get(model.tensors[tensor].format, weightcodecs.EXACT)
        if bound.lossless:
            assert found.tobytes() == expected.tobytes()
        else:
            finite = np.isfinite(expected)
            assert (np.abs(found[finite] - expected[finite]) <= bound.absolute).all()
    kit.assert_restores(depot, model, tmp_path / "out", exact=name != "elf")

    # The same again under another name, cut in the same way: all of it is there, if dedup is asked for.
    kit.named(model, "org/again")
    again = depot.add(model, codec, granularity, dedup=dedup)
    if dedup:
        assert again.objects == 0
        assert again.sizes.payload == again.sizes.side == again.sizes.literals == 0
        assert all(unit.repeats for unit in again.units)
        assert name == "elf" or len(again.repeated_files) == len(model.files)
    else:
        assert again.objects == added.objects
        assert not again.repeated_files
    kit.assert_restores(depot, model, tmp_path / "again", exact=name != "elf")
    depot.verify(deep=True)
    depot.delete("test")
    depot.verify(deep=True)
    kit.assert_restores(depot, model, tmp_path / "alone", exact=name != "elf")
    depot.delete("org/again")
    assert depot.models() == ()
    assert depot.sizes().total == depot.sizes().objects == 0
    assert [p for p in depot.path.rglob("*") if p.is_file()] == [depot.path / "lock"]


def test_sharded_and_consolidated_copies(kit, mapped, tmp_path):
    """The same tensors in other files, a file that is there twice, and a tensor that is not in the other."""
    rng = np.random.default_rng(0)
    tensors = [(f"t{i}", rng.standard_normal((40, 30)).astype(np.float32)) for i in range(6)]
    files = {
        "sharded": {"a.bin": tensors[:3], "b.bin": tensors[3:]},
        "whole": {"all.bin": tensors},
        "both": {"all.bin": tensors, "copy.bin": tensors, "a.bin": tensors[:3]},
        "more": {"all.bin": [*tensors, ("t6", np.ones(5000, np.float32))]},
    }
    depot = create_depot(tmp_path / "depot")
    models = {}
    for name, made in files.items():
        (tmp_path / name).mkdir()
        models[name] = kit.named(mapped(tmp_path / name, made, gap=3), name)
        added = depot.add(models[name], get_codec("zstd"), Granularity(), dedup=True)
        assert (added.sizes.payload > 1000) == (name == "sharded")
        if name == "both":
            assert added.repeated_files == ("all.bin", "copy.bin", "a.bin")
            assert added.objects == 0
            assert not added.units
    depot.verify(deep=True)
    for name in ("sharded", "whole", "both"):
        depot.delete(name)
        depot.verify(deep=True)
    kit.assert_restores(depot, models["more"], tmp_path / "out")


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
def test_a_file_that_is_there_already_among_new_ones(kit, mapped, tmp_path, granularity):
    """Its units are taken over, also where they span files, whatever the others are cut into."""
    rng = np.random.default_rng(0)
    tensors = [(f"layers.{i}.w", rng.standard_normal((40, 30)).astype(np.float32)) for i in range(6)]
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    one = kit.named(mapped(tmp_path / "one", {"a": tensors[:2], "b": tensors[2:4], "c": tensors[1:3]}), "one")
    two = kit.named(mapped(tmp_path / "two", {"b": tensors[2:4], "x": tensors[3:], "y": tensors[2:4]}), "two")
    depot = create_depot(tmp_path / "depot")
    depot.add(one, get_codec("zstd"), granularity, dedup=True)
    added = depot.add(two, get_codec("zstd"), Granularity(), dedup=True)
    assert added.repeated_files == ("b", "y")
    assert depot.open("two").read_tensor("x:layers.3.w").tobytes() == tensors[3][1].tobytes()
    depot.verify(deep=True)
    depot.delete("one")
    depot.verify(deep=True)
    kit.assert_restores(depot, two, tmp_path / "out")
