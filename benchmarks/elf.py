"""Elf before its entropy stage beside memcpy: ``python benchmarks/elf.py [MiB] [rounds]``.

One process, one thread, fresh outputs on both sides, all calls interleaved. Every decoded array is compared
with the codec's bound once, outside the timing. Prints medians over the rounds of the ratio of one round.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightcodecs import format_of, get_codec


def main(mebibytes: int = 32, rounds: int = 40) -> None:
    """Print encode and decode as shares of memcpy for each float format."""
    for name in ("float32", "float16", "float64"):
        count = (mebibytes << 20) // np.dtype(name).itemsize
        values = (np.random.default_rng(0).standard_normal(count) * 0.02).astype(name)
        codec = get_codec("elf", entropy="none")
        blob = codec.encode(values)
        decoded = codec.decode(blob)
        error = np.abs(decoded.astype(np.float64) - values.astype(np.float64)).max()
        assert error <= codec.error_bound(format_of(values)).absolute
        del decoded
        calls: dict[str, Callable[[], object]] = {
            "memcpy": partial(_copy, values),
            "encode": partial(codec.encode, values),
            "decode": partial(codec.decode, blob),
        }
        seconds: dict[str, list[float]] = {key: [] for key in calls}
        for _ in range(rounds):
            for key, call in calls.items():
                start = time.perf_counter()
                call()
                seconds[key].append(time.perf_counter() - start)
        copy = statistics.median(seconds["memcpy"])
        shares = {
            key: statistics.median(a / b for a, b in zip(seconds["memcpy"], seconds[key], strict=True))
            for key in ("encode", "decode")
        }
        print(
            f"{name}: memcpy (fresh) {values.nbytes / copy / 1e9:.2f} GB/s, "
            f"encode {shares['encode']:.2f}x memcpy, decode {shares['decode']:.2f}x memcpy, "
            f"{len(blob) / values.nbytes:.5f} of raw"
        )


def _copy(values: NDArray[Any]) -> None:
    np.copyto(np.empty_like(values), values)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
