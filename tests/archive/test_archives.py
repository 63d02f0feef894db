from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import weightcodecs
from weightbench.archive import ArchiveError, UnitReference, open_archive, refused_formats, write_archive
from weightbench.archive.layout import HEAD_BYTES
from weightbench.granularity import KINDS, Granularity
from weightbench.models import SyntheticSource, cast, open_model
from weightbench.models.errors import UnknownTensorError
from weightcodecs import DeltaCodec, Encoded, get_codec, register_codec
from weightcodecs.errors import ConfigError, WrongReferenceError

CHUNKS = [Granularity("chunk", 256), Granularity("chunk", 512, "content")]
GRANULARITIES = [*(Granularity(kind) for kind in KINDS), *CHUNKS]
CODECS = [("identity", False), ("zstd", False), ("zstd", True), ("lz4", False), ("elf", True)]


@register_codec
@dataclass(frozen=True)
class Xor(DeltaCodec):
    """XOR with the base, zeros and ones run through zlib: the simplest delta codec."""

    name: ClassVar[str] = "test_xor"

    def _encode(self, values, format, reference, threads):
        bits = values.view(format.bits_dtype) ^ reference.view(format.bits_dtype)
        return Encoded.of(get_codec("zlib").compress(memoryview(bits.view(np.uint8))))

    def _decode(self, info, reference, out, threads):
        data = get_codec("zlib").decompress(info.payload, info.nbytes)
        bits = np.frombuffer(data, info.format.bits_dtype) ^ reference.view(info.format.bits_dtype)
        values = bits.view(info.format.dtype)
        if out is not None:
            out[...] = values
        return values


def count_decoding(patch):
    calls = []
    decode = weightcodecs.decode

    def counted(blob, **options):
        calls.append(len(blob))
        return decode(blob, **options)

    patch.setattr(weightcodecs, "decode", counted)
    return calls


def original(model, file):
    return bytes(model.read_range(file.name, 0, file.nbytes))


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize(("name", "dedup"), CODECS)
def test_laws(model, granularity, name, dedup, tmp_path):
    codec, path, told, progress = get_codec(name), tmp_path / "model.wba", [], []
    summary = write_archive(
        path,
        model,
        codec,
        granularity,
        dedup=dedup,
        on_unit=told.append,
        progress=lambda done, total: progress.append((done, total)),
    )
    # What is told is what is there.
    sizes = summary.sizes
    assert path.stat().st_size == sizes.total == summary.stored_bytes
    assert sizes.payload + sizes.side + sizes.literals + sizes.index == sizes.total
    assert min(sizes.payload, sizes.side, sizes.literals, sizes.index) >= 0
    assert (sizes.side > 0) == (granularity.kind == "parameter")
    assert tuple(told) == summary.units
    total = sum(info.nbytes for info in model.tensors.values())
    assert progress[-1] == (total, total)
    assert sum(unit.raw_bytes for unit in told) == total
    refused = refused_formats(model, codec)
    assert {u.format: u.passed_through for u in told if u.passed_through} == refused
    assert not summary.refused_all_floats
    assert bool(refused) == (name == "elf")
    repeats = [unit for unit in told if unit.repeats]
    assert all(unit.stored_bytes == unit.side_bytes for unit in repeats)
    if not dedup:
        assert not repeats
    elif granularity.kind == "tensor":
        assert any(unit.key == "copy.weight" for unit in repeats)

    reader = open_archive(path)
    assert reader.sizes() == sizes
    reader.verify()
    reader.verify(deep=True)
    assert list(reader.tensors()) == list(model.tensors)
    assert dict(reader.tensors()) == dict(model.tensors)
    for tensor in reversed(list(model.tensors)):
        found, expected = reader.read_tensor(tensor), model.read(tensor)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert not found.flags.writeable
        bound = codec.error_bound(weightcodecs.format_of(expected))
        if bound.lossless or expected.dtype.name in refused:
            assert found.tobytes() == expected.tobytes()
        else:
            finite = np.isfinite(expected)
            assert (np.abs(found[finite] - expected[finite]) <= bound.absolute).all()
    files = reader.unpack(tmp_path / "out")
    for file, restored in zip(model.files, files, strict=True):
        data = restored.path.read_bytes()
        assert restored.path == tmp_path / "out" / file.name
        assert restored.sha256 == hashlib.sha256(data).hexdigest()
        assert restored.identical == (data == original(model, file))
        assert len(data) == file.nbytes == restored.nbytes
        assert restored.identical or name == "elf"
        for extent in file.extents:
            exact = extent.tensor is None or model.tensors[extent.tensor].format in refused
            if exact:
                span = slice(extent.offset, extent.offset + extent.nbytes)
                assert data[span] == original(model, file)[span]


def test_random_access_decodes_only_what_it_needs(model, tmp_path, monkeypatch):
    calls = []
    decode = weightcodecs.decode
    monkeypatch.setattr(
        weightcodecs, "decode", lambda blob, **k: calls.append(len(blob)) or decode(blob, **k)
    )
    for granularity, wanted in (
        (Granularity("tensor"), 1),
        (Granularity("layer"), 1),
        (Granularity("model"), 1),
        (Granularity("parameter"), 1),
        (Granularity("chunk", 256), -(-24 * 24 * 2 // 256)),
    ):
        write_archive(tmp_path / "a", model, get_codec("zstd"), granularity)
        calls.clear()
        reader = open_archive(tmp_path / "a")
        assert not calls
        reader.read_tensor("model.layers.1.attn.q.weight")
        assert len(calls) == wanted
        if granularity.kind == "model":  # the other bfloat16 tensor is in the cache, a float32 one is not
            reader.read_tensor("model.layers.0.attn.q.weight")
            assert len(calls) == 1
            reader.read_tensor("scalar")
            assert len(calls) == 2


def test_readers_say_what_they_use(model, tmp_path):
    summary = write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity("tensor"))
    used = []
    reader = open_archive(tmp_path / "a", on_read=used.append)
    head = HEAD_BYTES + reader._nbytes - reader.index.end
    assert used == [head]
    for tensor in model.tensors:
        reader.read_tensor(tensor)
    blobs = sum(reader.index.records[unit.blob].nbytes for unit in reader.index.units)
    assert sum(used) == head + blobs <= summary.sizes.total


@pytest.mark.parametrize("limit", [0, 100, 1 << 20])
def test_units_are_decoded_once_in_file_order(model, tmp_path, monkeypatch, limit):
    for kind in ("model", "layer", "parameter"):
        summary = write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity(kind))
        with monkeypatch.context() as patch:
            calls = count_decoding(patch)
            reader = open_archive(tmp_path / "a", cache_bytes=limit)
            for tensor in model.tensors:
                assert reader.read_tensor(tensor).tobytes() == model.read(tensor).tobytes()
        if limit == 1 << 20:
            assert len(calls) == len(summary.units)


def test_delta_units_carry_their_reference(model, tmp_path):
    base = {name: np.roll(model.read(name).reshape(-1), 1) for name in model.tensors}

    def against(unit):
        (piece,) = unit.pieces
        if unit.format == "int64":
            return None
        values = base[piece.tensor][piece.first : piece.first + piece.count].reshape(unit.shape)
        return UnitReference("base model", piece.tensor, piece.first), values

    for granularity in (Granularity("tensor"), Granularity("chunk", 256)):
        summary = write_archive(tmp_path / "a", model, Xor(), granularity, against=against, dedup=True)
        assert set(summary.passed_through.values()) == {"no base to code it against"}
        reader = open_archive(tmp_path / "a", lambda r: base[r.tensor])
        assert {u.reference.model for u in reader.index.units if u.reference} == {"base model"}
        reader.verify(deep=True)
        assert all(restored.identical for restored in reader.unpack(tmp_path / granularity.kind))
        with pytest.raises(WrongReferenceError, match="base="):
            open_archive(tmp_path / "a").read_tensor("model.embed.weight")
        with pytest.raises(WrongReferenceError):
            open_archive(tmp_path / "a", lambda r: base[r.tensor] * 2).read_tensor("model.embed.weight")
        with pytest.raises(WrongReferenceError, match="too few"):
            open_archive(tmp_path / "a", lambda r: base[r.tensor][:1]).read_tensor("model.embed.weight")
    with pytest.raises(ConfigError):
        write_archive(tmp_path / "b", model, Xor(), Granularity())
    with pytest.raises(ConfigError):
        write_archive(tmp_path / "b", model, get_codec("zstd"), Granularity(), against=against)


def test_literals_larger_than_a_record(model, tmp_path, monkeypatch):
    for module in ("index", "index_reading", "records", "literals"):
        monkeypatch.setattr(f"weightbench.archive.{module}.LITERAL_BYTES", 10)
    write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity())
    reader = open_archive(tmp_path / "a")
    assert all(restored.identical for restored in reader.unpack(tmp_path / "out"))


def test_known_digests_are_used_and_a_wrong_one_is_found(model, tmp_path):
    known = {file.name: hashlib.sha256(original(model, file)).hexdigest() for file in model.files}
    write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity(), known_sha256=known)
    open_archive(tmp_path / "a").verify(deep=True)
    known[model.files[0].name] = "0" * 64
    write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity(), known_sha256=known)
    reader = open_archive(tmp_path / "a")
    reader.verify()
    with pytest.raises(ArchiveError, match="SHA-256"):
        reader.unpack(tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_computed_models(tmp_path):
    model = cast(open_model(SyntheticSource(shapes=[[64, 32], [101]], dtype="float32")), "float16")
    write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity("layer"))
    (restored,) = open_archive(tmp_path / "a").unpack(tmp_path / "out")
    assert restored.identical
    assert restored.path.read_bytes() == original(model, model.files[0])


def test_a_codec_that_takes_no_float_of_the_model_says_so(tmp_path):
    model = open_model(SyntheticSource(shapes=[[64, 32]], dtype="bfloat16"))
    summary = write_archive(tmp_path / "a", model, get_codec("elf"), Granularity())
    assert summary.refused_all_floats
    assert list(refused_formats(model, get_codec("elf"))) == ["bfloat16"]


def test_questions_without_an_answer(model, tmp_path):
    write_archive(tmp_path / "a", model, get_codec("zstd"), Granularity())
    reader = open_archive(tmp_path / "a")
    with pytest.raises(UnknownTensorError) as error:
        reader.read_tensor("model.embed.wieght")
    assert error.value.nearest[0] == "model.embed.weight"
    reader.unpack(tmp_path / "out")
    with pytest.raises(ArchiveError, match="exists"):
        reader.unpack(tmp_path / "out")
    with pytest.raises(ArchiveError, match="cannot open"):
        open_archive(tmp_path / "missing")


def test_what_it_is_about(model, tmp_path):
    granularity = Granularity("chunk", 4096)
    write_archive(tmp_path / "a", model, get_codec("zstd", level=5), granularity, dedup=True)
    about = open_archive(tmp_path / "a").index.about
    assert about["codec"] == "zstd"
    assert about["config"]["level"] == 5
    assert about["granularity"] == dataclasses.asdict(granularity)
    assert about["dedup"] is True
    assert about["revision"] == model.revision()


def test_overhead_at_tensor_granularity(tmp_path):
    """A model of 20 MB with as many tensors as a network of 100 MB or more."""
    shapes = [[128, 256]] * 300 + [[256]] * 100
    model = open_model(SyntheticSource(shapes=shapes, dtype="bfloat16"))
    summary = write_archive(tmp_path / "a", model, get_codec("identity"), Granularity())
    sizes = summary.sizes
    assert sizes.payload == sum(info.nbytes for info in model.tensors.values())
    assert sizes.index + sizes.literals <= 0.0005 * 100e6
    assert sizes.total <= model.nbytes * 1.0015
