"""How long moving coded weights over a link takes: arithmetic from stored bytes and a coder's speed.

Nothing is simulated: the link delivers at its bandwidth from the first byte to the last, without latency, and
the coder works at the speed that was measured in memory. ``measure=paper`` measures loads through a throttled
reader instead (docs/measuring.md); real links lie between the two ends that ``overlapped`` chooses.

All arguments are numbers or arrays that broadcast. Bandwidths and speeds are 10⁶ bytes a second; a coder's
speed counts the bytes of the original, as in rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["break_even_bandwidth", "share_of_raw_time", "transfer_seconds"]

_MB = 1e6


def transfer_seconds(
    raw_bytes: ArrayLike,
    stored_bytes: ArrayLike,
    bandwidth: ArrayLike,
    speed: ArrayLike = np.inf,
    *,
    overlapped: bool = False,
) -> NDArray[np.float64]:
    """Return the seconds from the start of a download to the last decoded byte, or of an upload to its end.

    Args:
        raw_bytes: size of the original.
        stored_bytes: what goes over the link; equal to ``raw_bytes`` for no codec.
        bandwidth: of the link, MB/s.
        speed: of decoding (download) or encoding (upload), MB/s of original bytes; infinite for no codec.
        overlapped: the coder works while the link does, so that the slower of the two decides; otherwise one
            begins when the other has ended, and the times add up (what the papers measure).

    Raises:
        ValueError: a bandwidth or a speed that is not positive, or a negative size.
    """
    raw, stored = np.asarray(raw_bytes, float), np.asarray(stored_bytes, float)
    link, coder = np.asarray(bandwidth, float), np.asarray(speed, float)
    if (link <= 0).any() or (coder <= 0).any():
        raise ValueError("bandwidths and speeds must be positive")
    if (raw < 0).any() or (stored < 0).any():
        raise ValueError("sizes must not be negative")
    moving, coding = stored / (link * _MB), raw / (coder * _MB)
    return np.asarray(np.maximum(moving, coding) if overlapped else moving + coding, np.float64)


def share_of_raw_time(
    ratio: ArrayLike, bandwidth: ArrayLike, speed: ArrayLike, *, overlapped: bool = False
) -> NDArray[np.float64]:
    """Return the time of coded weights over that of the raw ones; below 1 the codec saves time.

    Args:
        ratio: raw over stored bytes.
        bandwidth, speed, overlapped: see `transfer_seconds`.
    """
    sizes = 1.0, 1.0 / np.asarray(ratio, float)
    coded = transfer_seconds(*sizes, bandwidth, speed, overlapped=overlapped)
    return np.asarray(coded / transfer_seconds(1.0, 1.0, bandwidth), np.float64)


def break_even_bandwidth(
    ratio: ArrayLike, speed: ArrayLike, *, overlapped: bool = False
) -> NDArray[np.float64]:
    """Return the bandwidth, MB/s, above which coded weights take longer than raw ones.

    0 where the ratio is 1 or less: they always do.
    """
    share, coder = 1.0 / np.asarray(ratio, float), np.asarray(speed, float)
    saved = coder * (share < 1) if overlapped else coder * np.clip(1.0 - share, 0.0, None)
    return np.asarray(saved, np.float64)
