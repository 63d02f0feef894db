from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightcodecs.kernels.gear import cut_points, cut_points_reference, gear_table


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 3000),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(256, 1200),
    st.integers(1, 256),
)
def test_kernel_and_reference_agree(seed, count, width, average, values):
    data = np.random.default_rng(seed).integers(0, values, count * width).astype(np.uint8)
    ends = cut_points(data, width, average)
    assert ends.tolist() == cut_points_reference(data, width, average).tolist()
    sizes = np.diff(ends, prepend=0)
    assert (sizes % width == 0).all()
    assert sizes.sum() == data.size
    assert (sizes <= 4 * average).all()
    assert (sizes[:-1] >= average // 4).all()


def test_table_is_splitmix64():
    assert gear_table().size == np.unique(gear_table()).size == 256
    assert gear_table()[0] == 0xE220A8397B1DCDAF  # the first output of SplitMix64 seeded with 0


@pytest.mark.parametrize(("size", "width", "average"), [(7, 2, 256), (8, 0, 256), (8, 2, 255), (65, 65, 512)])
def test_bad_arguments(size, width, average):
    with pytest.raises(ValueError, match="cut_points"):
        cut_points(np.zeros(size, np.uint8), width, average)
