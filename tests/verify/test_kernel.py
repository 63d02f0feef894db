import numpy as np
import pytest

from weightbench.verify.kernel import block_errors, block_errors_reference


@pytest.mark.parametrize("size", [1, 7, 1000, 65_536])
@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-310])
def test_kernel_equals_its_reference(size: int, scale: float) -> None:
    rng = np.random.default_rng(size)
    x = rng.standard_normal(size) * scale
    x[rng.random(size) < 0.3] = 0.0
    x[rng.random(size) < 0.1] = -0.0
    y = x + rng.standard_normal(size) * scale * 1e-3 * (rng.random(size) < 0.5)
    y[rng.random(size) < 0.1] *= -1
    found = block_errors(x, y, x.view(np.int64), y.view(np.int64))
    expected = block_errors_reference(x, y, x.view(np.int64), y.view(np.int64))
    assert found[:5] == expected[:5]
    assert found[7] == expected[7]
    assert found[5:7] == pytest.approx(expected[5:7], rel=1e-9, abs=1e-12 * scale * size)


def test_ends_of_float64() -> None:
    top = np.finfo(np.float64).max
    x, y = np.array([top, 1.0]), np.array([-top, 1.0])
    assert block_errors(x, y, x.view(np.int64), y.view(np.int64))[2] == np.inf
