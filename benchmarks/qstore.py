"""QStore on the pairs of vectors/qstore.json: bits per parameter and speed beside memcpy, rounds interleaved.

    python benchmarks/qstore.py [--rows 4096] [--rounds 5] [--threads 1] [--paper]

One 4096-column tensor a case, drawn as the vectors' recipe says (with fewer rows the draw is another), with
its INT8 version and scales. Every blob holds both tensors and the scales, description counted; the official
program's sizes hold no scales. Every round is verified, and allocates its output. Speeds are of the raw
pair's bytes (INT8 alone: of its bytes); the share is of memcpy of as many bytes, fresh output too, in the
same rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from weightcodecs import PairCodec, get_codec
from weightcodecs.quantise import quantise_int8

Array = NDArray[Any]
VECTORS = Path(__file__).parents[1] / "tests/vectors/qstore.json"


def drawn(rows: int) -> dict[str, Array]:
    """Return the high-precision tensors of the vectors, in the order of their draws."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((rows, 4096), dtype=np.float32) * np.float32(0.02)
    t = (rng.standard_t(5, (rows, 4096)) * 0.02 / np.sqrt(5 / 3)).astype(np.float32)
    spread = np.exp(rng.normal(0, 0.35, (rows, 1))).astype(np.float32)
    r = rng.standard_normal((rows, 4096), dtype=np.float32) * np.float32(0.02) * spread
    return {
        "gaussian bf16 (g)": g.astype(ml_dtypes.bfloat16),
        "student-t5 bf16 (t)": t.astype(ml_dtypes.bfloat16),
        "row-varying bf16 (r)": r.astype(ml_dtypes.bfloat16),
        "gaussian fp16 (g)": g.astype(np.float16),
        "row-varying fp16 (r)": r.astype(np.float16),
        "gaussian fp32 (g)": g,
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def bench(
    case: str, high: Array, codec: PairCodec, official: float | None, rounds: int, threads: int
) -> None:
    """Measure one case and print its line."""
    made = quantise_int8(high)
    pair, low = np.empty(high.nbytes + made.codes.nbytes, np.uint8), made.codes.reshape(-1)
    pair[...] = 1
    seconds: dict[str, list[float]] = {name: [] for name in ("copy", "copy low", "encode", "decode", "low")}
    blob: Any = b""
    for turn in range(rounds + 1):
        taken: dict[str, float] = {}
        taken["copy"], _ = timed(pair.copy)
        taken["copy low"], _ = timed(low.copy)
        taken["encode"], blob = timed(
            lambda: codec.encode_pair(high, made.codes, scales=made.scales, threads=threads)
        )
        taken["decode"], both = timed(lambda blob=blob: codec.decode_pair(blob, threads=threads))
        taken["low"], alone = timed(lambda blob=blob: codec.decode_low(blob, threads=threads))
        same = (both.high.view(np.uint8) == high.view(np.uint8)).all() and (both.low == made.codes).all()
        if not (same and (both.scales == made.scales).all() and (alone.codes == made.codes).all()):
            raise RuntimeError(f"{case}: the round trip changed the data")
        for name, value in taken.items():
            if turn:  # the first one compiles
                seconds[name].append(value)
    best = {name: min(values) for name, values in seconds.items()}
    middle = {name: median(values) for name, values in seconds.items()}
    speed = {name: pair.size / 1e6 / best[name] for name in ("copy", "encode", "decode")}
    print(
        f"{case:22s} {8 * len(blob) / high.size:8.4f} {official or float('nan'):8.3f} "
        f"{8 * (high.itemsize + 1):4d} {speed['copy']:8.0f} {speed['encode']:7.0f} {speed['decode']:7.0f} "
        f"{low.size / 1e6 / best['low']:8.0f}   {best['copy'] / best['decode']:.4f} "
        f"({middle['copy'] / middle['decode']:.4f})  {best['copy low'] / best['low']:.3f} "
        f"({middle['copy low'] / middle['low']:.3f})"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--paper", action="store_true", help="the authors' layout too (16-bit floats)")
    options = parser.parse_args()
    cases = json.loads(VECTORS.read_text())["cases"]
    official = {case["case"]: case["total_bits_per_parameter"] for case in cases}
    columns = (
        f"{'bits':>8s} {'official':>8s} {'raw':>4s} {'memcpy':>8s} {'encode':>7s} {'decode':>7s} {'INT8':>8s}"
    )
    print(f"{'variant=fast':22s} {columns} MB/s; share of memcpy, best (median): pair, INT8 alone")
    tensors = drawn(options.rows)
    for variant in ("fast", "paper") if options.paper else ("fast",):
        codec = get_codec("qstore", variant=variant)
        if not isinstance(codec, PairCodec):
            raise TypeError("qstore is a pair codec")
        if variant == "paper":
            print("variant=paper")
        for case, high in tensors.items():
            if variant == "fast" or high.itemsize == 2:
                bench(case, high, codec, official.get(case), options.rounds, options.threads)


if __name__ == "__main__":
    main()
