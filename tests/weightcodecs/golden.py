"""Which golden blobs there are (tests/golden), and what they hold: arrays from a fixed recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightcodecs import FORMATS, Blob, Codec, FloatFormat, get_format
from weightcodecs.pair import PairCodec
from weightcodecs.quantise import quantise_int8

Array = NDArray[Any]
FOLDER = Path(__file__).parents[1] / "golden"
ALL = list(FORMATS)
FLOATS = [name for name, format in FORMATS.items() if format.is_float]


@dataclass(frozen=True)
class Golden:
    """One golden blob.

    Attributes:
        variant: what tells the configurations of a codec apart in the file's name.
        ours: no library has a say in the bytes, so encoding again gives the same ones.
    """

    codec: str
    variant: str
    format: FloatFormat
    version: int
    ours: bool
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.codec}-{self.variant}-{self.format.name}-v{self.version}.blob"


def _rows(codec: str, variant: str, formats: list[str], ours: bool, /, **config: Any) -> list[Golden]:
    return [Golden(codec, variant, get_format(name), 1, ours, config) for name in formats]


ELF = ["float16", "float32", "float64"]
COARSE: dict[str, Any] = {"widen_bfloat16": True, "error_bound_absolute": 2.0**-11}
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
    *_rows("elf", "zstd", [*ELF, "bfloat16"], False, entropy="zstd", **COARSE),
    *_rows("elf", "coarse", ELF, True, entropy="none", error_bound_absolute=2.0**-6),
    *_rows("elf", "auto", [*ELF, "bfloat16"], True, **COARSE),
    *_rows("zipnn", "fast", ["float32", "bfloat16", "float16", "float8_e4m3fn", "int32"], True),
    *_rows("zipnn", "paper", ["float32", "bfloat16", "float16"], False, variant="paper"),
    *_rows("zipnn_delta", "fast", ["float32", "bfloat16", "float16"], True),
    *_rows("zipnn_delta", "paper", ["float32", "bfloat16"], False, variant="paper"),
    *_rows("zipnn_lossy", "magnitude", ["float32", "float16", "float64"], True, factor=12),
    *_rows("zipnn_lossy", "twos", ["float32"], True, factor=12, sign="twos_complement", rounding="truncate"),
    *_rows("fm_delta", "fast", ["float64", "float32", "float16", "bfloat16"], True),
    *_rows("fm_delta", "paper", ["float64", "float32", "float16", "bfloat16"], True, variant="paper"),
    *_rows("distance", "fast", ["float32", "float16", "uint8", "int64"], True),
    *_rows("distance", "paper", ["float32", "float64", "int64"], True, variant="paper"),
    *_rows("openzl", "huffman", ["float32", "bfloat16"], False),
    *_rows("blosc2", "shuffle", ["float32", "bfloat16"], False),
    *_rows("pcodec", "8", ["float32", "bfloat16", "float8_e4m3fn"], False),
    *_rows("fpzip", "lossless", ["float32", "float64"], False),
    *_rows("zfp", "lossless", ["float32", "float64", "int64"], False),
    *_rows("zfp", "bounded", ["float32", "float64"], False, error_bound_absolute=2.0**-9),
    *_rows("sz3", "bounded", ["float32", "float64"], False, error_bound_absolute=2.0**-9),
    *_rows("bg4_lz4", "blocks", ["float32", "int64"], False),
    *_rows("bitx", "fast", ["float32", "bfloat16", "float16", "float8_e4m3fn"], True),
    *_rows("bitx", "paper", ["float32", "bfloat16", "float8_e4m3fn"], False, variant="paper"),
    *_rows("zipnn_official", "huffman", ["float32", "bfloat16"], False),
    *_rows("int8", "rows", ["float32", "bfloat16", "float16"], True),
    *_rows("int4", "rows", ["float32", "bfloat16", "float16"], True),
    *_rows("nf4", "blocks", ["float32", "bfloat16", "float16"], True),
    *_rows("qstore", "fast", ["float32", "bfloat16", "float16"], True),
    *_rows("qstore", "paper", ["bfloat16", "float16"], False, variant="paper"),
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


def encoded(codec: Codec, values: Array) -> Blob:
    """Return the blob of an array; a pair codec gets its INT8 version beside it."""
    if isinstance(codec, PairCodec):
        quantised = quantise_int8(values)
        return codec.encode_pair(values, quantised.codes, scales=quantised.scales)
    return codec.encode(values, **references_for(codec, values))


def references_for(codec: Codec, values: Array) -> dict[str, Array]:
    """Return the base that golden blobs of delta codecs were made with."""
    if not codec.needs_reference:
        return {}
    patterns = values.view(f"u{values.itemsize}") ^ np.array(1, f"u{values.itemsize}")
    return {"reference": patterns.view(values.dtype)}
