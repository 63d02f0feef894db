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
