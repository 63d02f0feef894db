"""The cases of `python benchmarks/codecs.py`, by family: a generator of cases each; add one to `FAMILIES`.

The vectors' inputs are drawn by the recipes in tests/vectors/*.json. At their full size (not with --quick)
the sizes recorded there of the official FM-Delta, BitX and QStore stand beside ours: they are no packages,
and the speeds beside which ours stand are those of our paper variants.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import lz4.block
import ml_dtypes
import numpy as np
import zstandard
from contestants import Array, Case, Entry, library, line_up, official_zipnn, openzl, ours
from omegaconf import OmegaConf
from qstore import qstore_cases

from weightbench.errors import WeightbenchError
from weightbench.models import Model, ZooSource, cast, open_model
from weightbench.request import model_request
from weightbench.zoo import ZOO
from weightcodecs import get_format

ROOT = Path(__file__).parents[1]
DTYPES: dict[str, Any] = {"bf16": ml_dtypes.bfloat16, "fp32": np.float32, "fp16": np.float16}


@dataclass(frozen=True)
class Scale:
    """How much to measure.

    Attributes:
        threads: counts of threads for what can use several.
        quick: small arrays that check the command and measure nothing.
    """

    threads: tuple[int, ...] = (1, 2)
    quick: bool = False

    def count(self, elements: int) -> int:
        """Return how many elements an array of so many has at this scale."""
        return min(elements, 1 << 15) if self.quick else elements


class FamilySkippedError(Exception):
    """What a family needs is missing; the message says what."""


def vectors(name: str) -> list[dict[str, Any]]:
    """Return the cases of tests/vectors/NAME.json."""
    cases: list[dict[str, Any]] = json.loads((ROOT / f"tests/vectors/{name}.json").read_text())["cases"]
    return cases


def lossless(threads: Sequence[int], values: Array) -> list[Entry]:
    """Return ZipNN's contestants. OpenZL's deconstruction stores fp16 whole: there its generic graph too."""
    entries = [openzl("Huffman"), openzl("Fse")]
    if values.dtype == np.float16:
        entries.append(ours("openzl", role="peer", graph="generic"))
    for count in threads:
        for entropy, rivals in (("auto", ()), ("huffman", ("openzl huffman",)), ("ans", ("openzl fse",))):
            entries.append(ours("zipnn", count, None, ("zipnn official", *rivals), entropy=entropy))
        entries.append(official_zipnn(count))
    return entries


def delta(threads: Sequence[int], base: Array, stored: bool) -> list[Entry]:
    """Return the contestants for a fine-tuned array: BitX, FM-Delta, ZipNN's delta; openzl without base."""
    entries = [openzl("Fse")]
    # The recorded sizes stand first where there are any: they are the official programs'.
    bitx = ("BitX recorded", "bitx paper") if stored else ("bitx paper",)
    fm_delta = ("FM-Delta recorded", "fm_delta paper") if stored else ("fm_delta paper",)
    for count in threads:
        for entropy in ("auto", "smallest"):
            entries.append(ours("bitx", count, base, bitx, entropy=entropy))
        entries.append(ours("bitx", count, base, bitx[:-1], variant="paper"))
        for contexts in (8, 1):
            entries.append(ours("fm_delta", count, base, fm_delta, contexts=contexts))
        entries.append(ours("zipnn_delta", count, base, ("bitx paper",)))
    return [*entries, ours("fm_delta", 1, base, fm_delta[:-1], variant="paper")]


def zipnn_cases(scale: Scale) -> Iterator[Case]:
    """vectors/zipnn.json: Gaussian bf16, fp32 and fp16, and such as were rounded to another format before."""
    for vector in vectors("zipnn"):
        random = np.random.Generator(np.random.PCG64(vector["seed"]))
        values = (random.standard_normal(scale.count(vector["n"])) * vector["sigma"]).astype(np.float32)
        for part in reversed(vector["input"].split("<-")):
            values = values.astype(np.float32).astype(DTYPES[part])
        yield line_up(vector["input"], values, lossless(scale.threads, values))


def fine_tuned(vector: dict[str, Any], elements: int) -> tuple[Array, Array]:
    """Return (base, fine-tuned) by the recipe of vectors/fm_delta.json."""
    random = np.random.Generator(np.random.PCG64(vector["seed"]))
    special = "case" in vector
    base = random.standard_normal(elements) * vector.get("sigma_w", 0.02)
    change = random.standard_normal(elements) * vector.get("sigma_delta", 1e-3)
    if special:
        change[random.random(elements) < 0.5] = 0
    dtype = np.dtype(getattr(ml_dtypes, vector["dtype"], vector["dtype"]))
    way = np.float32 if dtype.name == "bfloat16" else np.float64  # the recipe rounds to bf16 by way of fp32
    low, high = base.astype(way).astype(dtype), (base + change).astype(way).astype(dtype)
    if special:
        high[10:14] = [np.nan, np.inf, -np.inf, -0.0]
        low[14:16] = [np.nan, np.inf]
    return low, high


def pair_cases(scale: Scale) -> Iterator[Case]:
    """Fine-tuned pairs as in vectors/fm_delta.json, of 4 million elements: for speeds."""
    for short, dtype in DTYPES.items():
        vector = {"seed": 20260, "sigma_w": 0.02, "sigma_delta": 1e-4, "dtype": np.dtype(dtype).name}
        base, values = fine_tuned(vector, scale.count(1 << 22))
        yield line_up(f"{short} sigma_delta 1e-4", values, delta(scale.threads, base, stored=False))


def vector_cases(scale: Scale) -> Iterator[Case]:
    """vectors/fm_delta.json, and of BitX on its bf16 pairs vectors/bitx.json: for sizes."""
    bitx = {
        case["sigma_delta"]: case["exponent_plane"] + case["sign_mantissa_plane"] for case in vectors("bitx")
    }
    for vector in vectors("fm_delta"):
        base, values = fine_tuned(vector, scale.count(vector["n"]))
        stored = {}
        if not scale.quick:
            stored["FM-Delta recorded"] = vector["size"]
            if vector["dtype"] == "bfloat16":
                stored["BitX recorded"] = bitx[vector["sigma_delta"]]
        name = f"{vector['dtype']} {vector.get('case') or vector['sigma_delta']}"
        yield line_up(name, values, delta(scale.threads, base, stored=True), stored)


def weights(model: Model, elements: int) -> Array:
    """Return a model's float tensors as one array."""
    floats = [info.name for info in model.tensors.values() if get_format(info.format).is_float]
    return np.concatenate([model.read(name).reshape(-1) for name in floats])[:elements]


def zoo_cases(scale: Scale) -> Iterator[Case]:
    """The bundled llama, whole, and its fine-tunes as deltas from it; fp32 and cast to bf16."""
    elements = scale.count(1 << 40)
    for short, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        read = {name: weights(cast(open_model(ZooSource(name)), dtype), elements) for name in ZOO}
        for name, entry in ZOO.items():
            if entry.base is None:
                yield line_up(f"{short} {name}", read[name], lossless(scale.threads, read[name]))
            else:
                base = read[entry.base]
                yield line_up(f"{short} {name}", read[name], delta(scale.threads, base, stored=False))


def minilm_cases(scale: Scale) -> Iterator[Case]:
    """all-MiniLM-L6-v2, whole: fp32, and cast to bf16 and fp16."""
    try:
        config = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/model/minilm.yaml"))
        model = open_model(model_request(config).source)  # type: ignore[arg-type]
        for short, dtype in (("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")):
            values = weights(cast(model, dtype), scale.count(1 << 40))
            yield line_up(f"{short} minilm", values, lossless(scale.threads, values))
    except (WeightbenchError, OSError) as error:
        raise FamilySkippedError(str(error)) from None


def elf_cases(scale: Scale) -> Iterator[Case]:
    """Elf with and without its entropy stage, ZipNN's fixed point and SZ3, on 16 MiB N(0, .02)."""
    for dtype in ("float32", "float16", "float64"):
        elements = scale.count((16 << 20) // np.dtype(dtype).itemsize)
        values = (np.random.default_rng(0).standard_normal(elements) * 0.02).astype(dtype)
        factor = {"float32": 23, "float16": 10, "float64": 52}[dtype]
        entries = [
            ours("elf", n, None, ("elf paper none",), entropy=e)
            for n in scale.threads
            for e in ("none", "auto", "zstd")
        ]
        entries += [ours("zipnn_lossy", n, None, ("elf paper none",), factor=factor) for n in scale.threads]
        entries.append(ours("elf", variant="paper", entropy="none"))
        if dtype == "float32":
            entries.append(ours("sz3", role="peer", error_bound_absolute=6e-8))
        yield line_up(f"{dtype} N(0,.02)", values, entries)


def adapter_cases(scale: Scale) -> Iterator[Case]:
    """zstd, lz4 and brotli beside the same library called directly, 8 MiB of bf16 N(0, .02)."""
    values = gaussian(scale.count(1 << 22)).astype(ml_dtypes.bfloat16)
    size = values.nbytes
    entries = [
        ours("zstd", 1, None, ("zstd library 1",), level=1),
        ours("zstd", 1, None, ("zstd library 3",), level=3),
        ours("lz4", 1, None, ("lz4 library",)),
        ours("brotli", 1, None, ("brotli library 1",), quality=1),
    ]
    for level in (1, 3):
        name, encode = f"zstd library {level}", zstandard.ZstdCompressor(level=level).compress
        entries.append(library(name, encode, lambda data: zstandard.ZstdDecompressor().decompress(data)))
    fast: Callable[[Any], Any] = lambda data: lz4.block.compress(data, store_size=False)  # noqa: E731
    entries.append(
        library("lz4 library", fast, lambda data: lz4.block.decompress(data, uncompressed_size=size))
    )
    entries.append(
        library("brotli library 1", lambda data: brotli.compress(data, quality=1), brotli.decompress)
    )
    yield line_up("bf16 N(0,.02)", values, entries)


def peer_cases(scale: Scale) -> Iterator[Case]:
    """Every other codec as one configures it by name, 4 MiB of N(0, .02), one thread."""
    for short in ("bf16", "fp32"):
        values = gaussian(scale.count((4 << 20) // np.dtype(DTYPES[short]).itemsize)).astype(DTYPES[short])
        entries = [ours("zipnn")]
        names = [
            "bg4_lz4",
            "blosc2",
            "pcodec",
            "fpzip",
            "zfp",
            "zlib",
            "xz",
            "distance",
            "sz3",
            "int8",
            "nf4",
        ]
        entries += [ours(name, role="peer") for name in names]
        entries += [
            ours("blosc2", role="peer", filter="bitshuffle"),
            ours("openzl", role="peer", graph="generic"),
        ]
        yield line_up(f"{short} N(0,.02)", values, entries)


def gaussian(elements: int) -> Array:
    """N(0, .02), the generator of vectors/zipnn.json."""
    random = np.random.Generator(np.random.PCG64(4242))
    return (random.standard_normal(elements) * 0.02).astype(np.float32)


FAMILIES: dict[str, Callable[[Scale], Iterator[Case]]] = {
    "zipnn": zipnn_cases,
    "pairs": pair_cases,
    "vectors": vector_cases,
    "zoo": zoo_cases,
    "minilm": minilm_cases,
    "qstore": lambda scale: qstore_cases(32 if scale.quick else 4096, scale.threads),
    "elf": elf_cases,
    "adapters": adapter_cases,
    "peers": peer_cases,
}
"""Add a family: one function, which yields cases."""
