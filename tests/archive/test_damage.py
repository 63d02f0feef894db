from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
import xxhash
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightbench.archive import ArchiveError, CorruptArchiveError, open_archive, write_archive
from weightbench.archive.index_reading import parse_index
from weightbench.archive.layout import FOOTER_BYTES, Footer, pack_footer, parse_footer
from weightbench.granularity import Granularity
from weightcodecs import get_codec


def small_archive(tmp_path, mapped, granularity=None, codec="zstd", **options):
    rng = np.random.default_rng(0)
    tensors = [
        ("layers.0.w", np.round(rng.standard_normal((8, 9)), 1).astype(np.float32)),
        ("layers.0.b", np.ones(7, np.float16)),
        ("layers.1.w", np.round(rng.standard_normal(72), 1).astype(np.float32)),
        ("layers.1.b", np.ones(7, np.float16)),
        ("none", np.empty(0, np.float32)),
    ]
    model = mapped(tmp_path, {"a.bin": tensors[:2], "b.bin": tensors[2:]}, gap=3)
    path = tmp_path / "small.wba"
    write_archive(path, model, get_codec(codec), granularity or Granularity(), **options)
    return model, path, path.read_bytes()


def outcome(path, model):
    """Open, verify and read all; returns whether verify found damage. Wrong data fails the test."""
    try:
        reader = open_archive(path)
    except CorruptArchiveError:
        return True
    for name in model.tensors:
        with suppress(CorruptArchiveError):
            assert reader.read_tensor(name).tobytes() == model.read(name).tobytes()
    try:
        reader.verify()
    except CorruptArchiveError:
        return True
    return False


@pytest.mark.parametrize("kind", ["tensor", "parameter"])
def test_every_flipped_byte_is_found(tmp_path, mapped, kind):
    model, path, data = small_archive(tmp_path, mapped, Granularity(kind), dedup=kind == "tensor")
    assert not outcome(path, model)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= (0x01, 0x80, 0xFF, 0x10)[position % 4]
        path.write_bytes(damaged)
        assert outcome(path, model), position


def test_truncation_at_every_position(tmp_path, mapped):
    _, path, data = small_archive(tmp_path, mapped)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptArchiveError):
            open_archive(path)
    for more in (b"\0", data[-FOOTER_BYTES:], data):
        path.write_bytes(data + more)
        with pytest.raises(CorruptArchiveError):
            open_archive(path)


def test_other_files_are_refused(tmp_path):
    for data in (b"", b"WBA1", b"\x89PNG" * 100, bytes(1000), b"WBA1\x02\0\0\0" + bytes(100)):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(CorruptArchiveError):
            open_archive(tmp_path / "x")
    with pytest.raises(ArchiveError):
        open_archive(tmp_path)


def raw_index(data):
    footer = parse_footer(data[-FOOTER_BYTES:], len(data), "test")
    stored = data[footer.offset : footer.offset + footer.stored]
    raw = stored if footer.stored == footer.nbytes else zstandard.decompress(stored)
    return footer.offset, raw


def with_index(data, end, raw):
    footer = Footer(end, len(raw), len(raw), xxhash.xxh3_128_digest(raw))
    return data[:end] + raw + pack_footer(footer)


def with_text(raw, change):
    length = int.from_bytes(raw[:4], "little")
    text = json.loads(raw[4 : 4 + length])
    change(text)
    changed = json.dumps(text, ensure_ascii=False).encode()
    return len(changed).to_bytes(4, "little") + changed + raw[4 + length :]


HOSTILE = {
    "shape too large": lambda t: t["tensors"][0].__setitem__(2, [1 << 61, 1 << 61]),
    "shape with zero": lambda t: t["tensors"][0].__setitem__(2, [0, 1 << 62]),
    "negative shape": lambda t: t["tensors"][0].__setitem__(2, [-8, -9]),
    "shape not a list": lambda t: t["tensors"][0].__setitem__(2, "89"),
    "bool shape": lambda t: t["tensors"][0].__setitem__(2, [True, 72]),
    "deep shape": lambda t: t["tensors"][0].__setitem__(2, [1] * 99 + [72]),
    "unknown format": lambda t: t["tensors"][0].__setitem__(1, "float128"),
    "format a list": lambda t: t["tensors"][0].__setitem__(1, []),
    "other format": lambda t: t["tensors"][0].__setitem__(1, "int32"),
    "same name": lambda t: t["tensors"][0].__setitem__(0, "layers.0.b"),
    "tensor gone": lambda t: t["tensors"].pop(0),
    "tensor more": lambda t: t["tensors"].append(["x", "float32", [1]]),
    "file climbs": lambda t: t["files"][0].__setitem__(0, "../a.bin"),
    "file absolute": lambda t: t["files"][0].__setitem__(0, "/etc/a.bin"),
    "file backslash": lambda t: t["files"][0].__setitem__(0, "..\\a.bin"),
    "file on a drive": lambda t: t["files"][0].__setitem__(0, "C:a.bin"),
    "file nul": lambda t: t["files"][0].__setitem__(0, "a\0.bin"),
    "same file": lambda t: t["files"][0].__setitem__(0, "b.bin"),
    "digest": lambda t: t["files"][0].__setitem__(1, "00"),
    "exact": lambda t: t["files"][0].__setitem__(2, 1),
    "extents": lambda t: t["files"][0].__setitem__(3, 1 << 40),
    "literals": lambda t: t.__setitem__("literals", 0),
    "payload": lambda t: t.__setitem__("payload", 1 << 40),
    "payload float": lambda t: t.__setitem__("payload", 1.0),
    "counts": lambda t: t["counts"].__setitem__("records", 1 << 61),
    "counts less": lambda t: t["counts"].__setitem__("units", 0),
    "ties": lambda t: t.__setitem__("ties", {"x": "nobody"}),
    "ties list": lambda t: t.__setitem__("ties", []),
    "bounds": lambda t: t["bounds"].__setitem__("float32", ["nan", "0x0p+0"]),
    "bounds text": lambda t: t["bounds"].__setitem__("float32", ["x", "y"]),
    "bounds name": lambda t: t["bounds"].__setitem__("float31", ["0", "0"]),
    "about": lambda t: t.__setitem__("about", None),
    "entry more": lambda t: t.__setitem__("more", 1),
    "entry gone": lambda t: t.pop("files"),
    "references": lambda t: t.__setitem__("references", [["m"]]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_refused(tmp_path, mapped, name):
    _, path, data = small_archive(tmp_path, mapped)
    end, raw = raw_index(data)
    path.write_bytes(with_index(data, end, with_text(raw, lambda t: None)))
    open_archive(path).verify(deep=True)
    path.write_bytes(with_index(data, end, with_text(raw, HOSTILE[name])))
    with pytest.raises(CorruptArchiveError, match="not sound"):
        open_archive(path)


def test_json_bombs(tmp_path, mapped):
    _, path, data = small_archive(tmp_path, mapped)
    end, _ = raw_index(data)
    for text in (b"[" * 100_000, b"9" * 10_000, b"{", b"\xff", b"null", b'{"about": NaN}'):
        path.write_bytes(with_index(data, end, len(text).to_bytes(4, "little") + text))
        with pytest.raises(CorruptArchiveError):
            open_archive(path)


def test_an_index_that_grows_too_much_is_not_unpacked(tmp_path, mapped):
    _, path, data = small_archive(tmp_path, mapped)
    end, _ = raw_index(data)
    bomb = zstandard.compress(bytes(1 << 24))
    footer = pack_footer(Footer(end, len(bomb), 1 << 24, xxhash.xxh3_128_digest(bomb)))
    path.write_bytes(data[:end] + bomb + footer)
    with pytest.raises(CorruptArchiveError, match="claims"):
        open_archive(path)
    footer = pack_footer(Footer(end, len(bomb), len(bomb) + 9, xxhash.xxh3_128_digest(bomb)))
    path.write_bytes(data[:end] + bomb + footer)
    with pytest.raises(CorruptArchiveError, match="as long"):
        open_archive(path)


MUTATION = st.tuples(
    st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.sampled_from(["set", "cut", "add"])
)


@pytest.mark.parametrize("kind", ["tensor", "parameter"])
def test_fuzzed_index(tmp_path, mapped, kind):
    """An index with valid checksums and any content is opened or refused; its tensors are read or refused."""
    _, path, data = small_archive(tmp_path, mapped, Granularity(kind))
    end, raw = raw_index(data)

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
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
            index = parse_index(bytes(changed), end)
        except CorruptArchiveError:
            return
        assert index.end == end
        path.write_bytes(with_index(data, end, bytes(changed)))
        reader = open_archive(path)
        for name in list(reader.tensors()):
            with suppress(ArchiveError):
                reader.read_tensor(name)

    fuzz()


def test_swapped_blobs_are_found(tmp_path, mapped):
    """Two blobs of one size and format change places: each is sound by itself."""
    rng = np.random.default_rng(0)
    tensors = [("a", rng.standard_normal(8)), ("b", rng.standard_normal(8))]
    model = mapped(tmp_path, {"w.bin": tensors})
    path = tmp_path / "x"
    write_archive(path, model, get_codec("identity"), Granularity())
    data = path.read_bytes()
    first, second = open_archive(path).index.records[:2]
    swapped = bytearray(data)
    swapped[first.offset : first.offset + first.nbytes] = data[second.offset : second.offset + second.nbytes]
    swapped[second.offset : second.offset + second.nbytes] = data[first.offset : first.offset + first.nbytes]
    path.write_bytes(swapped)
    with pytest.raises(CorruptArchiveError, match="tensor 'a'"):
        open_archive(path).read_tensor("a")
