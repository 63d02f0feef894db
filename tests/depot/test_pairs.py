from __future__ import annotations

import shutil

import numpy as np
import pytest

from weightbench.depot import (
    CorruptDepotError,
    DepotError,
    NoSuchModelError,
    create_depot,
    open_depot,
)
from weightbench.depot.objects import Kind
from weightbench.granularity import Granularity
from weightbench.models.quantised import quantised
from weightbench.pairing import pair_tensors
from weightcodecs import get_codec
from weightcodecs.errors import ConfigError


@pytest.fixture(params=["int8", "nf4"])
def pair(request, kit, mapped, tmp_path):
    rng = np.random.default_rng(1)
    shapes = {"layers.0.up.weight": (64, 96), "layers.0.down.weight": (96, 64), "norm.weight": (64,)}
    made = [(name, (rng.standard_normal(shape) * 0.02).astype(np.float16)) for name, shape in shapes.items()]
    (tmp_path / "high").mkdir()
    high = kit.named(mapped(tmp_path / "high", {"model.bin": made}), "org/high")
    return high, kit.named(quantised(high, request.param), f"org/{request.param}")


@pytest.mark.parametrize("dedup", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
def test_both_models_come_back(kit, pair, tmp_path, dedup, overlap):
    high, low = pair
    pairs = pair_tensors(high, low)
    assert len(pairs) >= 2
    told = []
    depot = create_depot(tmp_path / "depot")
    added = depot.add_pair(
        high,
        low,
        pairs,
        get_codec("qstore"),
        get_codec("zstd"),
        dedup=dedup,
        overlap=overlap,
        on_unit=told.append,
    )
    total = sum(info.nbytes for model in pair for info in model.tensors.values())
    assert sum(record.raw_bytes for record in told) == total
    sizes = depot.sizes()
    assert sizes.total == sum(a.added_bytes for a in added)
    assert sizes.payload == sum(a.sizes.payload for a in added)
    assert sizes.literals == sum(a.sizes.literals for a in added)
    depot.verify(deep=True)
    for model in pair:
        kit.assert_restores(depot, model, tmp_path / model.name)
        stored = depot.open(model.name)
        for name in model.tensors:
            assert stored.read_tensor(name).tobytes() == model.read(name).tobytes()
    # The same pair again under other names costs manifests, and nothing else, if dedup is asked for.
    again = kit.named(high, "high again"), kit.named(low, "low again")
    more = depot.add_pair(*again, pairs, get_codec("qstore"), get_codec("zstd"), dedup=dedup)
    assert (more[0].objects + more[1].objects == 0) == dedup
    for name in ("org/high", f"{depot.models()[-1]}"):
        depot.delete(name)
        depot.verify(deep=True)
    kit.assert_restores(depot, again[0], tmp_path / "again")
    kit.assert_restores(depot, again[1], tmp_path / "again low")


def test_the_low_model_reads_the_low_parts_alone(kit, pair, tmp_path):
    high, low = pair
    pairs = pair_tensors(high, low)
    depot = create_depot(tmp_path / "depot")
    depot.add_pair(high, low, pairs, get_codec("qstore"), get_codec("zstd"), dedup=True)
    (path,) = (depot.path / "packs").iterdir()
    data = bytearray(path.read_bytes())
    (pack,) = depot._folder.packs.values()
    for stored in pack.objects:
        if stored.kind == Kind.PAIR:  # the end of the payload is the high part
            data[stored.record.offset + stored.record.nbytes - stored.overhead - 20] ^= 1
    path.write_bytes(data)
    depot = type(depot)(depot.path)
    for name in low.tensors:
        assert depot.open(low.name).read_tensor(name).tobytes() == low.read(name).tobytes()
    for one in pairs:
        with pytest.raises(CorruptDepotError):
            depot.open(high.name).read_tensor(one.high)
    with pytest.raises(CorruptDepotError):
        depot.verify()


def test_readers_say_what_they_use(kit, pair, tmp_path):
    high, low = pair
    pairs = pair_tensors(high, low)
    create_depot(tmp_path / "depot").add_pair(
        high, low, pairs, get_codec("qstore"), get_codec("zstd"), dedup=True
    )
    size = sum(path.stat().st_size for path in (tmp_path / "depot").rglob("*") if path.is_file())

    def used(model, order):
        counts = []
        stored = open_depot(tmp_path / "depot", on_read=counts.append).open(model.name)
        for name in order:
            assert stored.read_tensor(name).tobytes() == model.read(name).tobytes()
        return sum(counts)

    scales = {each.scales for each in pairs}
    codes_first = sorted(low.tensors, key=lambda name: name in scales)
    alone = used(low, codes_first)
    assert used(low, []) < alone < used(high, high.tensors) < size
    assert alone < used(low, reversed(codes_first)) < 2 * alone  # scales first: the codes are read twice


def test_both_or_none(kit, pair, tmp_path, monkeypatch):
    """Stop before each change of the disk in turn: both are there or none; deleting one keeps the other."""
    high, low = pair
    pairs = pair_tensors(high, low)
    outcomes = set()
    for count in range(1000):
        depot = create_depot(tmp_path / f"{count}")

        died = kit.crash_points(
            monkeypatch,
            lambda depot=depot: depot.add_pair(
                high, low, pairs, get_codec("qstore"), get_codec("zstd"), dedup=True, overlap=False
            ),
            count,
        )
        depot = open_depot(depot.path)
        depot.verify(deep=True)
        assert depot.models() in ((), (high.name, low.name))
        outcomes.add((died, len(depot.models())))
        for model in pair:
            if model.name not in depot.models():
                with pytest.raises(NoSuchModelError):
                    depot.open(model.name)
        there = depot.models()
        depot.prune()
        assert depot.models() == there
        if not there:
            assert depot.sizes().total == 0
        if not died:
            break
    assert outcomes == {(True, 0), (True, 2), (False, 2)}
    for count in range(1000):
        shutil.copytree(depot.path, tmp_path / f"delete {count}")
        other = open_depot(tmp_path / f"delete {count}")
        died = kit.crash_points(monkeypatch, lambda other=other: other.delete(high.name), count)
        other.verify(deep=True)
        assert other.models() in ((high.name, low.name), (low.name,))
        other.prune()
        kit.assert_restores(other, low, tmp_path / f"out {count}")
        if not died:
            break
    assert other.models() == (low.name,)


def test_questions_without_an_answer(kit, pair, tmp_path):
    high, low = pair
    pairs = pair_tensors(high, low)
    depot = create_depot(tmp_path / "depot")
    qstore, zstd = get_codec("qstore"), get_codec("zstd")
    with pytest.raises(DepotError, match="both"):
        depot.add_pair(high, high, pairs, qstore, zstd, dedup=True)
    with pytest.raises(ConfigError, match="two pairs"):
        depot.add_pair(high, low, [*pairs, pairs[0]], qstore, zstd, dedup=True)
    with pytest.raises(ConfigError, match="does not take"):
        depot.add_pair(high, low, pairs, get_codec("qstore", variant="paper"), zstd, dedup=True) if (
            low.name.endswith("nf4")
        ) else depot.add_pair(low, high, pairs, qstore, zstd, dedup=True)
    assert depot.models() == ()
    depot.add(low, zstd, Granularity(), dedup=True)
    with pytest.raises(DepotError, match="already"):
        depot.add_pair(high, low, pairs, qstore, zstd, dedup=True)
    assert depot.models() == (low.name,)
