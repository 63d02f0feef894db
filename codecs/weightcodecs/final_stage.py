"""zstd over the whole payload of another codec: the last step of Elves (Su et al., PVLDB 17(8), 2024).

A blob's first parameter names its layout; one that was compressed once more has `marked` there instead. A
payload that zstd cannot make smaller stays as it is, unmarked.
"""

from __future__ import annotations

import dataclasses

import zstandard

from .blob import BlobBuffer, BlobInfo, byte_view
from .codec import Encoded
from .errors import CorruptBlobError

__all__ = ["compressed", "opened"]

_MAX_EXPANSION = (128 << 10) // 4  # of a zstd frame: a block of 128 KiB in 4 bytes
_MORE = 8  # bytes an element that a layout may take on top of the array, rounded up
_FIXED = 4096  # and at all


def compressed(encoded: Encoded, level: int, marked: int) -> Encoded:
    """Return what a codec made with its payload in one zstd frame, if that is smaller."""
    payload = encoded.payload
    data = (
        byte_view(payload.array[: payload.used]) if isinstance(payload, BlobBuffer) else payload.getbuffer()
    )
    frame = zstandard.ZstdCompressor(level=level).compress(data)
    if len(frame) >= data.nbytes:
        return encoded
    return Encoded.of(frame, bytes((marked,)) + encoded.parameters[1:])


def opened(info: BlobInfo, marked: int, layout: int) -> BlobInfo:
    """Return a blob whose first parameter is `marked` as it was before `compressed`; others unchanged.

    Raises:
        CorruptBlobError: the payload is not one zstd frame of the size that it says.
    """
    if info.parameters[:1] != bytes((marked,)):
        return info
    try:
        size = zstandard.frame_content_size(info.payload)
        most = min(len(info.payload) * _MAX_EXPANSION, info.nbytes + info.count * _MORE + _FIXED)
        if not 0 <= size <= most:
            raise CorruptBlobError(f"{info.codec}: the payload's frame does not say its size, or a wrong one")
        data = zstandard.ZstdDecompressor().decompress(
            info.payload, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptBlobError(f"{info.codec}: {error}") from None
    if len(data) != size:
        raise CorruptBlobError(f"{info.codec}: the payload's frame is shorter than it says")
    payload, parameters = memoryview(data), bytes((layout,)) + info.parameters[1:]
    return dataclasses.replace(info, payload=payload, parameters=parameters)
