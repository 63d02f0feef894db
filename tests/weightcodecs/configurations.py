"""The configurations that the laws are tried on: one line for a codec.

A codec without a line fails `test_every_codec_is_tried`. Delta codecs need nothing more: `corpus.base_of`
makes a base for any array.
"""

from __future__ import annotations

from typing import Any

import weightcodecs
from weightcodecs import Codec, MissingExtraError, PairCodec

CONFIGURATIONS: dict[str, list[dict[str, Any]]] = {
    "identity": [{}],
    "zstd": [{}, {"level": -5}, {"level": 12}],
    "lz4": [{}, {"level": 9}, {"acceleration": 8}],
    "brotli": [{"quality": 1}, {"quality": 5, "window": 10}],
    "zlib": [{}, {"level": 1}],
    "xz": [{"preset": 0}, {"preset": 9}],
    "cast": [{}, {"to": "float32"}, {"to": "float16"}, {"to": "float8_e4m3fn"}, {"to": "float8_e5m2"}],
    "elf": [
        {},
        {"entropy": "none"},
        {"variant": "paper", "entropy": "none"},
        {"variant": "paper", "entropy": "zstd", "level": 3},
        {"widen_bfloat16": True, "entropy": "zstd", "level": 3},
        {"error_bound_absolute": 1e-3},  # 2^-10: 1 byte plane, 2 bit planes
        {"error_bound_absolute": 2.0**-9, "entropy": "none", "widen_bfloat16": True},
        {"error_bound_absolute": 0.3},  # bit planes alone
        {"error_bound_absolute": 1e-6, "entropy": "none"},  # 20 bits; refused for float16
    ],
    "zipnn": [
        {},
        {"entropy": "smallest"},
        {"variant": "paper", "skip_chunks": 2},
        {"variant": "paper", "entropy": "zstd"},
    ],
    "zipnn_delta": [{}, {"entropy": "ans"}, {"variant": "paper"}],
    "zipnn_lossy": [
        {},
        {"factor": 12, "rounding": "truncate", "sign": "twos_complement", "variant": "paper"},
        {"factor": 14, "range_rule": "unit"},
        {"factor": 6, "range_rule": "shipped", "sign": "twos_complement"},
        {"factor": 40, "rounding": "truncate"},  # float64 alone
    ],
    "zipnn_official": [{}],
    "fm_delta": [{}, {"contexts": 1}, {"variant": "paper"}],
    "int8": [{}],
    "int4": [{}],
    "nf4": [{}],
    "qstore": [{}, {"variant": "paper"}],
    "qstore_chain": [{}],
    "openzl": [{}, {"graph": "fse"}, {"graph": "generic"}],
    "blosc2": [
        {},
        {"filter": "bitshuffle", "codec": "lz4"},
        {"filter": "none", "codec": "blosclz", "level": 9},
    ],
    "pcodec": [{"level": 4}],
    "fpzip": [{}],
    "zfp": [{}, {"error_bound_absolute": 1e-3}],
    "sz3": [{}, {"error_bound_absolute": 1e-2, "algorithm": "lorenzo_reg"}],
    "bg4_lz4": [{}],
    "distance": [{}, {"variant": "paper"}, {"entropy": "zstd"}, {"variant": "paper", "entropy": "zstd"}],
    "bitx": [{}, {"entropy": "smallest"}, {"variant": "paper"}],
    "bfloat_parts": [{}, {"level": 1}],  # examples/third_party_codec
}
"""Configurations of the codecs to try: all of ours, and of others where they are installed."""

THREADS_CHANGE_BYTES = {"zstd", "blosc2"}
"""Codecs whose blob may hang on the number of threads (zstd cuts long input into jobs if there are some)."""

TRUSTING = {"zipnn_official", "fpzip", "sz3"}
"""Codecs whose decoder is a native library that crashes on damaged data; their docstrings say so."""


def _found() -> dict[str, bool]:
    """Return the codecs to try, and whether each is ours; those whose package is missing are left out."""
    found = {}
    for name in weightcodecs.list_codecs():
        try:
            ours = weightcodecs.codec_class(name).__module__.startswith("weightcodecs.")
            if ours or name in CONFIGURATIONS:
                weightcodecs.get_codec(name)
                found[name] = ours
        except MissingExtraError:
            continue
    return found


FOUND = _found()
BROUGHT = [name for name, ours in FOUND.items() if ours]
"""The codecs of weightcodecs itself."""


def configurations() -> list[tuple[str, Codec]]:
    """Return (readable id, codec) for every configuration that can be made here and codes single arrays."""
    return [(name, codec) for name, codec in _configured() if not isinstance(codec, PairCodec)]


def pair_configurations() -> list[tuple[str, PairCodec]]:
    """Return (readable id, codec) for every configuration of a pair codec; test_pairs.py has their laws."""
    return [(name, codec) for name, codec in _configured() if isinstance(codec, PairCodec)]


def _configured() -> list[tuple[str, Codec]]:
    made = []
    for name in FOUND:
        for config in CONFIGURATIONS.get(name, [{}]):
            options = ",".join(f"{key}={value}" for key, value in config.items())
            made.append((f"{name}({options})", weightcodecs.get_codec(name, **config)))
    return made
