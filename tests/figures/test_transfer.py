"""The arithmetic of moving coded weights over a link."""

import numpy as np
import pytest

from weightbench.figures.transfer import break_even_bandwidth, share_of_raw_time, transfer_seconds


def test_seconds_are_link_and_coder() -> None:
    # 1 GB of which 600 MB are stored, over 20 MB/s, decoded at 500 MB/s: 30 s and 2 s.
    assert transfer_seconds(1e9, 6e8, 20, 500) == pytest.approx(32)
    assert transfer_seconds(1e9, 6e8, 20, 500, overlapped=True) == pytest.approx(30)
    assert transfer_seconds(1e9, 6e8, 1000, 500, overlapped=True) == pytest.approx(2)
    assert transfer_seconds(1e9, 1e9, 20) == pytest.approx(50)


def test_share_agrees_with_seconds_and_broadcasts() -> None:
    bandwidths = np.array([5.0, 50.0, 5000.0])
    for overlapped in (False, True):
        share = share_of_raw_time(1.5, bandwidths, 800, overlapped=overlapped)
        coded = transfer_seconds(3e9, 2e9, bandwidths, 800, overlapped=overlapped)
        np.testing.assert_allclose(share, coded / transfer_seconds(3e9, 3e9, bandwidths))


@pytest.mark.parametrize("overlapped", [False, True])
def test_at_the_break_even_bandwidth_both_take_equally_long(overlapped: bool) -> None:
    bandwidth = break_even_bandwidth(1.5, 900, overlapped=overlapped)
    assert share_of_raw_time(1.5, bandwidth, 900, overlapped=overlapped) == pytest.approx(1)
    assert share_of_raw_time(1.5, bandwidth * 2, 900, overlapped=overlapped) > 1


def test_nothing_saved_never_breaks_even() -> None:
    assert break_even_bandwidth(0.99, 900) == 0
    assert break_even_bandwidth(0.99, 900, overlapped=True) == 0


def test_impossible_links_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        transfer_seconds(1, 1, 0)
    with pytest.raises(ValueError, match="negative"):
        transfer_seconds(-1, 1, 1)
