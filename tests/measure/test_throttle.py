"""The throttled reader: its rate, its read-ahead, and that a machine's slow wake-ups do not slow it down."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightbench.measure import Clock, Throttle

MB = 10**6


class Time:
    """A clock that passes only while something sleeps, late by `late` seconds, or `works`."""

    def __init__(self, late: float = 0.0) -> None:
        self.now, self.late, self.slept = 1_000_000_000, late, 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept += seconds
        self.now += round((seconds + self.late) * 1e9)

    def works(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: 0, self.sleep)

    @property
    def seconds(self) -> float:
        return (self.now - 1_000_000_000) / 1e9


@given(
    st.floats(1, 5000),
    st.lists(st.integers(0, 50 * MB), min_size=1, max_size=20),
    st.floats(0, 1e-3),
)
def test_bytes_over_time_is_the_bandwidth(mb_per_s: float, reads: list[int], late: float) -> None:
    time = Time(late)
    throttle = Throttle(mb_per_s, clock=time.clock())
    for nbytes in reads:
        throttle(nbytes)
    assert throttle.nbytes == sum(reads)
    due = sum(reads) / MB / mb_per_s
    # late wake-ups cost once, at the end, as long as the buffer covers them
    assert due - 1e-6 <= time.seconds
    if late * mb_per_s * MB < 8 << 20:
        assert time.seconds <= due + late + 1e-6


def test_without_a_limit_bytes_are_counted() -> None:
    time = Time()
    throttle = Throttle(None, clock=time.clock())
    throttle(5 * MB)
    assert (throttle.nbytes, time.seconds) == (5 * MB, 0)


def test_the_link_reads_ahead_as_far_as_its_buffer_holds() -> None:
    time = Time()
    throttle = Throttle(10, read_ahead_bytes=2 * MB, clock=time.clock())
    throttle(10 * MB)
    assert time.seconds == pytest.approx(1.0)
    time.works(0.1)  # 1 MB comes meanwhile
    throttle(10 * MB)
    assert time.seconds == pytest.approx(2.0)
    time.works(5.0)  # 2 MB and no more
    throttle(10 * MB)
    assert time.seconds == pytest.approx(7.0 + 0.8)


def test_without_read_ahead_reading_and_computing_take_turns() -> None:
    time = Time()
    throttle = Throttle(10, read_ahead_bytes=0, clock=time.clock())
    for _ in range(3):
        throttle(MB)
        time.works(0.5)
    assert time.seconds == pytest.approx(3 * 0.6)


def test_the_real_clock_and_threads_that_share_a_link() -> None:
    clock = Clock()
    start = clock.wall()
    throttle = Throttle(100, clock=clock)

    def read() -> None:
        for _ in range(5):
            throttle(MB // 10)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # never faster than the link; how much slower is the machine's affair
    assert throttle.nbytes == 2 * MB
    assert (clock.wall() - start) / 1e9 >= 0.02


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_a_bandwidth_is_above_zero(bandwidth: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Throttle(bandwidth)
