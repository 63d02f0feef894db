import math
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest

from weightbench.verify import Verifier, check, same_bits
from weightcodecs import FORMATS, ErrorBound, FloatFormat, get_codec
from weightcodecs.identity import Identity

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Promise(Identity):
    """Promises a bound; the tests hand the decoded values over themselves."""

    name: ClassVar[str] = "promise"
    absolute: float = 0.0
    relative: float = 0.0

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        return ErrorBound(self.absolute, self.relative)


LOSSLESS = get_codec("identity")


def floats(*values: float, dtype: Any = np.float32) -> Array:
    return np.array(values, dtype)


def test_hand_computed_statistics() -> None:
    original, decoded = floats(1, 2, 4, -8, 0), floats(1, 2.5, 4, -9, 0)
    unit, _ = check(Promise(absolute=1.0), original, decoded, "w")
    assert not unit.violated
    assert (unit.values, unit.exact_values, unit.compared, unit.beyond_bound) == (5, 3, 5, 0)
    assert unit.max_abs_error == 1.0
    assert unit.max_rel_error == 0.25
    assert unit.max_bound_share == 1.0
    assert unit.mean_error == pytest.approx(-0.1)
    assert unit.rmse == pytest.approx(0.5)
    assert unit.std_error == pytest.approx(math.sqrt(0.25 - 0.01))
    assert unit.psnr_db == pytest.approx(20 * math.log10(12 / 0.5))
    assert (unit.smallest, unit.largest) == (-8, 4)


def test_beyond_bound_says_where() -> None:
    original = np.zeros(200_000, np.float32)
    decoded = original.copy()
    decoded[150_001] = 0.5
    unit, _ = check(Promise(absolute=0.25), original, decoded, "layer.3")
    broken = unit.violation
    assert broken is not None
    assert (broken.unit, broken.index, broken.kind) == ("layer.3", 150_001, "beyond bound")
    assert (broken.original, broken.decoded) == ("0.0", "0.5")
    assert (broken.original_bits, broken.decoded_bits) == ("00000000", "3f000000")
    assert unit.beyond_bound == 1
    assert unit.max_bound_share == 2.0
    assert "layer.3[150001]" in broken.message()
    assert "error ≤ 0.25" in broken.message()


@pytest.mark.parametrize("at", [0, 7, 65_535, 65_536, 99_998])
def test_lossless_flip_is_found(at: int) -> None:
    original = np.arange(99_999, dtype=np.uint8)
    decoded = original.copy()
    decoded[at] ^= 1
    assert not same_bits(original, decoded)
    unit, _ = check(LOSSLESS, original, decoded)
    assert unit.violation is not None
    assert (unit.violation.kind, unit.violation.index) == ("not bit-exact", at)
    assert unit.exact_values == 99_998


@pytest.mark.parametrize("name", [name for name, format in FORMATS.items() if format.is_float])
def test_nan_payload_counts(name: str) -> None:
    format = FORMATS[name]
    bits = np.full(3, (1 << (format.bits - 1)) - 1, format.bits_dtype)  # a NaN in every format
    other = bits.copy()
    other[1] |= 1 << (format.bits - 1)  # its sign
    original, decoded = bits.view(format.dtype), other.view(format.dtype)
    for codec in (LOSSLESS, Promise(absolute=1e30)):
        unit, _ = check(codec, original, decoded)
        assert unit.violation is not None
        assert unit.violation.index == 1
        assert unit.nonfinite_changed == 1
        assert not check(codec, original, original.copy())[0].violated


@pytest.mark.parametrize(
    ("before", "after"), [(np.inf, -np.inf), (np.inf, 1.0), (1.0, np.inf), (1.0, np.nan), (np.nan, 0.0)]
)
def test_nonfinite_must_stay(before: float, after: float) -> None:
    unit, _ = check(Promise(relative=1e300), floats(3, before), floats(3, after))
    assert unit.violation is not None
    assert unit.violation.kind == "non-finite changed"
    assert unit.nonfinite_changed == 1


def test_zero_sign_is_counted_and_breaks_only_lossless() -> None:
    original, decoded = floats(0.0, -0.0, 1.0), floats(-0.0, 0.0, 1.0)
    bounded, _ = check(Promise(absolute=0.1), original, decoded)
    assert (bounded.zero_sign_changed, bounded.violated, bounded.bit_exact) == (2, False, False)
    mixed, _ = check(Promise(absolute=0.5), original, floats(-0.0, 0.0, 1.5))
    assert (mixed.zero_sign_changed, mixed.violated) == (2, False)
    assert check(LOSSLESS, original, decoded)[0].violated


def test_relative_or_absolute_whichever_is_larger() -> None:
    codec = Promise(absolute=0.1, relative=0.01)
    assert not check(codec, floats(100, 1), floats(101, 1.09))[0].violated
    assert check(codec, floats(100, 1), floats(101.01, 1))[0].violated
    assert check(codec, floats(1, 100), floats(1.11, 100))[0].violated


def test_shape_and_dtype_must_stay() -> None:
    original = np.zeros((2, 3), np.float32)
    for decoded in (np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float16)):
        unit, _ = check(LOSSLESS, original, decoded)
        assert unit.violation is not None
        assert unit.violation.kind == "shape or dtype"


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_beyond_float64(dtype: Any) -> None:
    original = np.array([2**62 + 1, 5], dtype)
    assert not check(Promise(absolute=1.0), original, original - dtype(1))[0].violated
    assert check(Promise(absolute=1.0), original, original - dtype(2))[0].violated


def test_ends_of_float64_give_finite_numbers() -> None:
    top = np.finfo(np.float64).max
    verifier = Verifier(Promise(absolute=1e300))
    verifier.add("w", floats(top, -top, 5e-324, dtype=np.float64), floats(-top, top, 0, dtype=np.float64))
    verdict = verifier.verdict()
    assert verdict.violated
    verdict.plain()  # refuses NaN and infinity
    assert verdict.rmse > 1e308
    tiny, _ = check(
        Promise(absolute=1e-300), floats(4e-310, dtype=np.float64), floats(2e-310, dtype=np.float64)
    )
    assert tiny.rmse == pytest.approx(2e-310)


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("shape", [(0,), (), (3, 5)])
def test_all_formats_and_shapes(name: str, shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, FORMATS[name].dtype)
    for codec in (LOSSLESS, Promise(absolute=0.5)):
        unit, _ = check(codec, values, values.copy())
        assert unit.bit_exact
        assert not unit.violated
        assert unit.exact_values == values.size


def test_views_and_foreign_byte_order() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert check(LOSSLESS, values.T[::2], values.T[::2].copy())[0].bit_exact
    swapped = values.astype(">f4")
    assert check(LOSSLESS, swapped, values)[0].bit_exact


def test_bfloat16_ties_at_the_bound_are_no_violation() -> None:
    # Every value a tie: the error is the bound exactly.
    exponent = np.float32(2.0) ** np.arange(-100, 100, dtype=np.float32)
    original = np.concatenate([exponent * np.float32(1 + 2.0**-8), np.zeros(1000, np.float32)])
    decoded = original.astype(ml_dtypes.bfloat16).astype(np.float32)
    bound = 2.0**-8 / (1 + 2.0**-8)
    inside = check(Promise(relative=2.0**-8), original, decoded)[0]
    assert not inside.violated
    assert check(Promise(relative=np.nextafter(bound, 0) * (1 - 2.0**-50)), original, decoded)[0].violated


def test_cast_codec_keeps_its_bound() -> None:
    codec = get_codec("cast", to="bfloat16")
    values = np.random.default_rng(1).standard_normal(100_000).astype(np.float32)
    unit, _ = check(codec, values, codec.decode(codec.encode(values)))
    assert not unit.violated
    assert unit.max_bound_share is not None
    assert 0.9 < unit.max_bound_share <= 1.0


class TestVerifier:
    def test_units_together_equal_one_array(self) -> None:
        rng = np.random.default_rng(0)
        original = rng.standard_normal(150_000).astype(np.float32)
        decoded = (original + rng.uniform(-1e-3, 1e-3, original.size)).astype(np.float32)
        codec = Promise(absolute=2e-3)
        whole = Verifier(codec)
        whole.add("all", original, decoded)
        parts = Verifier(codec)
        for index, at in enumerate(range(0, original.size, 40_001)):
            parts.add(f"p{index}", original[at : at + 40_001], decoded[at : at + 40_001])
        a, b = whole.verdict(), parts.verdict()
        assert (a.units, b.units) == (1, 4)
        for name in ("values", "exact_values", "max_abs_error", "max_rel_error", "max_bound_share"):
            assert getattr(a, name) == getattr(b, name)
        errors = decoded.astype(np.float64) - original
        for verdict in (a, b):
            assert verdict.rmse == pytest.approx(math.sqrt((errors**2).mean()))
            assert verdict.mean_error == pytest.approx(errors.mean())
            assert verdict.std_error == pytest.approx(errors.std())
            span = float(original.max()) - float(original.min())
            assert verdict.psnr_db == pytest.approx(20 * math.log10(span / verdict.rmse))
            assert verdict.bounds == {"float32": {"absolute": 2e-3, "relative": 0.0}}

    def test_third_round_only(self) -> None:
        verifier = Verifier(LOSSLESS)
        good, bad = np.zeros(10, np.int8), np.zeros(10, np.int8)
        bad[4] = 1
        for round, decoded in enumerate((good, good, bad), start=1):
            verifier.add("w", good, decoded, round)
        verdict = verifier.verdict()
        assert (verdict.violated, verdict.repeatable, verdict.bit_exact, verdict.verified) == (
            True,
            False,
            False,
            3,
        )
        assert verdict.violations[0].round == 3
        assert verdict.values == 10
        assert "round 3" in verdict.message()

    def test_varying_within_the_bound_is_allowed(self) -> None:
        verifier = Verifier(Promise(absolute=1.0))
        for round, error in enumerate((0.0, 0.5, 0.25), start=1):
            verifier.add("w", floats(1.0), floats(1.0 + error), round)
        verdict = verifier.verdict()
        assert (verdict.violated, verdict.repeatable, verdict.max_abs_error) == (False, False, 0.5)

    def test_nothing(self) -> None:
        verdict = Verifier(LOSSLESS).verdict()
        assert (verdict.violated, verdict.bit_exact, verdict.exact_share, verdict.message()) == (
            False,
            True,
            None,
            "",
        )
        verdict.plain()
