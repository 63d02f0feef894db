"""tANS with big integers, in plain Python: what the kernels must agree with. Only tests use it."""

from collections import defaultdict
from collections.abc import Sequence

States = dict[int, list[int]]


def symbol_states(frequencies: Sequence[int]) -> States:
    """The states of every symbol, in order, after FSE's spread."""
    size = sum(frequencies)
    step = (size >> 1) + (size >> 3) + 3
    at = 0
    owner = [0] * size
    for symbol, frequency in enumerate(frequencies):
        for _ in range(frequency):
            owner[at] = symbol
            at = (at + step) % size
    states: States = defaultdict(list)
    for state, symbol in enumerate(owner):
        states[symbol].append(state)
    return states


def encode_stream(symbols: bytes, frequencies: Sequence[int]) -> bytes:
    """One stream: from the top down the bits of the last symbol to the first, the state, a one bit, zeros."""
    size = sum(frequencies)
    states = symbol_states(frequencies)
    text = ""
    x = size
    for symbol in reversed(symbols):
        frequency = frequencies[symbol]
        shift = next(n for n in range(64) if x >> n < 2 * frequency)
        text += f"{x % (1 << shift):0{shift}b}" if shift else ""
        x = size + states[symbol][(x >> shift) - frequency]
    text += f"{x - size:0{size.bit_length() - 1}b}1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "little")


def decode_stream(stream: bytes, frequencies: Sequence[int], count: int) -> bytes:
    """Read ``count`` symbols back; ValueError unless the stream ends in state 0 at its last bit."""
    size = sum(frequencies)
    log = size.bit_length() - 1
    owner = {
        state: (symbol, frequencies[symbol] + k)
        for symbol, own in symbol_states(frequencies).items()
        for k, state in enumerate(own)
    }
    bits = int.from_bytes(stream, "little")
    left = 8 * len(stream)
    skip = (bits & -bits).bit_length()
    bits, left = bits >> skip, left - skip
    state, bits, left = bits % size, bits >> log, left - log
    out = bytearray()
    for _ in range(count):
        symbol, x = owner[state]
        shift = log + 1 - x.bit_length()
        out.append(symbol)
        state = (x << shift) - size + bits % (1 << shift)
        bits, left = bits >> shift, left - shift
    if state or bits or left:
        raise ValueError("the stream does not end where it should")
    return bytes(out)
