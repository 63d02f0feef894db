"""A bound that follows the data (ErrorBound.of_max) is judged by the largest magnitude of the unit itself."""

import numpy as np

from weightbench.verify.compare import check
from weightcodecs import ErrorBound, get_codec


def test_int8_keeps_its_bound_and_a_lie_is_found() -> None:
    codec = get_codec("int8")
    original = (np.random.default_rng(0).standard_normal((40, 50)) * 0.02).astype(np.float32)
    original[3] *= 40
    original[5, 7] = np.inf
    decoded = codec.decode(codec.encode(original)).copy()
    verdict, _ = check(codec, original, decoded)
    assert not verdict.violated
    assert verdict.bound.of_max > 0
    assert verdict.max_bound_share is not None
    assert 0.5 < verdict.max_bound_share <= 1
    largest = float(np.abs(original[np.isfinite(original)]).max())
    decoded[0, 0] = original[0, 0] + 1.01 * verdict.bound.of_max * largest
    verdict, _ = check(codec, original, decoded)
    assert verdict.violation is not None
    assert verdict.violation.kind == "beyond bound"
    assert "max|original|" in verdict.violation.bound


def test_bounds_of_an_array() -> None:
    bound = ErrorBound(1e-9, 0.25, of_max=0.5)
    assert not bound.lossless
    assert bound.of(4.0) == ErrorBound(2.0, 0.25)
    assert bound.of(0.0) == ErrorBound(1e-9, 0.25)
    assert not ErrorBound(of_max=0.1).lossless
