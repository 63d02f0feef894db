"""Codecs beside the official programs, openzl and memcpy: one process, rounds interleaved, each verified.

    python benchmarks/codecs.py [--only bf16] [--elements 8388608] [--rounds 7] [--threads 1]

A case is an array (and its base, for delta codecs) and the contestants that code it; add one to `FAMILIES`.
Every contestant gets a private copy of the array, made outside the timed region, because zipnn rewrites its
input; outputs are allocated in every round, as the other packages do. Speeds are of original bytes, medians
over the rounds. The machine is shared: read the shares, which compare times of the same round, and not the
MB/s. With --clock cpu (what one thread is best judged by under load) the time is that of the process on its
cores, system calls and page faults included; with --clock wall it is that of the clock. A family whose package or file is missing is left out, and says so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from weightcodecs import WeightCodecsError, get_codec

Array = NDArray[Any]


@dataclass(frozen=True)
class Contestant:
    """A program under test: `prepare` is not timed, `encode` gets what it returns."""

    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    prepare: Callable[[Array], Any] = np.copy


@dataclass(frozen=True)
class Case:
    """An array and who codes it; shares are of the contestant named `beside`, and of memcpy."""

    name: str
    values: Array
    contestants: tuple[Contestant, ...]
    beside: str


def memcpy() -> Contestant:
    """Copying into fresh memory: the most that any codec could do."""
    return Contestant("memcpy", np.copy, np.copy, lambda values: values)


def ours(name: str, threads: int, base: Array | None = None, **config: Any) -> Contestant:
    """One of our codecs, checksum and header included."""
    codec = get_codec(name, **config)
    options = " ".join(str(value) for value in config.values())
    return Contestant(
        f"{name} {options}".strip(),
        partial(codec.encode, reference=base, threads=threads),
        partial(codec.decode, reference=base, threads=threads),
    )


def official_zipnn(dtype: str, threads: int) -> Contestant:
    """The zipnn package."""
    import zipnn

    coder = zipnn.ZipNN(method="HUFFMAN", input_format="byte", bytearray_dtype=dtype, threads=threads)
    return Contestant(
        "zipnn official", coder.compress, coder.decompress, lambda values: bytearray(values.tobytes())
    )


def openzl(values: Array, graph: str) -> Contestant:
    """The openzl package: float deconstruct, fractions stored, exponents through `graph` (Huffman or Fse)."""
    import openzl.ext as zl

    nodes = {
        "bfloat16": "BFloat16Deconstruct",
        "float16": "Float16Deconstruct",
        "float32": "Float32Deconstruct",
    }
    compressor = zl.Compressor()
    compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
    fraction, exponent = zl.graphs.Store()(compressor), getattr(zl.graphs, graph)()(compressor)
    node = getattr(zl.nodes, nodes[values.dtype.name])()
    compressor.select_starting_graph(node(compressor, fraction, exponent))

    def encode(words: Array) -> Any:
        context = zl.CCtx()
        context.ref_compressor(compressor)
        return context.compress([zl.Input(zl.Type.Numeric, words)])

    def decode(coded: bytes) -> Any:
        return zl.DCtx().decompress(coded)[0].content.as_nparray()

    return Contestant(
        f"openzl {graph.lower()}", encode, decode, lambda array: array.view(f"u{array.itemsize}").copy()
    )


def zstd_bitx(base: Array) -> Contestant:
    """BitX as published, in the bytes of its release: our paper variant (the release is a Rust program)."""
    return ours("bitx", 1, base, variant="paper")


# -- the cases -------------------------------------------------------------------------------------------


def gaussian(elements: int, sigma: float = 0.02) -> NDArray[np.float32]:
    """N(0, sigma), the generator of vectors/zipnn.json."""
    random = np.random.Generator(np.random.PCG64(4242))
    return (random.standard_normal(elements) * sigma).astype(np.float32)


def zipnn_cases(elements: int, threads: int) -> Iterator[Case]:
    """Lossless, Gaussian: fp32, bf16 and fp16."""
    plain = gaussian(elements)
    for short, dtype in (("bf16", ml_dtypes.bfloat16), ("fp32", np.float32), ("fp16", np.float16)):
        values = plain.astype(dtype)
        rivals = [official_zipnn(values.dtype.name, threads)]
        if threads == 1:
            rivals += [openzl(values, graph) for graph in ("Huffman", "Fse")]
        mine = [ours("zipnn", threads, entropy=entropy) for entropy in ("huffman", "auto", "ans")]
        yield Case(f"{short} N(0,.02)", values, (memcpy(), *mine, *rivals), "zipnn official")


def delta_cases(elements: int, threads: int) -> Iterator[Case]:
    """Fine-tuned pairs: N(0, .02) and N(0, 1e-4) on top."""
    plain = gaussian(elements)
    moved = plain + np.random.default_rng(1).standard_normal(elements).astype(np.float32) * np.float32(1e-4)
    for short, dtype in (("bf16", ml_dtypes.bfloat16), ("fp32", np.float32), ("fp16", np.float16)):
        base, values = plain.astype(dtype), moved.astype(dtype)
        mine = [ours("bitx", threads, base, entropy=entropy) for entropy in ("auto", "smallest")]
        mine += [ours("zipnn_delta", threads, base)]
        yield Case(f"{short} pair", values, (memcpy(), *mine, zstd_bitx(base)), "bitx paper")


def fm_delta_cases(elements: int, threads: int) -> Iterator[Case]:
    """FM-Delta on pairs of its vectors' kind; its own program is no package, so beside the paper's stream."""
    rng = np.random.default_rng(5)
    weight, change = gaussian(elements), rng.standard_normal(elements) * 1e-4
    for short, dtype in (("bf16", ml_dtypes.bfloat16), ("fp16", np.float16), ("fp32", np.float32)):
        base = weight.astype(dtype)
        values = (weight + change).astype(np.float32).astype(dtype)
        mine = [ours("fm_delta", threads, base, contexts=contexts) for contexts in (8, 1)]
        paper = ours("fm_delta", 1, base, variant="paper")
        yield Case(f"{short} fm_delta", values, (memcpy(), *mine, paper, openzl(values, "Fse")), paper.name)


def elf_cases(elements: int, threads: int) -> Iterator[Case]:
    """Elf with and without its entropy stage, and ZipNN's fixed point."""
    mine = [ours("elf", threads, entropy=entropy) for entropy in ("none", "auto", "zstd")]
    mine += [ours("zipnn_lossy", threads, factor=23)]
    yield Case("fp32 N(0,.02), bounded", gaussian(elements), (memcpy(), *mine), "elf zstd")


FAMILIES = (zipnn_cases, delta_cases, fm_delta_cases, elf_cases)
"""Add a codec: one function here, which yields cases."""


# -- measuring -------------------------------------------------------------------------------------------


def measure(case: Case, rounds: int, clock: Callable[[], float]) -> None:
    """Run one case and print its table."""
    times: dict[str, list[tuple[float, float]]] = {one.name: [] for one in case.contestants}
    sizes: dict[str, int] = {}
    order = list(case.contestants)
    shuffle = np.random.default_rng(7)
    for turn in range(rounds + 1):
        shuffle.shuffle(order)  # type: ignore[arg-type]
        for one in order:
            private = one.prepare(case.values)
            begin = clock()
            coded = one.encode(private)
            middle = clock()
            decoded = one.decode(coded)
            end = clock()
            _verify(case, one, decoded)
            sizes[one.name] = coded.nbytes if isinstance(coded, np.ndarray) else len(coded)
            if turn:  # the first round compiles
                times[one.name].append((middle - begin, end - middle))
    nbytes, bits = case.values.nbytes, 8 / case.values.size
    print(f"\n{case.name}, {nbytes / 1e6:.0f} MB")
    print(
        f"{'':18s} {'ratio':>8s} {'bits':>8s} {'encode MB/s':>12s} {'decode MB/s':>12s}"
        f"   {'share of memcpy':>16s}   {case.beside + ' =1':>18s}"
    )
    for one in case.contestants:
        mine = times[one.name]
        speeds = [nbytes / 1e6 / median(t[way] for t in mine) for way in (0, 1)]
        shares = []
        for other in ("memcpy", case.beside):
            for way in (0, 1):
                shares.append(
                    median(theirs[way] / t[way] for theirs, t in zip(times[other], mine, strict=True))
                )
        print(
            f"{one.name:18s} {nbytes / sizes[one.name]:8.4f} {bits * sizes[one.name]:8.4f} "
            f"{speeds[0]:12.0f} {speeds[1]:12.0f}   {shares[0]:8.3f} {shares[1]:7.3f}   "
            f"{shares[2]:10.2f} {shares[3]:7.2f}"
        )


def _verify(case: Case, one: Contestant, decoded: Any) -> None:
    flat = np.frombuffer(decoded, np.uint8) if not isinstance(decoded, np.ndarray) else decoded
    wanted = case.values.view(np.uint8)
    got = flat.reshape(-1).view(np.uint8)
    if one.name.startswith(("elf", "zipnn_lossy")):
        error = np.abs(got.view(case.values.dtype).astype(np.float64) - case.values).max()
        if error > 2.0**-24:
            raise RuntimeError(f"{case.name}, {one.name}: an error of {error}")
    elif not np.array_equal(got, wanted):
        raise RuntimeError(f"{case.name}, {one.name}: the round trip changed the data")


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--elements", type=int, default=1 << 23)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    for family in FAMILIES:
        try:
            for case in family(options.elements, options.threads):
                if options.only in case.name:
                    measure(case, options.rounds, clock)
        except (ImportError, WeightCodecsError) as error:
            print(f"\n{family.__name__}: left out: {error}")


if __name__ == "__main__":
    main()
