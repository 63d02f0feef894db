"""Entropy kernels beside memcpy, zipnn and openzl on bf16 Gaussian weights, in one process.

    python benchmarks/entropy.py [--elements 16777216] [--rounds 7] [--threads 1]

Every coder gets the same words. Ours splits them into the exponent plane and the plane of sign and mantissa
in pieces that fit the L2 cache, and codes both through ``kernels.plane_chunk``: what a codec of this
package does, less its header. Rounds are interleaved.
Outputs are allocated in every round, as the other packages do, and every
round is verified. Speeds are of original bytes; read the last two columns, the share of memcpy measured in
the same rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import ml_dtypes
import numpy as np
from numba import njit
from numpy.typing import NDArray

from weightcodecs.entropy import METHODS, decode_plane, encode_plane
from weightcodecs.kernels.plane_chunk import decode_chunk, encode_chunk

PIECE = 1 << 17
Words = NDArray[np.uint16]
Coder = tuple[Callable[[Words], Any], Callable[[Any], Any]]


@njit(nogil=True, cache=True)
def _split_encode(words, allowed, out, sizes):  # type: ignore[no-untyped-def]
    exponents = np.empty(PIECE, np.uint8)
    fractions = np.empty(PIECE, np.uint8)
    at = 0
    for piece in range(sizes.shape[0]):
        start = piece * PIECE
        size = min(PIECE, words.size - start)
        for index in range(size):
            word = words[start + index]
            exponents[index] = np.uint8(word >> 7)
            fractions[index] = np.uint8(((word >> 8) & 0x80) | (word & 0x7F))
        sizes[piece, 0] = encode_chunk(exponents, 0, size, out, at, allowed)
        at += sizes[piece, 0]
        sizes[piece, 1] = encode_chunk(fractions, 0, size, out, at, allowed)
        at += sizes[piece, 1]
    return at


@njit(nogil=True, cache=True)
def _decode_merge(stream, sizes, words):  # type: ignore[no-untyped-def]
    exponents = np.empty(PIECE, np.uint8)
    fractions = np.empty(PIECE, np.uint8)
    at = 0
    good = True
    for piece in range(sizes.shape[0]):
        start = piece * PIECE
        size = min(PIECE, words.size - start)
        good &= decode_chunk(stream, at, sizes[piece, 0], exponents, 0, size)
        at += sizes[piece, 0]
        good &= decode_chunk(stream, at, sizes[piece, 1], fractions, 0, size)
        at += sizes[piece, 1]
        for index in range(size):
            fraction = np.uint16(fractions[index])
            words[start + index] = (
                (fraction & 0x80) << 8 | np.uint16(exponents[index]) << 7 | (fraction & 0x7F)
            )
    return good


def ours(method: str) -> Coder:
    """Split, code, decode and merge with the kernels of this package."""

    def encode(words: Words) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
        pieces = -(-words.size // PIECE)
        sizes = np.empty((pieces, 2), np.int64)
        out = np.empty(words.nbytes + 2 * pieces, np.uint8)
        return out[: _split_encode(words, METHODS[method], out, sizes)], sizes, words.size

    def decode(coded: tuple[NDArray[np.uint8], NDArray[np.int64], int]) -> Words:
        words = np.empty(coded[2], np.uint16)
        if not _decode_merge(coded[0], coded[1], words):
            raise RuntimeError("a chunk that was just written is corrupt")
        return words

    return encode, decode


def official_zipnn(threads: int) -> Coder:
    """The zipnn package; its input is a private copy, for it rewrites what it is given."""
    import zipnn

    coder = zipnn.ZipNN(method="HUFFMAN", input_format="byte", bytearray_dtype="bfloat16", threads=threads)
    return coder.compress, coder.decompress


def openzl(graph: str) -> Coder:
    """The openzl package: fractions stored, exponents through ``graph`` (Huffman or Fse)."""
    import openzl.ext as zl

    compressor = zl.Compressor()
    compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
    fraction, exponent = zl.graphs.Store()(compressor), getattr(zl.graphs, graph)()(compressor)
    compressor.select_starting_graph(zl.nodes.BFloat16Deconstruct()(compressor, fraction, exponent))

    def encode(words: Words) -> Any:
        context = zl.CCtx()
        context.ref_compressor(compressor)
        return context.compress([zl.Input(zl.Type.Numeric, words)])

    def decode(coded: bytes) -> Any:
        return zl.DCtx().decompress(coded)[0].content.as_nparray()

    return encode, decode


@dataclass
class Times:
    """Seconds of every round."""

    encode: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)
    size: int = 0


def _size(coded: Any) -> int:
    # Our directory costs three bytes a chunk.
    if isinstance(coded, tuple):
        return int(coded[0].size + 3 * coded[1].size)
    return memoryview(coded).nbytes


def _words(decoded: Any) -> Words:
    return np.frombuffer(decoded, np.uint16) if isinstance(decoded, (bytes, bytearray)) else decoded


def _round(name: str, coder: Coder, words: Words, times: Times) -> None:
    private: Any = words.copy()
    if name == "zipnn":
        private = bytearray(private.tobytes())
    begin = time.perf_counter()
    coded = coder[0](private)
    middle = time.perf_counter()
    decoded = coder[1](coded)
    times.decode.append(time.perf_counter() - middle)
    times.encode.append(middle - begin)
    times.size = _size(coded)
    if not np.array_equal(_words(decoded).view(np.uint16).ravel(), words):
        raise RuntimeError(f"{name}: the round trip changed the data")


def bench_formats(words: Words, rounds: int, threads: int) -> None:
    """Print the table of whole bf16 codecs."""
    coders: dict[str, Coder] = {"memcpy": (np.copy, np.copy)}
    coders |= {f"ours {method}": ours(method) for method in ("huffman", "ans")}
    for name, make in (
        ("zipnn", lambda: official_zipnn(threads)),
        ("openzl huffman", lambda: openzl("Huffman")),
        ("openzl fse", lambda: openzl("Fse")),
    ):
        try:
            coders[name] = make()  # type: ignore[no-untyped-call]
        except ImportError:
            print(f"{name}: not installed, left out")
    times = {name: Times() for name in coders}
    for turn in range(rounds + 1):
        for name, coder in coders.items():
            _round(name, coder, words, times[name])
        if turn == 0:  # compilation and warm-up
            for name in coders:
                times[name].encode.clear()
                times[name].decode.clear()
    print(f"{'bf16 Gaussian':16s} {'ratio':>7s} {'encode MB/s':>17s} {'decode MB/s':>17s}   share of memcpy")
    copy = times["memcpy"]
    for name, row in times.items():
        speeds = [words.nbytes / 1e6 / pick(t) for t in (row.encode, row.decode) for pick in (min, median)]
        shares = (min(copy.encode) / min(row.encode), min(copy.decode) / min(row.decode))
        print(
            f"{name:16s} {words.nbytes / row.size:7.4f} {speeds[0]:8.0f} ({speeds[1]:6.0f}) "
            f"{speeds[2]:8.0f} ({speeds[3]:6.0f})   {shares[0]:.3f} {shares[1]:.3f}"
        )


def _planes(words: Words) -> dict[str, NDArray[np.uint8]]:
    random = np.random.default_rng(1)
    base = words[: 1 << 22].view(ml_dtypes.bfloat16).astype(np.float32)
    near = (base + 1e-4 * random.standard_normal(base.size).astype(np.float32)).astype(ml_dtypes.bfloat16)
    changed = near.view(np.uint16) ^ words[: 1 << 22]
    half = base.astype(np.float16).view(np.uint16)
    return {
        "bf16 exponents": (words[: 1 << 22] >> 7).astype(np.uint8),
        "bf16 fractions": ((words[: 1 << 22] & 0x7F) | ((words[: 1 << 22] >> 8) & 0x80)).astype(np.uint8),
        "fp16 high bytes": (half >> 8).astype(np.uint8),
        "XOR exponents": (changed >> 7).astype(np.uint8),
        "XOR fractions": ((changed & 0x7F) | ((changed >> 8) & 0x80)).astype(np.uint8),
    }


def bench_planes(words: Words, rounds: int, threads: int) -> None:
    """Print size and speed of single planes, in bits and bytes of the plane."""
    print(
        f"\n{'plane':16s} {'method':8s} {'entropy':>8s} {'bits':>8s}"
        f" {'encode MB/s':>12s} {'decode MB/s':>12s}"
    )
    for name, plane in _planes(words).items():
        share = np.bincount(plane, minlength=256) / plane.size
        entropy = -float(np.sum(share[share > 0] * np.log2(share[share > 0])))
        for method in ("huffman", "ans", "auto"):
            encode: list[float] = []
            decode: list[float] = []
            for _ in range(rounds + 1):
                begin = time.perf_counter()
                coded = encode_plane(plane, method=method, threads=threads)
                middle = time.perf_counter()
                decoded = decode_plane(coded, plane.size, threads=threads)
                decode.append(time.perf_counter() - middle)
                encode.append(middle - begin)
                if not np.array_equal(decoded, plane):
                    raise RuntimeError(f"{name}: the round trip changed the data")
            print(
                f"{name:16s} {method:8s} {entropy:8.4f} {8 * len(coded) / plane.size:8.4f} "
                f"{plane.size / 1e6 / min(encode):12.0f} {plane.size / 1e6 / min(decode):12.0f}"
            )


def main() -> None:
    """Run both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=1 << 24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    random = np.random.Generator(np.random.PCG64(4242))
    weights = (random.standard_normal(options.elements) * 0.02).astype(np.float32)
    words = weights.astype(ml_dtypes.bfloat16).view(np.uint16)
    bench_formats(words, options.rounds, options.threads)
    bench_planes(words, options.rounds, options.threads)


if __name__ == "__main__":
    main()
