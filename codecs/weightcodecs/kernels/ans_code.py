"""Frequencies of the tabled asymmetric numeral system (tANS): normalising, storing and spreading them.

tANS: Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression
rate of arithmetic coding" (arXiv 1311.2540); the spread over the states is that of FSE (Collet). The
normalisation, which ends at a local optimum of the coded size, and the layout are ours.
"""

import numpy as np

from weightcodecs.kernels.code_table import get_bits, put_bits, read_table, write_table
from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import bit_length

MAX_TABLE_LOG = 12
MIN_TABLE_LOG = 6
MAX_STATES = 1 << MAX_TABLE_LOG


@kernel
def entropy_bits(counts, size):  # type: ignore[no-untyped-def]
    """Bits that an ideal coder takes for symbols with these counts (integers (256,) with sum ``size``)."""
    bits = 0.0
    for symbol in range(256):
        if counts[symbol] > 0:
            bits -= counts[symbol] * np.log2(counts[symbol] / size)
    return bits


@kernel
def normalise(counts, size, frequencies):  # type: ignore[no-untyped-def]
    """Scale ``counts`` to frequencies that sum to a power of two, none of them 0 where the count is not.

    Args:
        counts: integers (256,) with sum ``size``, at least two of them not 0.
        frequencies: int64 (256,), overwritten.

    Returns:
        log2 of the sum (6 to 12: small planes get small tables) and the bits an ideal coder with these
        frequencies takes for the counted symbols.
    """
    # Where most states read no bit, decoders join tables (ans_decode), which half as many make twice as fast.
    skewed = 4 * counts.max() > 3 * size
    log = table_log(counts, size, MAX_TABLE_LOG - 1 if skewed else MAX_TABLE_LOG)
    return log, scale_counts(counts, size, log, frequencies)


@kernel
def table_log(counts, size, most):  # type: ignore[no-untyped-def]
    """log2 of how many states suit ``size`` symbols with these counts: 6 to ``most``."""
    present = 0
    for symbol in range(256):
        present += counts[symbol] > 0
    log = np.int64(bit_length(np.uint64(size))) - 2
    log = max(log, np.int64(bit_length(np.uint64(present))) + 1)
    return min(max(log, MIN_TABLE_LOG), most)


@kernel
def scale_counts(counts, size, log, frequencies):  # type: ignore[no-untyped-def]
    """``normalise`` to a given power of two, at least twice as many as symbols that occur: one at least.

    Returns:
        The bits an ideal coder with these frequencies takes for the counted symbols.
    """
    symbols = np.empty(256, np.int64)
    present = 0
    for symbol in range(256):
        frequencies[symbol] = 0
        if counts[symbol] > 0:
            symbols[present] = symbol
            present += 1
    states = 1 << log
    left = states
    for rank in range(present):
        symbol = symbols[rank]
        frequency = max(np.int64(counts[symbol] * (states / size) + 0.5), 1)
        frequencies[symbol] = frequency
        left -= frequency
    while left != 0:
        # One state more or less where it changes the size most or least: d(count * log2 f) = count / f.
        change = 1 if left > 0 else -1
        best = -1
        best_gain = -np.inf
        for rank in range(present):
            symbol = symbols[rank]
            frequency = frequencies[symbol]
            if frequency + change >= 1:
                gain = change * counts[symbol] / (frequency + 0.5 * change)
                if gain > best_gain:
                    best_gain = gain
                    best = symbol
        frequencies[best] += change
        left -= change
    bits = 0.0
    for rank in range(present):
        symbol = symbols[rank]
        bits += counts[symbol] * (log - np.log2(frequencies[symbol]))
    return bits


@kernel
def write_frequencies(frequencies, table):  # type: ignore[no-untyped-def]
    """Code frequencies (int64 (256,)) into ``table`` (uint8, MAX_TABLE_BYTES); returns the bytes written.

    The bit length of each goes through code_table; the bits below the highest one follow, symbol by symbol.
    """
    numbers = np.empty(256, np.uint8)
    for symbol in range(256):
        numbers[symbol] = bit_length(np.uint64(frequencies[symbol]))
    position = write_table(numbers, table)
    for symbol in range(256):
        if numbers[symbol] > 1:
            lower = np.int64(numbers[symbol]) - 1
            position = put_bits(table, position, np.uint64(frequencies[symbol] - (1 << lower)), lower)
    return (position + 7) >> 3


@kernel
def read_frequencies(table, frequencies):  # type: ignore[no-untyped-def]
    """Decode what ``write_frequencies`` wrote; safe on any content.

    Args:
        table: uint8 array of MAX_TABLE_BYTES + 8 bytes, those behind the side information being 0.
        frequencies: int64 (256,), overwritten.

    Returns:
        log2 of the sum of the frequencies and the bytes read, or (-1, 0) if there is no valid table.
    """
    numbers = np.empty(256, np.uint8)
    position = read_table(table, numbers)
    if position < 0:
        return -1, 0
    total = 0
    for symbol in range(256):
        frequencies[symbol] = 0
        if numbers[symbol] > MAX_TABLE_LOG:
            return -1, 0
        if numbers[symbol] > 0:
            lower = np.int64(numbers[symbol]) - 1
            frequencies[symbol] = (1 << lower) + np.int64(get_bits(table, position, lower))
            total += frequencies[symbol]
            position += lower
    log = np.int64(bit_length(np.uint64(total))) - 1
    if total != 1 << log or log < MIN_TABLE_LOG or log > MAX_TABLE_LOG:
        return -1, 0
    return log, (position + 7) >> 3


@kernel
def spread_symbols(frequencies, log, spread):  # type: ignore[no-untyped-def]
    """Deal the states to the symbols by ``frequencies``, into ``spread`` (uint8, ``2**log`` used)."""
    states = 1 << log
    step = (states >> 1) + (states >> 3) + 3
    at = 0
    for symbol in range(256):
        for _ in range(frequencies[symbol]):
            spread[at] = symbol
            at = (at + step) & (states - 1)
