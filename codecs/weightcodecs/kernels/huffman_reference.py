"""Huffman streams as bit strings, in plain Python: what the kernels must agree with.

Only tests use it.
"""

import numpy as np
from numpy.typing import NDArray

Code = dict[int, tuple[int, int]]


def canonical_code(lengths: NDArray[np.uint8]) -> Code:
    """Symbol to (code, length), shorter codes first, equal lengths in the order of the symbols."""
    code = 0
    previous = 0
    codes: Code = {}
    for length, symbol in sorted((int(n), s) for s, n in enumerate(lengths) if n):
        code <<= length - previous
        codes[symbol] = (code, length)
        code += 1
        previous = length
    return codes


def encode_stream(symbols: bytes, codes: Code) -> bytes:
    """One stream: the last symbol in the lowest bits, a one bit above the first symbol."""
    bits = 0
    filled = 0
    for symbol in reversed(symbols):
        code, length = codes[symbol]
        bits |= code << filled
        filled += length
    return (bits | 1 << filled).to_bytes(filled // 8 + 1, "little")


def decode_stream(stream: bytes, codes: Code, count: int) -> bytes:
    """Read ``count`` symbols back; raises KeyError where there is none."""
    text = bin(int.from_bytes(stream, "little"))[3:]
    symbols = {(code, length): symbol for symbol, (code, length) in codes.items()}
    at = 0
    out = bytearray()
    for _ in range(count):
        length = next(n for n in range(1, 65) if (int(text[at : at + n], 2), n) in symbols)
        out.append(symbols[int(text[at : at + length], 2), length])
        at += length
    return bytes(out)


def quarters(plane: bytes) -> list[bytes]:
    """The four pieces of a plane that have a stream each."""
    quarter = len(plane) // 4
    return [plane[k * quarter : (k + 1) * quarter] for k in range(3)] + [plane[3 * quarter :]]
