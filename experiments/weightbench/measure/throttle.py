"""A reader as slow as a given link, by sleeping: what loading takes at 20 MB/s on a disk that does 2,000."""

from __future__ import annotations

from threading import Lock

from weightbench.measure.clock import SYSTEM_CLOCK, Clock

__all__ = ["METHOD", "READ_AHEAD_BYTES", "Throttle"]

READ_AHEAD_BYTES = 8 << 20
"""What the link may deliver while nobody asks: the buffer of a reader that works ahead of the decoder."""

METHOD = (
    "sleeping before bytes are used, until a link of that bandwidth would have delivered them; it reads "
    f"ahead by at most {READ_AHEAD_BYTES >> 20} MiB while the loader computes; files are in the page cache"
)
"""How limited bandwidth is made, for the row."""


class Throttle:
    """Called with the number of bytes about to be used, returns when the link would have delivered them.

    The link delivers byte after byte in the order in which they are asked for, from the moment of making
    the throttle on, and waits while `read_ahead_bytes` are there unasked-for. Threads share one link.

    Attributes:
        nbytes: bytes asked for so far.
    """

    def __init__(
        self,
        mb_per_s: float | None,
        *,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Open the link: 10^6 bytes a second, or None: no limit, bytes are only counted.

        Raises:
            ValueError: the bandwidth is not above 0.
        """
        if mb_per_s is not None and not mb_per_s > 0:
            raise ValueError(f"measure: a bandwidth must be above 0 MB/s, not {mb_per_s:g}")
        self.nbytes = 0
        self._clock, self._lock = clock, Lock()
        self._ns_per_byte = 0.0 if mb_per_s is None else 1e3 / mb_per_s
        self._ahead_ns = read_ahead_bytes * self._ns_per_byte
        self._delivered = float(clock.wall())  # when the last byte asked for came, or will have come

    def __call__(self, nbytes: int) -> None:
        """Wait for the next `nbytes` bytes."""
        with self._lock:
            self.nbytes += nbytes
            if not self._ns_per_byte:
                return
            now = self._clock.wall()
            # A late wake-up does not slow the link down: it went on meanwhile, as far as its buffer holds.
            begun = max(self._delivered, now - self._ahead_ns)
            self._delivered = begun + nbytes * self._ns_per_byte
            if self._delivered > now:
                self._clock.sleep((self._delivered - now) / 1e9)
