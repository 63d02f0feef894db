"""Two chunks decoded at once against the same chunks one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from weightcodecs.entropy import METHODS
from weightcodecs.kernels.plane_chunk import HUFFMAN, decode_chunk, decode_two_chunks, encode_chunk

Plane = NDArray[np.uint8]

SIZE = 20_000


def _planes() -> dict[str, Plane]:
    random = np.random.default_rng(3)
    return {
        "short codes": np.minimum(random.geometric(0.5, SIZE), 255).astype(np.uint8),
        "other short codes": np.minimum(random.geometric(0.3, SIZE), 255).astype(np.uint8),
        "long codes": random.integers(0, 96, SIZE).astype(np.uint8),
        "noise": random.integers(0, 256, SIZE).astype(np.uint8),
        "constant": np.full(SIZE, 9, np.uint8),
    }


PLANES = _planes()


def _coded(names: tuple[str, str], size: int, method: str) -> tuple[Plane, list[int]]:
    """Both chunks in one stream, and where they start and end."""
    stream = np.zeros(2 * (size + 1), np.uint8)
    at = [0]
    for name in names:
        plane = PLANES[name]
        plane.flags.writeable = False
        at.append(at[-1] + int(encode_chunk(plane, 0, size, stream, at[-1], METHODS[method])))
    return stream, at


def _decoded(stream: Plane, at: list[int], size: int) -> tuple[int, Plane]:
    read_only = stream[: at[2]].copy()
    read_only.flags.writeable = False
    out = np.full(2 * size + 9, 0xEE, np.uint8)
    good = decode_two_chunks(read_only, 0, at[1], at[1], at[2] - at[1], out, 0, size + 9, size)
    assert (out[size : size + 9] == 0xEE).all()
    return int(good), out


@pytest.mark.parametrize("size", [1, 5, 100, 999, SIZE])
@pytest.mark.parametrize("names", list(product(PLANES, repeat=2)), ids=" and ".join)
def test_any_two_chunks(names: tuple[str, str], size: int) -> None:
    for method in ("huffman", "smallest"):
        good, out = _decoded(*_coded(names, size, method), size)
        assert good == 2
        np.testing.assert_array_equal(out[:size], PLANES[names[0]][:size])
        np.testing.assert_array_equal(out[size + 9 :], PLANES[names[1]][:size])


@pytest.mark.parametrize("names", [("short codes", "other short codes"), ("long codes", "long codes")])
def test_it_says_which_chunk_is_corrupt(names: tuple[str, str]) -> None:
    stream, at = _coded(names, SIZE, "huffman")
    assert stream[0] == stream[at[1]] == HUFFMAN
    for bad in (0, 1):
        harmed = stream.copy()
        harmed[at[bad + 1] - 1] = 0  # the last stream has no end mark any more
        assert _decoded(harmed, at, SIZE)[0] == bad


@pytest.mark.parametrize("names", [("short codes", "other short codes"), ("long codes", "short codes")])
def test_mutated_chunks_are_judged_as_if_alone(names: tuple[str, str]) -> None:
    random = np.random.default_rng(4)
    stream, at = _coded(names, SIZE, "huffman")
    for _ in range(300):
        harmed = stream.copy()
        harmed[random.integers(0, at[2], 2)] = random.integers(0, 256, 2)
        alone = harmed[: at[2]].copy()
        alone.flags.writeable = False
        one = np.zeros((2, SIZE), np.uint8)
        goods = [bool(decode_chunk(alone, at[k], at[k + 1] - at[k], one[k], 0, SIZE)) for k in (0, 1)]
        good, out = _decoded(harmed, at, SIZE)
        assert good == (0 if not goods[0] else 1 + goods[1])
        if good > 0:
            np.testing.assert_array_equal(out[:SIZE], one[0])
        if good > 1:
            np.testing.assert_array_equal(out[SIZE + 9 :], one[1])
