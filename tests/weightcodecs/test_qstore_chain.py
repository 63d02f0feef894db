"""The chain 16 → 8 → 4: every level alone, any codes, and no more than the pieces cost."""

from __future__ import annotations

import os

import ml_dtypes
import numpy as np
import pytest

from weightcodecs import CorruptBlobError, Quantised, inspect
from weightcodecs.blob import read_varint
from weightcodecs.qstore_chain import Chain, QStoreChain
from weightcodecs.quantise import quantise_int8, quantise_nf4


def chain_of(rows: int, columns: int) -> Chain:
    high = (np.random.default_rng(0).standard_normal((rows, columns)) * 0.02).astype(ml_dtypes.bfloat16)
    return Chain(high, quantise_int8(high), quantise_nf4(high))


def assert_same(a: Quantised, b: Quantised) -> None:
    assert a.codes.shape == b.codes.shape
    assert (a.codes == b.codes).all()
    assert a.scales is not None
    assert b.scales is not None
    assert a.scales.tobytes() == b.scales.tobytes()


def test_levels() -> None:
    chain, codec = chain_of(128, 1000), QStoreChain()
    blob = codec.encode_chain(chain)
    assert 8 * len(blob) / chain.high.size < 11.35  # 28.5 raw; each coded apart by the best programs 21.55
    back = codec.decode_chain(blob)
    assert (back.high.view(np.uint16) == chain.high.view(np.uint16)).all()
    assert_same(back.int8, chain.int8)
    assert_same(back.nf4, chain.nf4)
    # A level loads with the bytes of those above it destroyed.
    info = inspect(blob)
    middle = read_varint(info.parameters, 0)[0]
    poisoned = bytearray(blob)
    poisoned[middle : len(info.payload)] = os.urandom(len(info.payload) - middle)
    assert_same(codec.decode_low(poisoned), chain.int8)
    lowest = int(chain.high.size * 4.2 / 8)  # NF4 ends before
    poisoned[lowest:middle] = os.urandom(middle - lowest)
    assert_same(codec.decode_lowest(poisoned), chain.nf4)
    with pytest.raises(CorruptBlobError):
        codec.decode_low(poisoned)
    poisoned[10] ^= 1
    with pytest.raises(CorruptBlobError):
        codec.decode_lowest(poisoned)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 67), (1, 65), (130, 1)])
def test_codes_of_anything(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    made = chain_of(*shape) if len(shape) == 2 else chain_of(1, shape[0])
    count = made.high.size
    int8 = Quantised(rng.integers(-128, 128, made.high.shape).astype(np.int8), made.int8.scales)
    nf4 = Quantised(rng.integers(0, 256, -(-count // 2)).astype(np.uint8), made.nf4.scales)
    back = QStoreChain().decode_chain(QStoreChain().encode_chain(Chain(made.high, int8, nf4)))
    assert (back.high.view(np.uint16) == made.high.view(np.uint16)).all()
    assert_same(back.int8, int8)
    assert_same(back.nf4, nf4)


def test_what_does_not_go_together() -> None:
    chain = chain_of(4, 64)
    for int8, nf4 in (
        (chain.int8, Quantised(chain.nf4.codes[:3], chain.nf4.scales)),
        (chain.int8, Quantised(chain.nf4.codes, None)),
        (Quantised(chain.int8.codes[:2], chain.int8.scales), chain.nf4),
        (Quantised(chain.int8.codes, np.ones(3, np.float32)), chain.nf4),
    ):
        with pytest.raises(ValueError, match=r"NF4|shape|rows"):
            QStoreChain().encode_chain(Chain(chain.high, int8, nf4))
