"""Which golden blobs there are (tests/golden), and what they hold: arrays from a fixed recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weightcodecs import FORMATS, Blob, Codec, FloatFormat, get_format
from weightcodecs.pair import PairCodec, Quantised
from weightcodecs.quantise import quantise_int8, quantise_nf4

Array = NDArray[Any]
FOLDER = Path(__file__).parents[1] / "golden"
ALL = list(FORMATS)
FLOATS = [name for name, format in FORMATS.items() if format.is_float]


Low = Literal["int8", "nf4", "int8 without scales", "nf4 without scales"]


@dataclass(frozen=True)
class Golden:
    """One golden blob.

    Attributes:
        variant: what tells the configurations of a codec apart in the file's name.
        ours: no library has a say in the bytes, so encoding again gives the same ones.
        low: pair codecs: the quantised version that stands beside the array.
    """

    codec: str
    variant: str
    format: FloatFormat
    version: int
    ours: bool
    config: dict[str, Any] = field(default_factory=dict)
    low: Low = "int8"

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.codec}-{self.variant}-{self.format.name}-v{self.version}.blob"


def _rows(
    codec: str,
    variant: str,
    formats: list[str],
    ours: bool,
    /,
    *,
    low: Low = "int8",
    version: int = 1,
    **config: Any,
) -> list[Golden]:
    return [Golden(codec, variant, get_format(name), version, ours, config, low) for name in formats]


ELF = ["float16", "float32", "float64"]
COARSE: dict[str, Any] = {"widen_bfloat16": True, "error_bound_absolute": 2.0**-11}
AUTHORS: dict[str, Any] = {"rounding": "truncate", "sign": "twos_complement"}
GOLDEN = [
    *_rows("identity", "raw", ALL, True),
    *_rows("zstd", "3", ["float32", "bfloat16", "bool"], False),
    *_rows("lz4", "fast", ["float32", "bfloat16", "int64"], False),
    *_rows("brotli", "5", ["float32", "uint8"], False),
    *_rows("zlib", "6", ["float32", "int32"], False),
    *_rows("xz", "6", ["float32", "float8_e4m3fn"], False),
    *_rows("cast", "bfloat16", ["float64", "float32"], True),
    *_rows("cast", "e4m3fn", ["float64", "float32", "float16", "bfloat16"], True, to="float8_e4m3fn"),
    *_rows("elf", "planes", ELF, True, entropy="none"),
    *_rows("elf", "paper", ELF, True, variant="paper", entropy="none"),
    *_rows("elf", "paper-zstd", ELF, False, variant="paper", entropy="zstd"),
    *_rows("elf", "default", ELF, True),
    *_rows("elf", "zstd", [*ELF, "bfloat16"], False, entropy="zstd", **COARSE),
    *_rows("elf", "coarse", ELF, True, entropy="none", error_bound_absolute=2.0**-6),
    *_rows("elf", "auto", [*ELF, "bfloat16"], True, **COARSE),
    *_rows("zipnn", "fast", ["float32", "bfloat16", "float16", "float8_e4m3fn", "int32"], True),
    *_rows("zipnn", "fast", ["float64", "float8_e5m2"], True),
    *_rows("zipnn", "huffman", ["float32", "bfloat16"], True, entropy="huffman"),
    *_rows("zipnn", "ans", ["float32", "bfloat16"], True, entropy="ans"),
    *_rows("zipnn", "smallest", ["float32", "bfloat16"], True, entropy="smallest"),
    *_rows("zipnn", "paper", ["float32", "bfloat16", "float16"], False, variant="paper"),
    *_rows("zipnn", "paper", ["float8_e4m3fn", "float8_e5m2"], False, variant="paper"),
    *_rows("zipnn", "paper-huffman", ["float32", "bfloat16"], True, variant="paper", entropy="huffman"),
    *_rows("zipnn", "paper-zstd", ["bfloat16"], False, variant="paper", entropy="zstd"),
    *_rows("zipnn", "paper-skip", ["float32"], False, variant="paper", skip_chunks=2),
    *_rows("zipnn_delta", "fast", ["float32", "bfloat16", "float16"], True),
    *_rows("zipnn_delta", "fast", ["float64", "float8_e4m3fn", "int32"], True),
    *_rows("zipnn_delta", "huffman", ["bfloat16"], True, entropy="huffman"),
    *_rows("zipnn_delta", "smallest", ["bfloat16"], True, entropy="smallest"),
    *_rows("zipnn_delta", "ans", ["float32", "bfloat16"], True, entropy="ans"),
    *_rows("zipnn_delta", "paper-huffman", ["bfloat16"], True, variant="paper", entropy="huffman"),
    *_rows("zipnn_delta", "paper-zstd", ["bfloat16"], False, variant="paper", entropy="zstd"),
    *_rows("zipnn_delta", "paper", ["float32", "bfloat16"], False, variant="paper"),
    *_rows("zipnn_lossy", "magnitude", ["float32", "float16", "float64"], True, factor=12),
    *_rows("zipnn_lossy", "twos", ["float32"], True, factor=12, sign="twos_complement", rounding="truncate"),
    *_rows("zipnn_lossy", "default", ["float32"], True),
    *_rows("zipnn_lossy", "huffman", ["float32"], True, factor=12, entropy="huffman"),
    *_rows("zipnn_lossy", "smallest", ["float32"], True, factor=12, entropy="smallest"),
    *_rows("zipnn_lossy", "ans", ["float32"], True, factor=12, entropy="ans"),
    *_rows("zipnn_lossy", "unit", ["float32", "float16"], True, factor=12, range_rule="unit"),
    *_rows("zipnn_lossy", "shipped", ["float32", "float16"], True, factor=12, range_rule="shipped"),
    *_rows("zipnn_lossy", "paper", ["float32", "float16"], True, factor=12, variant="paper", **AUTHORS),
    *_rows("fm_delta", "contexts", ["float32", "bfloat16"], True, contexts=1),  # what version 1 wrote
    *_rows("fm_delta", "huffman", ["float32", "bfloat16"], True),
    *_rows("fm_delta", "ans", ["float32", "bfloat16"], True),
    *_rows("fm_delta", "fast", ["float64", "float32", "float16", "bfloat16"], True),
    *_rows("fm_delta", "contexts", ["float32", "bfloat16"], True, version=2, contexts=1),
    *_rows("fm_delta", "fast", ["float64", "float32", "float16", "bfloat16"], True, version=2),
    *_rows(
        "fm_delta", "paper", ["float64", "float32", "float16", "bfloat16"], True, version=2, variant="paper"
    ),
    *_rows("fm_delta", "paper", ["float64", "float32", "float16", "bfloat16"], True, variant="paper"),
    *_rows("distance", "fast", ["float32", "float16", "uint8", "int64"], True),
    *_rows("distance", "paper", ["float32", "float64", "int64"], True, variant="paper"),
    *_rows("distance", "zstd", ["float32", "int64"], False, entropy="zstd"),
    *_rows("distance", "paper-zstd", ["float32"], False, variant="paper", entropy="zstd"),
    *_rows("openzl", "huffman", ["float32", "bfloat16"], False),
    *_rows("openzl", "fse", ["float32", "bfloat16"], False, graph="fse"),
    *_rows("openzl", "generic", ["float32", "bfloat16"], False, graph="generic"),
    *_rows("blosc2", "shuffle", ["float32", "bfloat16"], False),
    *_rows("blosc2", "bitshuffle", ["float32", "bfloat16"], False, filter="bitshuffle", codec="lz4"),
    *_rows("blosc2", "lz4hc", ["float32"], False, codec="lz4hc"),
    *_rows("blosc2", "zlib", ["float32"], False, codec="zlib"),
    *_rows("blosc2", "unfiltered", ["float32"], False, filter="none", codec="blosclz", level=9),
    *_rows("pcodec", "8", ["float32", "bfloat16", "float8_e4m3fn"], False),
    *_rows("fpzip", "lossless", ["float32", "float64"], False),
    *_rows("zfp", "lossless", ["float32", "float64", "int64"], False),
    *_rows("zfp", "bounded", ["float32", "float64"], False, error_bound_absolute=2.0**-9),
    *_rows("sz3", "bounded", ["float32", "float64"], False, error_bound_absolute=2.0**-9),
    *_rows("sz3", "lorenzo", ["float32"], False, error_bound_absolute=2.0**-9, algorithm="lorenzo_reg"),
    *_rows("sz3", "interp", ["float32"], False, error_bound_absolute=2.0**-9, algorithm="interp"),
    *_rows("sz3", "nopred", ["float32"], False, error_bound_absolute=2.0**-9, algorithm="nopred"),
    *_rows("bg4_lz4", "blocks", ["float32", "int64"], False),
    *_rows("bitx", "fast", ["float32", "bfloat16", "float16", "float8_e4m3fn"], True),
    *_rows("bitx", "fast", ["float8_e5m2"], True),
    *_rows("bitx", "huffman", ["float32", "bfloat16"], True, entropy="huffman"),
    *_rows("bitx", "ans", ["float32", "bfloat16"], True, entropy="ans"),
    *_rows("bitx", "smallest", ["float32", "bfloat16"], True, entropy="smallest"),
    *_rows("bitx", "paper", ["float16"], False, variant="paper"),
    *_rows("bitx", "paper", ["float32", "bfloat16", "float8_e4m3fn"], False, variant="paper"),
    *_rows("zipnn_official", "huffman", ["float32", "bfloat16"], False),
    *_rows("int8", "rows", ["float32", "bfloat16", "float16"], True),
    *_rows("int4", "rows", ["float32", "bfloat16", "float16"], True),
    *_rows("nf4", "blocks", ["float32", "bfloat16", "float16"], True),
    *_rows("qstore", "fast", ["float32", "bfloat16", "float16"], True),
    *_rows("qstore", "nf4", ["float32", "bfloat16", "float16"], True, low="nf4"),
    *_rows("qstore", "unscaled", ["bfloat16"], True, low="int8 without scales"),
    *_rows("qstore", "nf4-unscaled", ["bfloat16"], True, low="nf4 without scales"),
    *_rows("qstore", "paper", ["bfloat16", "float16"], False, variant="paper"),
    *_rows("qstore", "paper-unscaled", ["bfloat16"], False, low="int8 without scales", variant="paper"),
    *_rows("qstore_chain", "fast", ["float32", "bfloat16", "float16"], True),
]


def recipe(format: FloatFormat) -> Array:
    """Return 6 x 29 numbers by integer arithmetic alone, so that no library's generator can change them.

    Floats are small dyadic fractions with a few special values among them; equal everywhere, for ever.
    """
    state, drawn = 12345, []
    for _ in range(6 * 29):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        drawn.append(state >> 44)
    numbers = np.array(drawn, np.int64)
    if not format.is_float:
        return (numbers % (2 if format.name == "bool" else 100)).astype(format.dtype).reshape(6, 29)
    fractions = (numbers - (1 << 19)) * 2.0**-24
    fractions[::7] *= 2.0**-8
    values = fractions.astype(format.dtype)
    special = [0.0, -0.0, 1.0, -1.5, np.nan]
    values[40:45] = np.array(special).astype(format.dtype)
    values[100:120] = values[3]
    return values.reshape(6, 29)


def quantised_version(values: Array, low: Low) -> Quantised:
    """Return the quantised version that stands beside an array in a golden blob of a pair codec."""
    made = quantise_int8(values) if low.startswith("int8") else quantise_nf4(values)
    return Quantised(made.codes, None) if low.endswith("without scales") else made


def encoded(codec: Codec, values: Array, low: Low = "int8") -> Blob:
    """Return the blob of an array; a pair codec gets its quantised version beside it."""
    if isinstance(codec, PairCodec):
        quantised = quantised_version(values, low)
        return codec.encode_pair(values, quantised.codes, scales=quantised.scales)
    return codec.encode(values, **references_for(codec, values))


def references_for(codec: Codec, values: Array) -> dict[str, Array]:
    """Return the base that golden blobs of delta codecs were made with."""
    if not codec.needs_reference:
        return {}
    patterns = values.view(f"u{values.itemsize}") ^ np.array(1, f"u{values.itemsize}")
    return {"reference": patterns.view(values.dtype)}
