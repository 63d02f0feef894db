"""The laws of pair codecs: exact, whatever the quantiser; the low tensor without the rest; damage refused."""

from __future__ import annotations

import mmap
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from configurations import pair_configurations
from corpus import bits, small_pairs, weights

import weightcodecs
from weightcodecs import FORMATS, CorruptBlobError, PairCodec, UnsupportedFormatError, WrongReferenceError
from weightcodecs.blob import read_varint
from weightcodecs.quantise import quantise_int8

CODECS = [pytest.param(codec, id=name) for name, codec in pair_configurations()]
every_codec = pytest.mark.parametrize("codec", CODECS)
BF16 = FORMATS["bfloat16"]


def one_pair(
    codec: PairCodec, rows: int = 40, columns: int = 50
) -> tuple[bytes, np.ndarray, np.ndarray, np.ndarray]:
    high = weights(BF16, rows * columns, 8).reshape(rows, columns)
    made = quantise_int8(high)
    assert made.scales is not None
    return bytes(codec.encode_pair(high, made.codes, scales=made.scales)), high, made.codes, made.scales


@every_codec
def test_round_trip(codec: PairCodec) -> None:
    tried = 0
    for what, high, low, scales in small_pairs(codec):
        before = bits(high).copy(), bits(low).copy()
        blob = codec.encode_pair(high, low, scales=scales)
        assert (bits(high) == before[0]).all(), what
        assert (bits(low) == before[1]).all(), what
        kept = bytes(blob)
        for threads in (1, 2):
            pair = codec.decode_pair(blob, threads=threads)
            assert pair.high.dtype == high.dtype, what
            assert pair.high.shape == high.shape, what
            assert (bits(pair.high) == bits(high)).all(), what
            assert pair.low.dtype == low.dtype, what
            assert pair.low.shape == low.shape, what
            assert (bits(pair.low) == bits(low)).all(), what
        alone = codec.decode_low(blob)
        assert (bits(alone.codes) == bits(low)).all(), what
        for given in (pair.scales, alone.scales):
            if scales is None:
                # The chain makes the scales that it lacks.
                assert given is None or codec.name == "qstore_chain", what
            else:
                assert given is not None, what
            if scales is not None and given is not None:
                assert given.shape == scales.shape, what
                assert (bits(given) == bits(scales)).all(), what
        out = np.ones(high.shape, high.dtype)
        assert weightcodecs.decode(blob, out=out) is out
        assert (bits(out) == bits(high)).all(), what
        assert (bits(weightcodecs.get_codec(codec.name).decode(blob)) == bits(high)).all(), what
        assert bytes(blob) == kept, what
        assert bytes(codec.encode_pair(high, low, scales=scales, threads=2)) == kept, what
        tried += 1
    assert tried > 20


@every_codec
def test_layouts(codec: PairCodec) -> None:
    blob, high, low, scales = one_pair(codec)
    swapped = high.astype(high.dtype.newbyteorder(">")) if high.dtype.isbuiltin else high
    for given in (np.asfortranarray(high), swapped, high[::-1][::-1]):
        assert bytes(codec.encode_pair(given, np.asfortranarray(low), scales=scales)) == blob
    unaligned = np.frombuffer(b"x" + high.tobytes(), np.uint8)[1:].view(high.dtype).reshape(high.shape)
    assert bytes(codec.encode_pair(unaligned, low, scales=scales)) == blob
    spread = np.zeros(2 * len(blob), np.uint8)
    spread[::2] = np.frombuffer(blob, np.uint8)
    for kind in (bytearray(blob), memoryview(b"x" + blob)[1:], spread[::2]):
        assert (bits(codec.decode_pair(kind).high) == bits(high)).all()
        assert (codec.decode_low(kind).codes == low).all()


@every_codec
def test_a_single_array_is_refused(codec: PairCodec) -> None:
    for format in FORMATS.values():
        reason = codec.unsupported(format)
        assert reason is not None
        assert "pair" in reason
    with pytest.raises(UnsupportedFormatError, match="encode_pair"):
        codec.encode(np.zeros(3, np.float32))


@every_codec
def test_what_does_not_go_together(codec: PairCodec) -> None:
    blob, high, low, scales = one_pair(codec)
    with pytest.raises(ValueError, match="shape"):
        codec.encode_pair(high, low[:3], scales=scales)
    with pytest.raises(ValueError, match="scales"):
        codec.encode_pair(high, low, scales=scales[:7])
    for bad_high, bad_low in ((high.astype(np.float64), low), (high, low.astype(np.int16)), (low, low)):
        with pytest.raises(UnsupportedFormatError, match=codec.name):
            codec.encode_pair(bad_high, bad_low, scales=scales)
    with pytest.raises(WrongReferenceError):
        codec.decode(blob, reference=high)
    with pytest.raises(CorruptBlobError, match="zstd"):
        codec.decode_pair(weightcodecs.get_codec("zstd").encode(high))
    assert pickle.loads(pickle.dumps(codec)) == codec == weightcodecs.get_codec(codec.name, **codec.config())


@every_codec
def test_damage(codec: PairCodec) -> None:
    """Any changed byte is found; the low tensor comes back exactly or not at all."""
    blob, _, low, _ = one_pair(codec, 3, 20)
    for at in range(len(blob)):
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(blob)
            bad[at] ^= flip
            with pytest.raises(CorruptBlobError):
                codec.decode_pair(bad)
            try:
                alone = codec.decode_low(bad)
            except CorruptBlobError:
                continue
            assert (alone.codes == low).all()
    for cut in range(len(blob)):
        for part in (blob[:cut], blob[len(blob) - cut :]):
            with pytest.raises(CorruptBlobError):
                codec.decode_pair(part)
            with pytest.raises(CorruptBlobError):
                codec.decode_low(part)


@every_codec
def test_low_alone_does_not_touch_the_rest(codec: PairCodec, tmp_path: Path) -> None:
    """With a high part of random bytes the low tensor still comes back: nothing of it is looked at."""
    blob, _, low, scales = one_pair(codec, 700, 700)
    info = weightcodecs.inspect(blob)
    length = read_varint(info.parameters, 0)[0]
    assert length < len(info.payload) - 100_000
    poisoned = bytearray(blob)
    poisoned[length : len(info.payload)] = os.urandom(len(info.payload) - length)
    alone = codec.decode_low(poisoned)
    assert (alone.codes == low).all()
    assert (alone.scales == scales).all()
    with pytest.raises(CorruptBlobError):
        codec.decode_pair(poisoned)
    path = tmp_path / "blob"
    path.write_bytes(blob)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        view = memoryview(mapped)
        alone = codec.decode_low(view)
        view.release()
    assert (alone.codes == low).all()


@every_codec
def test_hostile_shapes(codec: PairCodec) -> None:
    """A description of 2^31 elements and more with right digests costs no memory to refuse."""
    import io
    import tracemalloc

    from fuzz import resealed_pair

    from weightcodecs.blob import seal

    blob, *_ = one_pair(codec)
    info = weightcodecs.inspect(blob)
    payload = bytes(info.payload)
    for shape in ((40 << 26,), (1 << 40,), (1 << 30, 1 << 10), (0, 1 << 62), (1 << 62,)):
        parameters = resealed_pair(codec.name, codec.version, BF16, shape, info.parameters, payload)
        bad = seal(
            io.BytesIO(payload), codec=codec.name, version=1, format=BF16, shape=shape, parameters=parameters
        )
        tracemalloc.start()
        try:
            for decode in (codec.decode_pair, codec.decode_low):
                with pytest.raises(CorruptBlobError):
                    decode(bad)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
