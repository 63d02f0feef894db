from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import xxhash
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightbench.archive import CorruptArchiveError
from weightbench.archive.layout import FOOTER_BYTES, Footer, pack_footer, parse_footer
from weightbench.depot import Base, CorruptDepotError, DepotError, create_depot, open_depot
from weightbench.depot.manifest import MANIFEST
from weightbench.depot.manifest_reading import parse_manifest
from weightbench.depot.pack import PACK, parse_pack
from weightbench.granularity import Granularity
from weightcodecs import get_codec


@pytest.fixture(params=["tensor", "parameter"])
def family_depot(request, kit, mapped, tmp_path):
    models = kit.family(mapped, tmp_path / "models")
    depot = create_depot(tmp_path / "depot")
    granularity = Granularity(request.param)
    depot.add(models[0], kit.WithBase(), granularity, dedup=True)
    for model in models[1:]:
        base = Base("base", kit.base_values(model, models[0]))
        depot.add(model, kit.WithBase(), granularity, dedup=True, base=base)
    depot.verify(deep=True)
    return depot, models


def outcome(path, models):
    """Open, read and verify all; returns whether damage was found. Wrong data fails the test."""
    depot = open_depot(path)
    found = False
    for model in models:
        try:
            stored = depot.open(model.name)
            for name in model.tensors:
                assert stored.read_tensor(name).tobytes() == model.read(name).tobytes()
        except CorruptDepotError:
            found = True
    try:
        depot.verify()
    except CorruptDepotError:
        return True
    assert not found
    return False


def test_flipped_bits_are_found(family_depot):
    depot, models = family_depot
    assert not outcome(depot.path, models)
    draw = random.Random(5)
    for path in sorted(depot.path.rglob("*.wb?")):
        data = path.read_bytes()
        ends = [*range(24), *range(len(data) - 80, len(data))]
        for position in {*ends, *draw.sample(range(len(data)), min(len(data), 120))}:
            damaged = bytearray(data)
            damaged[position] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            assert outcome(depot.path, models), (path.name, position)
        path.write_bytes(data)
    assert not outcome(depot.path, models)


def test_messages_name_the_damaged_file_once(family_depot):
    depot, _ = family_depot
    for path in sorted(depot.path.rglob("*.wb?")):
        data = path.read_bytes()
        kind = MANIFEST if path.suffix == ".wbm" else PACK
        footer = parse_footer(data[-FOOTER_BYTES:], len(data), path, kind)
        for at in (0, len(kind.head) - 1, footer.offset, len(data) - 1):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(CorruptDepotError) as caught:
                depot.verify()
            assert str(caught.value).count(str(path)) == 1
            assert "version" not in str(caught.value)
        # An index that is not ours, with digests that fit.
        digest = xxhash.xxh3_128_digest(b"[]")
        end = pack_footer(Footer(len(kind.head), 2, 2, digest), kind)
        path.write_bytes(kind.head + b"[]" + end)
        with pytest.raises(CorruptDepotError) as caught:
            depot.verify()
        assert str(caught.value).count(str(path)) == 1
        path.write_bytes(data)


def test_truncation(family_depot):
    depot, models = family_depot
    draw = random.Random(6)
    for path in sorted(depot.path.rglob("*.wb?")):
        data = path.read_bytes()
        for size in {0, 1, 8, len(data) - 1, *draw.sample(range(len(data)), 40)}:
            path.write_bytes(data[:size])
            assert outcome(depot.path, models)
        path.write_bytes(data + b"\0")
        assert outcome(depot.path, models)
        path.write_bytes(data)


def test_files_that_are_missing_or_in_each_others_place(family_depot):
    depot, models = family_depot
    packs = sorted((depot.path / "packs").iterdir())
    for path in packs:
        data = path.read_bytes()
        path.unlink()
        assert outcome(depot.path, models)
        path.write_bytes(data)
    manifests = sorted((depot.path / "models").iterdir())
    data = manifests[0].read_bytes()
    manifests[0].write_bytes(manifests[1].read_bytes())
    assert outcome(depot.path, models)
    manifests[0].write_bytes(data)
    shutil.copy(packs[0], packs[0].with_name("00000077.wbp"))  # an object in two packs is no damage
    assert not outcome(depot.path, models)


def test_a_damaged_model_can_be_deleted_and_others_stay(family_depot):
    depot, models = family_depot
    path = depot.path / "models" / "frozen.wbm"
    path.write_bytes(path.read_bytes()[:50])
    depot = open_depot(depot.path)
    for look in (depot.models, depot.verify, depot.sizes, depot.prune, lambda: depot.open("frozen")):
        with pytest.raises(CorruptDepotError):
            look()
    for model in models[:2]:
        assert depot.open(model.name).read_tensor("norm").tobytes() == model.read("norm").tobytes()
    depot.delete("frozen")
    assert not outcome(depot.path, models[:2])


def raw_index(data, kind):
    footer = parse_footer(data[-FOOTER_BYTES:], len(data), "test", kind)
    stored = data[footer.offset : footer.offset + footer.stored]
    return footer.offset, stored if footer.stored == footer.nbytes else zstandard.decompress(stored)


def with_index(data, end, raw, kind):
    footer = Footer(end, len(raw), len(raw), xxhash.xxh3_128_digest(raw))
    return data[:end] + raw + pack_footer(footer, kind)


def with_text(raw, change):
    length = int.from_bytes(raw[:4], "little")
    text = json.loads(raw[4 : 4 + length])
    change(text)
    changed = json.dumps(text).encode()
    return len(changed).to_bytes(4, "little") + changed + raw[4 + length :]


HOSTILE = {
    "name": lambda t: t.__setitem__("name", "other"),
    "no name": lambda t: t.__setitem__("name", ""),
    "name a list": lambda t: t.__setitem__("name", ["base"]),
    "requires": lambda t: t.__setitem__("requires", 3),
    "name not text": lambda t: t.__setitem__("name", "\ud800"),
    "file climbs": lambda t: t["files"][0].__setitem__(0, "../a.bin"),
    "file absolute": lambda t: t["files"][0].__setitem__(0, "/etc/a.bin"),
    "file backslash": lambda t: t["files"][0].__setitem__(0, "..\\a.bin"),
    "digest": lambda t: t["files"][0].__setitem__(1, "00"),
    "exact": lambda t: t["files"][0].__setitem__(2, 1),
    "extents": lambda t: t["files"][0].__setitem__(3, 1 << 40),
    "literals": lambda t: t["files"][0].__setitem__(4, 0),
    "shape": lambda t: t["tensors"][0].__setitem__(2, [1 << 61, 1 << 61]),
    "format": lambda t: t["tensors"][0].__setitem__(1, "int32"),
    "tensor gone": lambda t: t["tensors"].pop(0),
    "counts": lambda t: t["counts"].__setitem__("units", 1 << 61),
    "ties": lambda t: t.__setitem__("ties", {"x": "nobody"}),
    "bounds": lambda t: t["bounds"].__setitem__("float32", ["nan", "0x0p+0"]),
    "about": lambda t: t.__setitem__("about", None),
    "entry more": lambda t: t.__setitem__("more", 1),
    "entry gone": lambda t: t.pop("files"),
}


@pytest.fixture
def small(kit, mapped, tmp_path):
    tensors = [("a", np.arange(40, dtype=np.float32)), ("b", np.ones(9, np.float16))]
    model = kit.named(mapped(tmp_path, {"x.bin": tensors[:1], "y.bin": tensors[1:]}, gap=2), "base")
    depot = create_depot(tmp_path / "depot")
    depot.add(model, get_codec("zstd"), Granularity("parameter"), dedup=True)
    return depot, model


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_refused(small, name):
    depot, _ = small
    path = depot.path / "models" / "base.wbm"
    data = path.read_bytes()
    end, raw = raw_index(data, MANIFEST)
    path.write_bytes(with_index(data, end, with_text(raw, lambda t: None), MANIFEST))
    open_depot(depot.path).verify(deep=True)
    path.write_bytes(with_index(data, end, with_text(raw, HOSTILE[name]), MANIFEST))
    with pytest.raises(CorruptDepotError, match="not sound"):
        open_depot(depot.path).open("base")


MUTATION = st.tuples(
    st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.sampled_from(["set", "cut", "add"])
)


@pytest.mark.parametrize("kind", ["pack", "manifest"])
def test_fuzzed_indexes(small, kind):
    """Any content with sound checksums is opened or refused; tensors are read or refused."""
    depot, _ = small
    (path,) = depot.path.rglob("*.wbp" if kind == "pack" else "*.wbm")
    file_kind = PACK if kind == "pack" else MANIFEST
    data = path.read_bytes()
    end, raw = raw_index(data, file_kind)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(MUTATION, min_size=1, max_size=4))
    def fuzz(mutations):
        changed = bytearray(raw)
        for where, value, how in mutations:
            at = int(where * len(changed))
            if how == "set":
                changed[at] = value
            elif how == "cut":
                del changed[at]
            else:
                changed.insert(at, value)
        try:
            parse_pack(bytes(changed), end) if kind == "pack" else parse_manifest(bytes(changed))
        except CorruptArchiveError:
            return
        path.write_bytes(with_index(data, end, bytes(changed), file_kind))
        try:
            stored = open_depot(depot.path).open("base")
        except DepotError:
            return
        for name in list(stored.tensors()):
            try:
                stored.read_tensor(name)
            except CorruptDepotError:
                continue

    fuzz()
