"""Blobs that were made to do harm: their checksums are right, and nothing else needs to be."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from configurations import BROUGHT, TRUSTING, configurations
from corpus import references, refused, weights
from fuzz import resealed

import weightcodecs
from weightcodecs import FORMATS, Codec, CorruptBlobError, WrongReferenceError
from weightcodecs.blob import parse_blob, seal

FUZZ = Path(__file__).parent / "fuzz.py"
CODECS = [pytest.param(codec, id=name) for name, codec in configurations()]
FLOAT32 = FORMATS["float32"]
HUGE_SHAPES = [
    (1 << 40,),
    (1 << 20, 1 << 20),
    (1 << 36,),
    (1 << 62,),
    (1 << 64,),
    (0, 1 << 64),
    (0, 1 << 62, 1 << 62),
]


def fuzz(mutations: int, *more: str, env: dict[str, str] | None = None, timeout: int = 250) -> None:
    """Run the fuzzer in a process of its own, because a defect in a kernel may end it."""
    command = [sys.executable, str(FUZZ), "--mutations", str(mutations), *more]
    ran = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ran.returncode == 0, f"exit code {ran.returncode}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    assert "decoded" in ran.stdout, "no mutation went through the decoders"


def test_fuzz_quickly() -> None:
    fuzz(5000)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("codec", sorted(set(BROUGHT) - TRUSTING))
def test_fuzz_long(codec: str) -> None:
    """A million mutations for each codec."""
    fuzz(1_000_000, "--codec", codec, "--seed", "7", timeout=7000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fuzz_with_checked_indices(tmp_path: Path) -> None:
    """Kernels check no index; compiled with checks, none of them leaves its arrays on any mutation."""
    env = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    fuzz(100_000, "--seed", "11", env=env, timeout=3500)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", HUGE_SHAPES, ids=str)
def test_shape_claims(codec: Codec, shape: tuple[int, ...]) -> None:
    """A blob of some sixty bytes that declares 2^36 elements and more costs no memory to refuse."""
    format = next(f for f in (FLOAT32, *FORMATS.values()) if not refused(codec, f))
    values = np.tile(weights(format, 1), 400)
    info = parse_blob(codec.encode(values, **references(codec, values)))
    for raw in (False, True):
        blob = seal(
            io.BytesIO(bytes(info.payload)),
            codec=info.codec,
            version=info.version,
            format=format,
            shape=shape,
            raw=raw,
            parameters=info.parameters,
            reference=info.reference,
        )
        tracemalloc.start()
        try:
            with pytest.raises((CorruptBlobError, WrongReferenceError)):
                codec.decode(blob, **references(codec, values))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 32 << 20


def test_footer_length_is_checked() -> None:
    """A payload that ends like a footer cannot become one by turning the length alone."""
    real = parse_blob(weightcodecs.get_codec("identity").encode(np.zeros(1, np.uint8)))
    footer_length = 4 + len("identity") + 1 + 1 + 1
    # What a longer footer would start with; its parameters would swallow the real one.
    shape = (3).to_bytes(1, "little")
    fake = bytes((1, FORMATS["uint8"].code, real.version, 8)) + b"identity" + b"\x01" + shape
    fake += bytes((footer_length,))
    blob = bytearray(weightcodecs.get_codec("identity").encode(np.frombuffer(b"abc" + fake, np.uint8)))
    at = len(blob) - 14
    assert int.from_bytes(blob[at : at + 2], "little") == footer_length
    blob[at] = footer_length + len(fake)
    with pytest.raises(CorruptBlobError, match="checksum"):
        weightcodecs.decode(blob)
    # With a right checksum it is a blob of "abc", as its footer says.
    sealed = resealed(bytes(blob[:at]), footer_length + len(fake))
    assert bytes(weightcodecs.decode(sealed)) == b"abc"


@pytest.mark.parametrize("name", ["zstd", "zlib", "xz", "brotli", "lz4"])
def test_bytes_behind_a_stream(name: str) -> None:
    """A library's stream that ends early, or has something behind it, is not what the codec wrote."""
    values = np.tile(weights(FLOAT32, 20), 50)
    info = parse_blob(weightcodecs.get_codec(name).encode(values))
    stream = bytes(info.payload)
    for payload in (stream + b"\0", stream + stream, stream + b"junk" * 100, stream[:-1], stream[1:], b""):
        blob = seal(
            io.BytesIO(payload),
            codec=name,
            version=1,
            format=FLOAT32,
            shape=(1000,),
            parameters=info.parameters,
        )
        with pytest.raises(CorruptBlobError):
            weightcodecs.decode(blob)


@pytest.mark.parametrize("name", ["zstd", "zlib", "xz", "brotli", "lz4"])
@pytest.mark.parametrize("count", [999, 1001, 1, 100_000])
def test_streams_of_another_length(name: str, count: int) -> None:
    info = parse_blob(weightcodecs.get_codec(name).encode(np.zeros(1000, np.float32)))
    blob = seal(io.BytesIO(bytes(info.payload)), codec=name, version=1, format=FLOAT32, shape=(count,))
    with pytest.raises(CorruptBlobError):
        weightcodecs.decode(blob)


@pytest.mark.parametrize("name", ["", "nosuch", "ELF", "elf ", "é", "../elf", "_zstd"])
def test_unknown_codecs(name: str) -> None:
    if name.isascii():
        blob = seal(io.BytesIO(b""), codec=name, version=1, format=FLOAT32, shape=(0,))
    else:
        coded = name.encode()
        footer = bytes((1, FLOAT32.code, 1, len(coded))) + coded + b"\x01\0\0"
        blob = resealed(footer, len(footer))
    with pytest.raises(CorruptBlobError):
        weightcodecs.decode(blob)
