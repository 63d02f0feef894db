"""The side information of an entropy coder in few bytes: a number from 0 to 15 for each of 256 symbols.

For Huffman the number is the code length, for ANS the bit length of the frequency (whose lower bits follow
as they are). Neighbouring symbols of weight planes have similar numbers, so each is coded as its difference
to the one before; a bf16 exponent plane takes about 14 bytes, huff0's description of the same code about
20. Source: ours.

Layout: first symbol that occurs, last symbol that occurs (one byte each), then bits, lowest first, for
every symbol from the first to the last:

    0                same as the number before (at the start: 11)
    10  b            one less (b = 0) or one more
    110 bb           two less, two more, three less, three more
    1110 gamma(r)    the next r symbols do not occur (number 0), r in Elias gamma: L - 1 zeros, a one,
                     the L - 1 lower bits
    1111 vvvv        the number itself
"""

import numpy as np

from weightcodecs.kernels.jit import kernel
from weightcodecs.kernels.unaligned import bit_length, load64, store64, trailing_zeros

MAX_TABLE_BYTES = 1024
_START = 11
_ONE = np.uint64(1)
_SEVEN = np.uint64(7)


@kernel
def put_bits(table, position, value, bits):  # type: ignore[no-untyped-def]
    """Append the low ``bits`` (at most 48) of uint64 ``value`` at bit ``position``; return the new position.

    ``table`` needs eight bytes beyond the last one written; what stood there before is overwritten.
    """
    byte = position >> 3
    shift = np.uint64(position) & _SEVEN
    kept = load64(table, byte) & ((_ONE << shift) - _ONE)
    store64(table, byte, kept | (value << shift))
    return position + bits


@kernel
def get_bits(table, position, bits):  # type: ignore[no-untyped-def]
    """The ``bits`` (at most 48) at bit ``position`` as uint64; ``table`` needs eight bytes from there on."""
    word = load64(table, position >> 3) >> (np.uint64(position) & _SEVEN)
    return word & ((_ONE << np.uint64(bits)) - _ONE)


@kernel
def write_table(numbers, table):  # type: ignore[no-untyped-def]
    """Code ``numbers`` into ``table``.

    Args:
        numbers: uint8 (256,), each below 16, at least one not 0.
        table: uint8 (MAX_TABLE_BYTES,).

    Returns:
        The bit position after the last bit written.
    """
    first = 0
    while numbers[first] == 0:
        first += 1
    last = 255
    while numbers[last] == 0:
        last -= 1
    table[0] = first
    table[1] = last
    position = 16
    previous = _START
    symbol = first
    while symbol <= last:
        number = np.int64(numbers[symbol])
        if number == 0:
            run = 1
            while numbers[symbol + run] == 0:
                run += 1
            length = np.int64(bit_length(np.uint64(run)))
            position = put_bits(table, position, np.uint64(7), 4)
            position = put_bits(table, position, _ONE << np.uint64(length - 1), length)
            position = put_bits(
                table, position, np.uint64(run) & ((_ONE << np.uint64(length - 1)) - _ONE), length - 1
            )
            symbol += run
            continue
        change = number - previous
        if change == 0:
            position = put_bits(table, position, np.uint64(0), 1)
        elif abs(change) == 1:
            position = put_bits(table, position, np.uint64(1 | (change > 0) << 2), 3)
        elif abs(change) <= 3:
            choice = 2 * (abs(change) - 2) + (change > 0)
            position = put_bits(table, position, np.uint64(3 | choice << 3), 5)
        else:
            position = put_bits(table, position, np.uint64(15 | number << 4), 8)
        previous = number
        symbol += 1
    return position


@kernel
def read_table(table, numbers):  # type: ignore[no-untyped-def]
    """Decode what ``write_table`` wrote; safe on any content.

    Args:
        table: uint8 array of MAX_TABLE_BYTES + 8 bytes, those behind the side information being 0.
        numbers: uint8 (256,), overwritten.

    Returns:
        The bit position after the last bit read, or -1 if the bits are not what ``write_table`` writes.
    """
    numbers[:] = 0
    first = np.int64(table[0])
    last = np.int64(table[1])
    position = 16
    previous = _START
    symbol = first
    while symbol <= last:
        # A token has at most 4 + 2 * 8 - 1 bits; 256 of them stay below MAX_TABLE_BYTES.
        kind = get_bits(table, position, 4)
        ones = np.int64(trailing_zeros(~kind))
        if ones == 0:
            position += 1
            number = previous
        elif ones == 1:
            number = previous + 2 * np.int64(get_bits(table, position + 2, 1)) - 1
            position += 3
        elif ones == 2:
            choice = np.int64(get_bits(table, position + 3, 2))
            number = previous + (2 + (choice >> 1)) * (2 * (choice & 1) - 1)
            position += 5
        elif ones == 3:
            zeros = np.int64(trailing_zeros(get_bits(table, position + 4, 9) | np.uint64(256)))
            run = np.int64(get_bits(table, position + 5 + zeros, zeros)) + (1 << zeros)
            position += 5 + 2 * zeros
            symbol += run
            if zeros > 7 or symbol > last:
                return -1
            continue
        else:
            number = np.int64(get_bits(table, position + 4, 4))
            position += 8
        if number < 1 or number > 15:
            return -1
        numbers[symbol] = number
        previous = number
        symbol += 1
    if numbers[first] == 0 or numbers[last] == 0:
        return -1
    return position
