"""The laws that every codec keeps, in every configuration, on every array of the corpus."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from configurations import BROUGHT, CONFIGURATIONS, THREADS_CHANGE_BYTES, configurations
from corpus import assert_faithful, base_of, bits, cases, random_bits, references, refused, tricky, weights

import weightcodecs
from weightcodecs import (
    FORMATS,
    Codec,
    CorruptBlobError,
    FloatFormat,
    UnsupportedFormatError,
    WrongReferenceError,
)
from weightcodecs.blob import footer_limit

CODECS = [pytest.param(codec, id=name) for name, codec in configurations()]
every_codec = pytest.mark.parametrize("codec", CODECS)
every_format = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
FLOAT32 = FORMATS["float32"]


def fitting(codec: Codec) -> FloatFormat:
    """Return a format that the codec takes, float32 if possible."""
    order = [FLOAT32, *FORMATS.values()]
    return next(format for format in order if not refused(codec, format))


def test_every_codec_is_tried() -> None:
    assert set(BROUGHT) - set(CONFIGURATIONS) == set(), "add a line for these in configurations.py"


@every_format
@every_codec
def test_round_trip(codec: Codec, format: FloatFormat) -> None:
    if refused(codec, format):
        pytest.skip(f"{codec.name} refuses {format.name} (see test_refusal)")
    for what, values in cases(format):
        extra = references(codec, values)
        before = bits(values).copy()
        blob = codec.encode(values, **extra)
        assert (bits(values) == before).all(), f"{what}: encode changed its input"
        limit = footer_limit(codec.name, values.shape, reference=codec.needs_reference)
        assert len(blob) <= values.nbytes + limit, f"{what}: larger than raw"
        kept = bytes(blob)
        decoded = weightcodecs.decode(blob, **extra)
        assert_faithful(codec, format, values, decoded, what)
        assert bytes(blob) == kept, f"{what}: decode changed the blob"
        out = np.full(values.shape, 1, format.dtype)
        assert codec.decode(blob, out=out, **extra) is out
        assert (bits(out) == bits(decoded)).all(), f"{what}: out= gives something else"
        assert bytes(codec.encode(values, **extra)) == kept, f"{what}: encoding twice differs"


@every_format
@every_codec
def test_refusal(codec: Codec, format: FloatFormat) -> None:
    values = weights(format, 10)
    reason = codec.unsupported(format)
    if reason is not None:
        assert len(reason) > 10
        with pytest.raises(UnsupportedFormatError, match=format.name) as raised:
            codec.encode(values, **references(codec, values))
        assert reason in str(raised.value)
    else:
        codec.encode(values, **references(codec, values))


@every_codec
@pytest.mark.parametrize("dtype", ["c8", "S4", "U2", "O", "f4,i2", "M8[s]", np.longdouble])
def test_dtypes_outside_the_table(codec: Codec, dtype: str) -> None:
    with pytest.raises(UnsupportedFormatError, match="cannot be coded"):
        codec.encode(np.zeros(3, dtype))


@every_codec
def test_threads_do_not_matter(codec: Codec) -> None:
    format = fitting(codec)
    values = weights(format, 300_001)
    values[::1001] = random_bits(format, values[::1001].size)
    extra = references(codec, values)
    blobs = [bytes(codec.encode(values, threads=threads, **extra)) for threads in (1, 2, 3)]
    if codec.name not in THREADS_CHANGE_BYTES:
        assert blobs[0] == blobs[1] == blobs[2]
    arrays = [codec.decode(b, threads=t, **extra) for b in set(blobs) for t in (1, 2, 3)]
    assert all((bits(array) == bits(arrays[0])).all() for array in arrays)
    assert_faithful(codec, format, values, arrays[0], "threads")


@every_codec
def test_configuration_is_identity(codec: Codec) -> None:
    twin = weightcodecs.get_codec(codec.name, **codec.config())
    assert twin == codec
    assert hash(twin) == hash(codec)
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert type(codec).__name__ in repr(codec)
    with pytest.raises(AttributeError):
        codec.level = 3  # type: ignore[attr-defined]


@every_codec
def test_blob_says_what_it_is(codec: Codec) -> None:
    format = fitting(codec)
    values = weights(format, 24).reshape(2, 3, 4)
    blob = codec.encode(values, **references(codec, values))
    info = weightcodecs.inspect(blob)
    assert (info.codec, info.version) == (codec.name, codec.version)
    assert (info.format, info.shape, info.count, info.nbytes) == (format, (2, 3, 4), 24, values.nbytes)
    assert weightcodecs.payload(blob) == info.payload
    assert info.payload.readonly
    assert (info.reference is not None) == codec.needs_reference
    if info.raw:
        assert bytes(info.payload) == values.tobytes()


@every_codec
def test_defaults_decode(codec: Codec) -> None:
    """A blob is decoded by any configuration of its codec."""
    values = weights(fitting(codec), 5000)
    extra = references(codec, values)
    blob = codec.encode(values, **extra)
    other = weightcodecs.get_codec(codec.name)
    assert (bits(other.decode(blob, **extra)) == bits(codec.decode(blob, **extra))).all()


@every_codec
def test_blob_types(codec: Codec) -> None:
    values = weights(fitting(codec), 300)
    extra = references(codec, values)
    blob = bytes(codec.encode(values, **extra))
    wanted = bits(codec.decode(blob, **extra))
    spread = np.zeros(2 * len(blob), np.uint8)
    spread[::2] = np.frombuffer(blob, np.uint8)
    unaligned = memoryview(b"x" + blob)[1:]
    for given in (bytearray(blob), memoryview(blob), np.frombuffer(blob, np.uint8), spread[::2], unaligned):
        assert (bits(codec.decode(given, **extra)) == wanted).all()
    assert (bits(codec.decode(memoryview(spread)[::2], **extra)) == wanted).all()


@every_codec
def test_callers_bytes_stay(codec: Codec) -> None:
    """Some libraries rewrite their input, even immutable bytes."""
    format = fitting(codec)
    original = weights(format, 4000).tobytes()
    kept = bytes(bytearray(original))
    values = np.frombuffer(original, format.dtype)
    extra = references(codec, values)
    codec.decode(codec.encode(values, **extra), **extra)
    assert original == kept


@every_codec
def test_out_is_checked(codec: Codec) -> None:
    format = fitting(codec)
    values = weights(format, 60).reshape(6, 10)
    extra = references(codec, values)
    blob = codec.encode(values, **extra)
    read_only = np.empty_like(values)
    read_only.flags.writeable = False
    wrong = {
        "shape": np.empty(60, format.dtype),
        "size": np.empty((6, 11), format.dtype),
        "dtype": np.empty((6, 10), "i1" if format.nbytes > 1 else "i8"),
        "byte order": np.empty((6, 10), format.dtype.newbyteorder(">")),
        "layout": np.empty((10, 6), format.dtype).T,
        "stride": np.empty((6, 20), format.dtype)[:, ::2],
        "read-only": read_only,
    }
    for out in wrong.values():
        with pytest.raises(ValueError, match="out"):
            codec.decode(blob, out=out, **extra)


def small_blobs(codec: Codec) -> list[tuple[bytes, dict[str, np.ndarray]]]:
    """Return blobs short enough to damage each byte of: coded, raw, empty."""
    format = fitting(codec)
    repeated = np.tile(weights(format, 5), 12)
    repeated[7] = random_bits(format, 1)[0]
    arrays = [repeated, random_bits(format, 9), np.zeros((0, 3), format.dtype), np.zeros((), format.dtype)]
    return [(bytes(codec.encode(a, **references(codec, a))), references(codec, a)) for a in arrays]


@every_codec
def test_truncated_blobs(codec: Codec) -> None:
    for blob, extra in small_blobs(codec):
        for cut in range(len(blob)):
            for part in (blob[:cut], blob[len(blob) - cut :]):
                with pytest.raises(CorruptBlobError):
                    weightcodecs.decode(part, **extra)
        for more in (blob + b"\0", b"\0" + blob, blob + blob):
            with pytest.raises(CorruptBlobError):
                codec.decode(more, **extra)


@every_codec
def test_altered_blobs(codec: Codec) -> None:
    for blob, extra in small_blobs(codec):
        for at in range(len(blob)):
            for flip in (0x01, 0x80, 0xFF):
                bad = bytearray(blob)
                bad[at] ^= flip
                with pytest.raises(CorruptBlobError):
                    codec.decode(bad, **extra)


@every_codec
def test_blob_of_another_codec(codec: Codec) -> None:
    other = weightcodecs.get_codec("zstd" if codec.name != "zstd" else "lz4")
    values = weights(fitting(codec), 100)
    with pytest.raises(CorruptBlobError, match=other.name):
        codec.decode(other.encode(values), **references(codec, values))


@every_codec
def test_references(codec: Codec) -> None:
    format = fitting(codec)
    values = weights(format, 640).reshape(8, 80)
    base = base_of(values)
    if not codec.needs_reference:
        with pytest.raises(WrongReferenceError):
            codec.encode(values, reference=base)
        return
    blob = codec.encode(values, reference=base)
    other = base.copy()
    other.reshape(-1).view(np.uint8)[0] ^= 1
    for wrong in (None, other, base.reshape(80, 8), base[:1], base.astype(np.int64), values):
        with pytest.raises(WrongReferenceError):
            codec.decode(blob, reference=wrong)
    for wrong in (None, base.T, base[:1], base.astype(np.int64)):
        with pytest.raises(WrongReferenceError):
            codec.encode(values, reference=wrong)
    for layout in (np.asfortranarray(base), base.astype(base.dtype.newbyteorder(">"))):
        assert bytes(codec.encode(values, reference=layout)) == bytes(blob)
        assert_faithful(codec, format, values, codec.decode(blob, reference=layout), "layout of the base")


@every_codec
def test_arrays_may_share_memory_with_nothing(codec: Codec) -> None:
    """Changing the input, the base or the blob's buffer afterwards leaves a decoded array as it is."""
    format = fitting(codec)
    for what, values in tricky(format):
        mine = np.array(values, dtype=format.dtype)
        extra = references(codec, mine)
        blob = bytearray(codec.encode(mine, **extra))
        decoded = codec.decode(blob, **extra)
        before = bits(decoded).copy()
        mine.reshape(-1).view(np.uint8)[...] = 7
        for i in range(len(blob)):
            blob[i] = 7
        assert (bits(decoded) == before).all(), what
