"""The strict parser of safetensors headers, beside the official library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from weightbench.models import LocalSource, MalformedFileError, TensorInfo, open_model, to_safetensors_header
from weightbench.models.safetensors_header import arrange, parse_header


def raw_file(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def file_of(entries: Any, data: bytes = b"") -> bytes:
    return raw_file(json.dumps(entries).encode(), data)


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


EIGHT = bytes(8)
MALFORMED = {
    "empty": b"",
    "seven bytes": bytes(7),
    "length beyond the file": raw_file(b"{}", length=3),
    "length above 100 MB": raw_file(b"{}", length=100_000_001),
    "length 2^64-1": raw_file(b"{}", length=2**64 - 1),
    "length zero": raw_file(b""),
    "no brace": raw_file(b" {}"),
    "an array": raw_file(b"[]"),
    "cut JSON": raw_file(b'{"a":'),
    "text after the object": raw_file(b"{}{}"),
    "not UTF-8": raw_file(b'{"\xff": 1}'),
    "lone surrogate": raw_file(b'{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    "nested 100000 deep": raw_file(b'{"a":' * 100_000),
    "NaN": raw_file(b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":NaN}}'),
    "number of 5000 digits": raw_file(
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,0]}}'
    ),
    "duplicate tensor": raw_file(
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}',
        EIGHT,
    ),
    "duplicate field": raw_file(b'{"a":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}', EIGHT),
    "entry is a number": file_of({"a": 3}),
    "no dtype": file_of({"a": {"shape": [2], "data_offsets": [0, 8]}}, EIGHT),
    "no shape": file_of({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, EIGHT),
    "no offsets": file_of({"a": {"dtype": "F32", "shape": [2]}}, EIGHT),
    "unknown dtype": file_of({"a": entry("F33")}, EIGHT),
    "lower-case dtype": file_of({"a": entry("f32")}, EIGHT),
    "dtype is a list": file_of({"a": entry(["F32"])}, EIGHT),
    "shape times dtype": file_of({"a": entry(shape=[3])}, EIGHT),
    "other dtype width": file_of({"a": entry("F16")}, EIGHT),
    "negative dimension": file_of({"a": entry(shape=[-2])}, EIGHT),
    "two negative dimensions": file_of({"a": entry(shape=[-1, -2])}, EIGHT),
    "minus zero": raw_file(b'{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'),
    "dimension is a float": file_of({"a": entry(shape=[2.0])}, EIGHT),
    "dimension is true": file_of({"a": entry(shape=[True, 2])}, EIGHT),
    "dimension is text": file_of({"a": entry(shape=["2"])}, EIGHT),
    "shape is a number": file_of({"a": entry(shape=2)}, EIGHT),
    "product of 2^64": file_of({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}),
    "bytes wrap to 8": file_of({"a": entry(shape=[2**62 + 2])}, EIGHT),
    "huge beside zero": file_of({"a": entry(shape=[0, 2**63], offsets=[0, 0])}),
    "65 dimensions": file_of({"a": entry(shape=[1] * 64 + [2])}, EIGHT),
    "half a byte": file_of({"a": entry("F4", [3], [0, 1])}, b"x"),
    "negative offset": file_of({"a": entry(offsets=[-8, 0])}, EIGHT),
    "offsets backwards": file_of({"a": entry(offsets=[8, 0])}, EIGHT),
    "three offsets": file_of({"a": entry(offsets=[0, 4, 8])}, EIGHT),
    "offsets beyond the data": file_of({"a": entry(offsets=[8, 16])}, EIGHT),
    "offset of 2^64": file_of({"a": entry(offsets=[0, 2**64])}, EIGHT),
    "data cut short": file_of({"a": entry()}, bytes(7)),
    "data left over": file_of({"a": entry()}, bytes(9)),
    "data without tensors": file_of({}, EIGHT),
    "hole in front": file_of({"a": entry(offsets=[4, 12])}, bytes(12)),
    "hole between": file_of({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
    "overlap": file_of({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
    "the same bytes twice": file_of({"a": entry(), "b": entry()}, EIGHT),
    "metadata is text": file_of({"__metadata__": "x"}),
    "metadata of numbers": file_of({"__metadata__": {"a": 1}}),
    "metadata nested": file_of({"__metadata__": {"a": {}}}),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(MalformedFileError, match="fetch it again"):
        open_model(LocalSource(str(path)))


def test_refused_before_data_is_touched() -> None:
    class HeaderOnly:
        def __init__(self, content: bytes, limit: int) -> None:
            self.content, self.limit = content, limit

        def __getitem__(self, part: slice) -> bytes:
            assert part.stop <= self.limit
            return self.content[part]

    content = file_of({"a": entry()}, EIGHT)
    assert parse_header(HeaderOnly(content, len(content) - 8), len(content), "x")[0].name == "a"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_consistent(content: bytes) -> None:
    check(content)


names = st.sampled_from(["a", "b", "__metadata__", "ü", ""])
numbers = st.one_of(st.integers(0, 20), st.sampled_from([-1, 2**31, 2**63, 2**64, 1.0, None, True]))
dtypes = st.sampled_from(["F32", "F16", "U8", "BOOL", "F8_E4M3", "F4", "F6_E2M3", "C64", "F8_E8M0", "X"])
entries = st.fixed_dictionaries(
    {
        "dtype": dtypes,
        "shape": st.lists(numbers, max_size=3),
        "data_offsets": st.lists(numbers, min_size=2, max_size=2),
    }
)
right = st.builds(
    lambda dtype, n, start: {"dtype": dtype, "shape": [n], "data_offsets": [start, start + n]},
    st.sampled_from(["U8", "I8", "BOOL", "F8_E5M2"]),
    st.integers(0, 6),
    st.sampled_from([0, 2, 3, 4, 6]),
)


@given(st.dictionaries(names, entries | right | st.dictionaries(names, names)), st.integers(0, 24))
@settings(max_examples=400)
def test_near_miss_headers_agree_with_the_official_library(header: dict[str, Any], data: int) -> None:
    check(file_of(header, bytes(data)))


def check(content: bytes) -> None:
    """Ours accepts exactly what the official library accepts, and says the same of it."""
    try:
        tensors = parse_header(content, len(content), "x")
    except MalformedFileError:
        tensors = None
    try:
        official = official_view(content)
    except SafetensorError:
        official = None
    if tensors is None and official and any(size >= 1 << 63 for shape in official.values() for size in shape):
        return  # NumPy has no such dimension, though an empty tensor may claim one
    if tensors is None or official is None:
        assert tensors is official, f"only one of the two parsers takes {content!r}"
        return
    assert {t.name for t in tensors} == set(official)
    end = len(content) - sum(t.nbytes for t in tensors)
    for tensor in tensors:
        assert tensor.offset == end
        end += tensor.nbytes
        assert tensor.format == "uint8" or tensor.shape == official[tensor.name]
    assert end == len(content)


def official_view(content: bytes) -> dict[str, tuple[int, ...]]:
    return {name: tuple(found["shape"]) for name, found in deserialize(content)}


@pytest.mark.parametrize("width", [4, 2, 1])
def test_headers_are_byte_identical_to_the_official_ones(width: int) -> None:
    dtype = {4: np.float32, 2: ml_dtypes.bfloat16, 1: np.int8}[width]
    arrays = {"a": np.ones((2, 3), dtype), "b.ü": np.ones((), dtype), "c": np.ones((0, 5), dtype)}
    infos = [TensorInfo(n, np.dtype(a.dtype).name, a.shape, a.nbytes) for n, a in arrays.items()]
    ours = to_safetensors_header(infos, {"format": "pt"})
    official = save(arrays, {"format": "pt"})
    assert len(ours) % 8 == 0
    assert official == ours + b"".join(a.tobytes() for a in arrays.values())


def test_arranged_tensors_are_aligned(tmp_path: Path) -> None:
    infos = [
        TensorInfo("odd", "uint8", (3,), 3),
        TensorInfo("wide", "float64", (1,), 8),
        TensorInfo("half", "bfloat16", (3,), 6),
    ]
    ordered = arrange(infos)
    assert [t.name for t in ordered] == ["wide", "half", "odd"]
    header = to_safetensors_header(ordered)
    content = header + bytes(17)
    for tensor in parse_header(content, len(content), "x"):
        assert tensor.offset % {"wide": 8, "half": 2, "odd": 1}[tensor.name] == 0
    (tmp_path / "m.safetensors").write_bytes(content)
    with safe_open(tmp_path / "m.safetensors", "np") as official:
        assert set(official.keys()) == {"odd", "wide", "half"}


@pytest.mark.parametrize("twice", ["a", "__metadata__"])
def test_headers_refuse_names_that_clash(twice: str) -> None:
    infos = [TensorInfo("a", "int8", (1,), 1), TensorInfo(twice, "int8", (1,), 1)]
    with pytest.raises(ValueError, match="two entries"):
        to_safetensors_header(infos)
