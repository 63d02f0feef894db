"""Codecs for the weights of neural networks.

>>> import numpy as np, weightcodecs
>>> codec = weightcodecs.get_codec("zstd", level=3)
>>> weights = np.zeros(1000, np.float32)
>>> blob = codec.encode(weights)
>>> bool((weightcodecs.decode(blob) == weights).all())
True
"""

from .blob import Blob, BlobInfo, Bytes, parse_blob
from .codec import EXACT, ArrayCodec, ByteCodec, Codec, DeltaCodec, Encoded, ErrorBound
from .errors import (
    ConfigError,
    CorruptBlobError,
    MissingExtraError,
    UnknownNameError,
    UnsupportedFormatError,
    WeightCodecsError,
    WrongReferenceError,
)
from .formats import FORMATS, FloatFormat, format_of, get_format
from .pair import Pair, PairCodec, Quantised
from .registry import codec_class, decode, get_codec, list_codecs, register_codec

__all__ = [
    "EXACT",
    "FORMATS",
    "ArrayCodec",
    "Blob",
    "BlobInfo",
    "ByteCodec",
    "Codec",
    "ConfigError",
    "CorruptBlobError",
    "DeltaCodec",
    "Encoded",
    "ErrorBound",
    "FloatFormat",
    "MissingExtraError",
    "Pair",
    "PairCodec",
    "Quantised",
    "UnknownNameError",
    "UnsupportedFormatError",
    "WeightCodecsError",
    "WrongReferenceError",
    "codec_class",
    "decode",
    "format_of",
    "get_codec",
    "get_format",
    "inspect",
    "list_codecs",
    "payload",
    "register_codec",
]


def inspect(blob: Bytes) -> BlobInfo:
    """Return what a blob says about itself; `CorruptBlobError` if it is damaged."""
    return parse_blob(blob)


def payload(blob: Bytes) -> memoryview:
    """Return the coded bytes of a blob without our description (a view); `CorruptBlobError` if damaged."""
    return parse_blob(blob).payload
