"""QStore's cases: the pairs of vectors/qstore.json, `python benchmarks/codecs.py --only qstore`.

One 4096-column tensor a case, drawn as the vectors' recipe says (with fewer rows the draw is another), with
its INT8 version and scales. Every blob holds both tensors and the scales, description counted; the official
program's recorded sizes hold no scales. Speeds are of the raw pair's bytes (INT8 alone: of its bytes), and
stand beside memcpy of as many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from contestants import Array, Case, Contestant, memcpy, same_bytes

from weightcodecs import PairCodec, get_codec
from weightcodecs.quantise import quantise_int8

VECTORS = Path(__file__).parents[1] / "tests/vectors/qstore.json"
RECORDED = "QStore recorded"


def drawn(rows: int) -> Iterator[tuple[str, Array]]:
    """Yield the high-precision tensors of the vectors, in the order of their draws."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((rows, 4096), dtype=np.float32) * np.float32(0.02)
    t = (rng.standard_t(5, (rows, 4096)) * 0.02 / np.sqrt(5 / 3)).astype(np.float32)
    spread = np.exp(rng.normal(0, 0.35, (rows, 1))).astype(np.float32)
    r = rng.standard_normal((rows, 4096), dtype=np.float32) * np.float32(0.02) * spread
    yield "gaussian bf16 (g)", g.astype(ml_dtypes.bfloat16)
    yield "student-t5 bf16 (t)", t.astype(ml_dtypes.bfloat16)
    yield "row-varying bf16 (r)", r.astype(ml_dtypes.bfloat16)
    yield "gaussian fp16 (g)", g.astype(np.float16)
    yield "row-varying fp16 (r)", r.astype(np.float16)
    yield "gaussian fp32 (g)", g


def qstore_cases(rows: int, threads: Sequence[int]) -> Iterator[Case]:
    """Pairs, both variants where the paper has one, and INT8 loaded alone."""
    cases = json.loads(VECTORS.read_text())["cases"]
    official = {case["case"]: case["quantized_bytes"] + case["conditional_bytes"] for case in cases}
    for name, high in drawn(rows):
        made = quantise_int8(high)
        both = np.ones(high.nbytes + made.codes.nbytes, np.uint8)
        present = [memcpy("memcpy", both), memcpy("memcpy INT8", made.codes.reshape(-1).view(np.uint8))]
        for count in threads:
            for variant in ("fast", "paper"):
                if variant == "fast" or (high.itemsize == 2 and count == 1):
                    present += _contestants(high, made, variant, count)
        stored = {RECORDED: official[name]} if rows == 4096 and name in official else {}
        yield Case(name, high, tuple(present), stored=stored)


def _contestants(high: Array, made: Any, variant: str, threads: int) -> Iterator[Contestant]:
    codec = get_codec("qstore", variant=variant)
    if not isinstance(codec, PairCodec):
        raise TypeError("qstore is a pair codec")

    def encode(values: Array) -> Any:
        return codec.encode_pair(values, made.codes, scales=made.scales, threads=threads)

    def pair_came_back(values: Array, pair: Any) -> bool:
        return same_bytes(values, pair.high) and low_came_back(pair.low, pair.scales)

    def low_came_back(codes: Array, scales: Any) -> bool:
        return bool((codes == made.codes).all() and (scales == made.scales).all())

    yield Contestant(
        f"qstore {variant}", "ours", encode, partial(codec.decode_pair, threads=threads), pair_came_back,
        threads=threads, against=(RECORDED, "qstore paper")[: 2 if variant == "fast" else 1],
        options=codec.config(), nbytes=high.nbytes + made.codes.nbytes,
    )  # fmt: skip
    if variant == "fast":
        blob = encode(high)
        yield Contestant(
            "qstore INT8 alone", "ours", None, partial(codec.decode_low, threads=threads),
            lambda _, low: low_came_back(low.codes, low.scales), lambda _: blob,
            threads=threads, options=codec.config(), nbytes=made.codes.nbytes, copy="memcpy INT8",
        )  # fmt: skip
