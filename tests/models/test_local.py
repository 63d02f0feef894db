"""Local folders and files: single, sharded, odd ones; reading, identity, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import deserialize
from safetensors.numpy import save_file

from weightbench.models import (
    LocalSource,
    MalformedFileError,
    Model,
    ModelNotFoundError,
    UnknownTensorError,
    UnsupportedModelError,
    open_model,
    to_safetensors_header,
)
from weightbench.models.content import file_sha256
from weightbench.models.model import TensorInfo

Reassemble = Callable[[Model], dict[str, bytes]]


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    wide = rng.standard_normal((7, 5))
    dtypes = [
        *(
            np.float64,
            np.float32,
            np.float16,
            ml_dtypes.bfloat16,
            ml_dtypes.float8_e4m3fn,
            ml_dtypes.float8_e5m2,
        ),
        *(np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8, np.bool_),
    ]
    found = {f"t.{np.dtype(d).name}": wide.astype(d) for d in dtypes}
    return found | {"scalar": np.full((), 3, np.float32), "empty": np.zeros((0, 4), np.float16)}


def test_reads_what_the_official_library_reads(tmp_path: Path, reassemble: Reassemble) -> None:
    path = tmp_path / "model.safetensors"
    save_file(arrays(), path)
    model = open_model(LocalSource(str(tmp_path)))
    official = dict(deserialize(path.read_bytes()))
    assert set(model.tensors) == set(official)
    for name, array in arrays().items():
        assert model.read(name).tobytes() == array.tobytes() == bytes(official[name]["data"])
        assert model.read(name).dtype == array.dtype
        assert model.read(name).shape == array.shape == tuple(official[name]["shape"])
    assert reassemble(model) == {"model.safetensors": path.read_bytes()}
    assert model.directory is None
    assert model.family == model.name == str(tmp_path)


def test_reading_is_a_view(tmp_path: Path) -> None:
    save_file({"a": np.ones((64, 64), np.float32)}, tmp_path / "model.safetensors")
    model = open_model(LocalSource(str(tmp_path)))
    array = model.read("a")
    assert not array.flags.owndata
    assert np.shares_memory(array, model.read("a"))
    assert model.elements("a", 3, 7).shape == (4,)
    model.drop("a")
    assert array.sum() == 64 * 64  # dropped pages are read again


def test_misaligned_tensors_are_copied(tmp_path: Path, reassemble: Reassemble) -> None:
    infos = [TensorInfo("odd", "uint8", (3,), 3), TensorInfo("wide", "float32", (2,), 8)]
    values = np.array([1.5, -2.5], np.float32)
    content = to_safetensors_header(infos) + b"abc" + values.tobytes()
    (tmp_path / "m.safetensors").write_bytes(content)
    model = open_model(LocalSource(str(tmp_path / "m.safetensors")))
    assert reassemble(model) == {"m.safetensors": content}
    np.testing.assert_array_equal(model.read("wide"), values)


def test_opaque_types_are_bytes(tmp_path: Path, reassemble: Reassemble) -> None:
    header = json.dumps(
        {
            "four": {"dtype": "F4", "shape": [2, 3], "data_offsets": [0, 3]},
            "complex": {"dtype": "C64", "shape": [1], "data_offsets": [3, 11]},
            "scale": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [11, 13]},
        }
    ).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(range(13))
    (tmp_path / "m.safetensors").write_bytes(content)
    model = open_model(LocalSource(str(tmp_path)))
    assert {(t.format, t.shape) for t in model.tensors.values()} == {("uint8", (n,)) for n in (3, 8, 2)}
    assert reassemble(model) == {"m.safetensors": content}


def shards(folder: Path, weight_map: dict[str, str] | None = None) -> None:
    save_file({"b": np.ones(3, np.float32)}, folder / "model-00002-of-00002.safetensors")
    save_file({"a": np.zeros((2, 2), np.float32)}, folder / "model-00001-of-00002.safetensors")
    weight_map = weight_map or {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    }
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def test_shards_and_a_consolidated_copy(tmp_path: Path, reassemble: Reassemble) -> None:
    shards(tmp_path)
    save_file(
        {"a": np.zeros((2, 2), np.float32), "c": np.ones(1, np.int8)}, tmp_path / "consolidated.safetensors"
    )
    (tmp_path / "config.json").write_text("{}")
    model = open_model(LocalSource(str(tmp_path), name="mine", base="other"))
    assert list(model.tensors) == ["a", "b", "consolidated.safetensors:a", "c"]
    assert model.directory == tmp_path
    assert (model.name, model.base, model.family) == ("mine", "other", "other")
    contents = reassemble(model)
    assert contents == {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    one = open_model(LocalSource(str(tmp_path / "consolidated.safetensors")))
    assert list(one.tensors) == ["a", "c"]
    assert one.directory is None  # transformers would load more than this file from there


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("../model.safetensors", "not a weight file of its folder"),
        ("/etc/passwd", "not a weight file of its folder"),
        ("sub/model.safetensors", "not a weight file of its folder"),
        ("..\\model.safetensors", "not a weight file of its folder"),
        ("a\0.safetensors", "not a weight file of its folder"),
        ("..", "not a weight file of its folder"),
        ("", "not a weight file of its folder"),
        ("model-00003-of-00003.safetensors", "missing"),
        ("model-00002-of-00002.safetensors", "where it is not"),
    ],
)
def test_indexes_that_lie_are_refused(tmp_path: Path, file: str, why: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    shards(folder, {"a": file})
    with pytest.raises(MalformedFileError, match=why):
        open_model(LocalSource(str(folder)))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "[" * 10**5]
)
def test_damaged_indexes_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(MalformedFileError):
        open_model(LocalSource(str(tmp_path)))


def test_names_that_imitate_a_collision_are_refused(tmp_path: Path) -> None:
    one = np.zeros(1, np.int8)
    save_file({"a": one, "b.safetensors:a": one}, tmp_path / "a.safetensors")
    save_file({"a": one}, tmp_path / "b.safetensors")
    with pytest.raises(MalformedFileError, match="twice"):
        open_model(LocalSource(str(tmp_path)))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no"):
        open_model(LocalSource(str(tmp_path / "absent")))
    with pytest.raises(ModelNotFoundError, match="holds no"):
        open_model(LocalSource(str(tmp_path)))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UnsupportedModelError, match="weight files are"):
        open_model(LocalSource(str(tmp_path / "notes.txt")))
    os.mkfifo(tmp_path / "pipe.safetensors")  # opening it would wait for ever
    with pytest.raises(ModelNotFoundError, match="not a file"):
        open_model(LocalSource(str(tmp_path / "pipe.safetensors")))


MEMORY = """
import sys
from weightbench.models import LocalSource, cast, open_model

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10

model = open_model(LocalSource(sys.argv[1]))
model = cast(model, "float16") if sys.argv[2] == "cast" else model
before = peak()
for name in model.tensors:
    assert model.read(name).sum(dtype="float64") == 0
    model.drop(name)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("kind", ["mapped", "cast"])
def test_memory_stays_at_the_size_of_a_tensor(tmp_path: Path, kind: str) -> None:
    tensors = [TensorInfo(f"t{i}", "float32", (1 << 12, 1 << 10), 1 << 24) for i in range(24)]
    header = to_safetensors_header(tensors)
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 24 * (1 << 24))  # 400 MB of nothing
    command = [sys.executable, "-c", MEMORY, str(path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 * (1 << 24)


def test_unknown_names(tmp_path: Path) -> None:
    save_file({"layer.weight": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    model = open_model(LocalSource(str(tmp_path)))
    with pytest.raises(UnknownTensorError, match=r"did you mean 'layer\.weight'"):
        model.read("layer.wieght")
    with pytest.raises(ValueError, match="has no file"):
        model.read_range("other", 0, 1)
    with pytest.raises(ValueError, match="outside"):
        model.read_range("model.safetensors", model.nbytes - 1, 2)
    with pytest.raises(ValueError, match="outside"):
        model.read_range("model.safetensors", -1, 1)


def test_revision_is_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        save_file({"a": np.arange(4, dtype=np.float32)}, folder / "model.safetensors")
    first = open_model(LocalSource(str(one), name="x")).revision()
    assert first == open_model(LocalSource(str(two), name="y")).revision()
    assert first.startswith("sha256:")
    content = bytearray((two / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (two / "model.safetensors").write_bytes(content)
    assert first != open_model(LocalSource(str(two))).revision()
    (one / "model.safetensors").rename(one / "other.safetensors")
    assert first != open_model(LocalSource(str(one))).revision()


def test_digests_are_remembered_until_a_file_changes(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    young = file_sha256(path)
    assert not (cache / "digests").exists()  # it may still change within the clock's resolution
    os.utime(path, ns=(10**18, 10**18))
    assert file_sha256(path) == young
    (record,) = (cache / "digests").iterdir()
    record.write_text(record.read_text().replace(young, "0" * 64))
    assert file_sha256(path) == "0" * 64  # not read again
    record.write_text("{")
    assert file_sha256(path) == young
    os.utime(path, ns=(10**18, 10**18 + 1))
    path.write_bytes(b"two")
    assert file_sha256(path) != young
