"""Who codes an array: our codecs, the official packages, openzl, libraries called directly, and memcpy.

A contestant's `prepare` is not timed and makes a private copy (zipnn rewrites its input, even bytes); what it
returns `encode` gets. Outputs are allocated by every call, as the packages do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weightbench.verify import check, same_bits
from weightcodecs import Codec, MissingExtraError, format_of, get_codec

Array = NDArray[Any]


@dataclass(frozen=True)
class Contestant:
    """A program under test.

    Attributes:
        name: with its options.
        role: ours, official (the authors' program, or a library called directly), peer or memcpy.
        encode: codes what `prepare` returned; None where only decoding is measured (then that is decoded).
        decode: takes what `encode` returned.
        came_back: whether the decoded object holds the case's array, within the codec's promise.
        prepare: makes the private copy.
        threads: how many it may use.
        against: names of what it is compared with, the first in the table; of as many threads, or else one.
        options: of our codecs.
        nbytes: bytes that its speeds are of; None: the case's.
        copy: the memcpy of as many bytes.
    """

    name: str
    role: Literal["ours", "official", "peer", "memcpy"]
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any]
    came_back: Callable[[Array, Any], bool]
    prepare: Callable[[Array], Any] = np.copy
    threads: int = 1
    against: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    nbytes: int | None = None
    copy: str = "memcpy"


Entry = Callable[[Array], Contestant]
"""Makes a contestant for an array; raises ImportError or MissingExtraError where its package is missing."""


@dataclass(frozen=True)
class Case:
    """An array and who codes it.

    Attributes:
        name: unique in its family.
        values: the array.
        contestants: memcpy first.
        skipped: (who, why).
        stored: sizes that the official programs reached on this very array, in bytes, measured elsewhere.
    """

    name: str
    values: Array
    contestants: tuple[Contestant, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    stored: dict[str, int] = field(default_factory=dict)


class SkippedError(Exception):
    """A contestant that cannot take part in a case: its name, and why."""


def line_up(name: str, values: Array, entries: Iterable[Entry], stored: dict[str, int] | None = None) -> Case:
    """Make a case of memcpy and the contestants that can take part."""
    present, skipped = [memcpy("memcpy", values)], []
    for entry in entries:
        try:
            present.append(entry(values))
        except SkippedError as error:
            skipped.append((str(error.args[0]), str(error.args[1])))
    return Case(name, values, tuple(present), tuple(skipped), stored or {})


def same_bytes(values: Array, decoded: Any) -> bool:
    """Whether a buffer starts with the array's bytes (zipnn's is padded)."""
    data = np.frombuffer(decoded, np.uint8) if not isinstance(decoded, np.ndarray) else decoded
    got = data.reshape(-1).view(np.uint8)[: values.nbytes]
    return got.size == values.nbytes and same_bits(values.reshape(-1).view(np.uint8), got)


def memcpy(name: str, values: Array) -> Contestant:
    """Copying into fresh memory: the most that any codec could do."""
    return Contestant(
        name, "memcpy", np.copy, np.copy, lambda _, got: same_bytes(values, got), lambda _: values,
        nbytes=values.nbytes, copy=name,
    )  # fmt: skip


def ours(
    codec_name: str, threads: int = 1, base: Array | None = None, against: Iterable[str] = (),
    role: Literal["ours", "peer"] = "ours", **config: Any,
) -> Entry:  # fmt: skip
    """One of our codecs, or our adapter of a peer: checksum and header included, `base` its reference."""
    name = " ".join([codec_name, *(str(value) for value in config.values())])

    def enter(values: Array) -> Contestant:
        try:
            codec = get_codec(codec_name, **config)
        except MissingExtraError as error:
            raise SkippedError(name, str(error)) from None
        if reason := codec.unsupported(format_of(values)):
            raise SkippedError(name, reason)
        return Contestant(
            name, role,
            partial(codec.encode, reference=base, threads=threads),
            partial(codec.decode, reference=base, threads=threads),
            partial(_kept_promise, codec), threads=threads, against=tuple(against), options=codec.config(),
        )  # fmt: skip

    return enter


def _kept_promise(codec: Codec, values: Array, decoded: Array) -> bool:
    return check(codec, values, decoded)[0].violation is None


def official_zipnn(threads: int) -> Entry:
    """The zipnn package on bytes, padded to whole words: it reads beyond its input otherwise."""

    def enter(values: Array) -> Contestant:
        try:
            with warnings.catch_warnings():  # it imports torch.jit, which says that it is old
                warnings.simplefilter("ignore", DeprecationWarning)
                import zipnn
        except ImportError as error:
            raise SkippedError("zipnn official", f"{error}; pip install weightbench[baselines]") from None
        kind = values.dtype.name
        coder = zipnn.ZipNN(method="HUFFMAN", input_format="byte", bytearray_dtype=kind, threads=threads)
        return Contestant(
            "zipnn official", "official", coder.compress, coder.decompress, same_bytes,
            lambda array: bytearray(array.tobytes()) + bytes(-array.nbytes % 4), threads=threads,
        )  # fmt: skip

    return enter


def openzl(graph: Literal["Huffman", "Fse"]) -> Entry:
    """The openzl package: float deconstruct, fractions stored, exponents coded by `graph`; one thread."""
    name = f"openzl {graph.lower()}"

    def enter(values: Array) -> Contestant:
        try:
            import openzl.ext as zl
        except ImportError as error:
            raise SkippedError(name, f"{error}; pip install weightbench[baselines]") from None
        nodes = {"bfloat16": "BFloat16", "float16": "Float16", "float32": "Float32"}
        if values.dtype.name not in nodes:
            raise SkippedError(name, f"it has no deconstruction of {values.dtype.name}")
        compressor = zl.Compressor()
        compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        fraction, exponent = zl.graphs.Store()(compressor), getattr(zl.graphs, graph)()(compressor)
        node = getattr(zl.nodes, f"{nodes[values.dtype.name]}Deconstruct")()
        compressor.select_starting_graph(node(compressor, fraction, exponent))

        def encode(words: Array) -> Any:
            context = zl.CCtx()
            context.ref_compressor(compressor)
            return context.compress([zl.Input(zl.Type.Numeric, words)])

        def decode(coded: bytes) -> Any:
            return zl.DCtx().decompress(coded)[0].content.as_nparray()

        return Contestant(
            name, "peer", encode, decode, same_bytes, lambda array: array.view(f"u{array.itemsize}").copy()
        )

    return enter


def library(name: str, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> Entry:
    """A library called directly on the array's bytes."""

    def copied(values: Array) -> memoryview:
        return memoryview(values.reshape(-1).view(np.uint8).copy())

    return lambda _: Contestant(name, "official", encode, decode, same_bytes, copied)
