"""PyTorch `.bin` files: their tensors, their ties, and what is refused."""

from __future__ import annotations

import collections
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from weightbench.models import (
    LocalSource,
    MalformedFileError,
    Model,
    UnsafeFileError,
    UnsupportedModelError,
    open_model,
)

Reassemble = Callable[[Model], dict[str, bytes]]


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def test_every_dtype_nesting_and_order(tmp_path: Path, reassemble: Reassemble) -> None:
    wide = torch.randn(5, 7)
    dtypes = (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    )
    state = collections.OrderedDict(
        (str(d), wide.to(d)) for d in (*dtypes, torch.int64, torch.uint8, torch.bool)
    )
    state["parameter"] = torch.nn.Parameter(torch.ones(3))
    state["scalar"], state["empty"] = torch.tensor(4.0), torch.zeros(0, 3)
    path = save(tmp_path / "pytorch_model.bin", {"state_dict": state, "epoch": 3, "names": ["a"]})
    model = open_model(LocalSource(str(tmp_path)))
    assert set(model.tensors) == {f"state_dict.{name}" for name in state}
    for name, tensor in state.items():
        read = model.read(f"state_dict.{name}")
        assert read.shape == tuple(tensor.shape)
        assert read.dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert read.tobytes() == tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    assert reassemble(model) == {"pytorch_model.bin": path.read_bytes()}


def test_ties_are_listed_once(tmp_path: Path, reassemble: Reassemble) -> None:
    shared = torch.randn(6, 4)
    state = {
        "lm_head": shared,
        "embed": shared,
        "turned": shared.t(),
        "part": shared[2:4],
        "own": torch.ones(2),
    }
    path = save(tmp_path / "pytorch_model.bin", state)
    model = open_model(LocalSource(str(path)))
    assert set(model.tensors) == {"embed", "own"}
    assert dict(model.ties) == {"lm_head": "embed", "turned": "embed", "part": "embed"}
    assert reassemble(model) == {"pytorch_model.bin": path.read_bytes()}


def test_shards(tmp_path: Path, reassemble: Reassemble) -> None:
    shared = torch.ones(3)
    files = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00001-of-00002.bin"}
    files["c"] = "pytorch_model-00002-of-00002.bin"
    save(tmp_path / files["a"], {"a": shared, "b": shared})
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    with pytest.raises(MalformedFileError, match=r"00002-of-00002\.bin, which is missing"):
        open_model(LocalSource(str(tmp_path)))
    save(tmp_path / files["c"], {"c": torch.zeros(2)})
    model = open_model(LocalSource(str(tmp_path)))
    assert list(model.tensors) == ["a", "c"]
    assert set(reassemble(model)) == set(files.values())
    index.write_text(json.dumps({"weight_map": files | {"d": files["c"]}}))
    with pytest.raises(MalformedFileError, match="where it is not"):
        open_model(LocalSource(str(tmp_path)))


def test_slices_of_one_storage_are_tensors(tmp_path: Path, reassemble: Reassemble) -> None:
    whole = torch.arange(10.0)
    path = save(tmp_path / "pytorch_model.bin", {"a": whole[1:4], "b": whole[5:]})
    model = open_model(LocalSource(str(path)))
    assert model.read("a").tolist() == [1, 2, 3]
    assert model.read("b").tolist() == [5, 6, 7, 8, 9]
    assert reassemble(model) == {"pytorch_model.bin": path.read_bytes()}


def test_complex_tensors_are_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "pytorch_model.bin", {"c": torch.ones(2, 2, dtype=torch.complex64)})
    info = open_model(LocalSource(str(path))).tensors["c"]
    assert (info.format, info.shape) == ("uint8", (32,))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"t": torch.ones(3, 4).t()}, r"strided view; make it contiguous\(\)"),
        ({"a": (w := torch.ones(9))[:5], "b": w[4:]}, r"share a part of their bytes; clone\(\)"),
        ({"s": torch.eye(3).to_sparse()}, "sparse"),
    ],
    ids=["strided", "overlapping", "sparse"],
)
def test_tensors_without_bytes_of_their_own_are_refused(tmp_path: Path, state: object, why: str) -> None:
    path = save(tmp_path / "pytorch_model.bin", state)
    with pytest.raises(UnsupportedModelError, match=why):
        open_model(LocalSource(str(path)))


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("exploited",)


@pytest.mark.parametrize("legacy", [True, False])
def test_code_is_never_run(tmp_path: Path, legacy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": Exploit()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UnsafeFileError, match="save_file"):
        open_model(LocalSource(str(path)))
    assert not (tmp_path / "exploited").exists()


def test_bare_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UnsafeFileError, match="older pickles are not opened"):
        open_model(LocalSource(str(tmp_path / "x.bin")))


def rewritten(
    source: Path, target: Path, change: Callable[[str, bytes], bytes], compression: int = 0
) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "good.bin", {"a": torch.ones(100)})
    bad = tmp_path / "bad.bin"

    rewritten(good, bad, lambda name, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(MalformedFileError, match="compressed"):
        open_model(LocalSource(str(bad)))

    rewritten(good, bad, lambda name, data: data[:396] if name.endswith("data/0") else data)
    with pytest.raises(MalformedFileError, match="does not lie in a record"):
        open_model(LocalSource(str(bad)))

    rewritten(good, bad, lambda name, data: b"big" if name.endswith("byteorder") else data)
    with pytest.raises(UnsupportedModelError, match="little-endian"):
        open_model(LocalSource(str(bad)))

    rewritten(good, bad, lambda name, data: data[:-9] if name.endswith("data.pkl") else data)
    with pytest.raises((MalformedFileError, UnsafeFileError)):
        open_model(LocalSource(str(bad)))

    content = good.read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    for place, patch in ((8, b"\x01"), (42, b"\xff\xff\xff\x7f"), (10, b"\x63"), (24, b"\xff\xff\xff\x7f")):
        altered = bytearray(content)  # flags, offset, method, size of the last entry
        altered[directory + place : directory + place + len(patch)] = patch
        bad.write_bytes(altered)
        with pytest.raises(MalformedFileError):
            open_model(LocalSource(str(bad)))
    for cut in (10, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:cut])
        with pytest.raises(MalformedFileError):
            open_model(LocalSource(str(bad)))


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "good.bin", {"a": torch.ones(100)})
    bad = tmp_path / "bad.bin"

    def enlarge(name: str, data: bytes) -> bytes:
        # the shape (100,) is the first BININT1 100 followed by TUPLE1 in the pickle
        return data.replace(b"K\x64\x85", b"K\x65\x85") if name.endswith("data.pkl") else data

    rewritten(good, bad, enlarge)
    with pytest.raises((MalformedFileError, UnsafeFileError)):
        open_model(LocalSource(str(bad)))
