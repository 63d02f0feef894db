import gc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from weightbench.measure import Clock, MeasurePlan, measure_units
from weightcodecs import Blob, ErrorBound, FloatFormat, get_codec
from weightcodecs.codec import DeltaCodec
from weightcodecs.identity import Identity

Array = np.ndarray[Any, Any]


@dataclass
class FakeClock:
    """Advances by `step` ns at every reading, and by what the fake codecs say."""

    now: int = 0
    used: int = 0
    step: int = 10

    def clock(self) -> Clock:
        return Clock(self.wall, lambda: self.used)

    def wall(self) -> int:
        self.now += self.step
        return self.now

    def work(self, nanoseconds: int, cores: float = 1.0) -> None:
        self.now += nanoseconds
        self.used += int(nanoseconds * cores)


@dataclass(frozen=True)
class Held:
    key: str
    values: Array

    def array(self) -> Array:
        return self.values


@dataclass(frozen=True)
class Fake(Identity):
    """Identity that takes a set time for every call and does what else the test wants."""

    name: ClassVar[str] = "identity"
    time: Any = field(default=None, compare=False)
    encode_ns: int = 0
    decode_ns: int = 0
    on_encode: Any = field(default=None, compare=False)
    on_decode: Any = field(default=None, compare=False)
    absolute: float = 0.0

    def error_bound(self, format: FloatFormat) -> ErrorBound:
        return ErrorBound(self.absolute)

    def encode(self, values: Array, *, reference: Array | None = None, threads: int = 1) -> Blob:
        blob = super().encode(values, reference=reference, threads=threads)
        if self.time is not None:
            self.time.work(self.encode_ns)
        if self.on_encode is not None:
            self.on_encode(values)
        return blob

    def decode(
        self, blob: Any, *, reference: Array | None = None, out: Array | None = None, threads: int = 1
    ) -> Array:
        values = super().decode(blob, reference=reference, out=out, threads=threads)
        if self.time is not None:
            self.time.work(self.decode_ns)
        return values if self.on_decode is None else self.on_decode(values)


def plan(**changes: Any) -> MeasurePlan:
    fields: dict[str, Any] = {
        "name": "test", "min_rounds": 3, "min_seconds": 0.0, "warmup": 0, "min_timed_seconds": 0.0,
    }  # fmt: skip
    return MeasurePlan(**(fields | changes))


def units(*sizes: int) -> list[Held]:
    rng = np.random.default_rng(0)
    return [Held(f"u{i}", rng.standard_normal(n).astype(np.float32)) for i, n in enumerate(sizes)]


def test_times_are_those_of_the_clock() -> None:
    time = FakeClock()
    result = measure_units(
        Fake(time, 1_000_000, 500_000), units(250_000, 250_000), plan(min_rounds=6), clock=time.clock()
    )
    assert result.rounds == 6
    assert result.original_bytes == 2_000_000
    assert result.encode is not None
    assert result.decode is not None
    assert result.encode.mb_per_s is not None
    assert result.encode.seconds.median == pytest.approx(2e-3, rel=1e-3)
    assert result.encode.mb_per_s.median == pytest.approx(1000, rel=1e-3)
    assert result.decode.cpu_seconds.median == pytest.approx(1e-3, rel=1e-3)
    assert result.encode.seconds.ci_confidence == 1 - 2 / 2**6
    # The copy takes one reading of the clock, 10 ns: share = 10 ns / 1 ms.
    assert result.encode.share_of_memcpy_fresh is not None
    assert result.encode.share_of_memcpy_fresh.median == pytest.approx(1e-5, rel=1e-2)
    assert result.units[0].encode_mb_per_s == pytest.approx(1000, rel=1e-3)
    assert result.spent["codec"] == pytest.approx(6 * 3e-3, rel=1e-3)
    result.plain()


def test_rounds_until_count_and_seconds() -> None:
    time = FakeClock()
    codec = Fake(time, 60_000_000, 40_000_000)
    assert measure_units(codec, units(9), plan(min_seconds=0.45), clock=time.clock()).rounds == 5
    assert measure_units(codec, units(9), plan(min_seconds=0.0), clock=time.clock()).rounds == 3
    late = measure_units(codec, units(9), plan(min_rounds=50, max_seconds=0.25), clock=time.clock())
    assert late.rounds == 3
    assert any("max_seconds" in flag for flag in late.flags)


def test_single_round_is_flagged() -> None:
    plan = MeasurePlan("smoke", 1, 0.0, min_timed_seconds=0.0)
    result = measure_units(get_codec("identity"), units(1000), plan)
    assert result.single_round
    assert any("single round" in flag for flag in result.flags)
    assert result.encode is not None
    assert result.encode.seconds.ci_low is None
    assert result.encode.seconds.cv is None


def test_tiny_units_are_repeated_until_visible() -> None:
    time = FakeClock()
    codec = Fake(time, 2_000, 1_000)
    result = measure_units(codec, units(4), plan(min_timed_seconds=200e-6), clock=time.clock())
    assert 190 <= result.units[0].calls <= 210
    assert result.units[0].visible
    assert result.units[0].encode_seconds == pytest.approx(2e-6, rel=0.01)
    assert result.decode is not None
    assert result.decode.seconds.median == pytest.approx(1e-6, rel=0.01)


def test_units_the_clock_cannot_see_are_flagged() -> None:
    time = FakeClock()
    result = measure_units(Fake(time, 2_000, 1_000), [*units(4, 4)], plan(), clock=time.clock())
    assert not result.units[0].visible
    assert any("2 of 2 units (32 bytes) are too small for the clock" in flag for flag in result.flags)


def test_codec_that_rewrites_its_input_sees_the_original_every_time() -> None:
    seen: list[bytes] = []

    def scramble(values: Array) -> None:
        seen.append(values.tobytes())
        values[...] = 7

    items = units(100)
    kept = items[0].values.copy()
    items[0].values.flags.writeable = False
    result = measure_units(Fake(on_encode=scramble), items, plan(min_timed_seconds=1e-4, warmup=1))
    assert len(seen) > 6
    assert set(seen) == {kept.tobytes()}
    assert np.array_equal(items[0].values, kept)
    assert not result.verdict.violated


@pytest.mark.parametrize("every_round", [True, False])
def test_wrong_on_the_third_round_only(every_round: bool) -> None:
    calls = 0

    def third(values: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 3:
            values = values.copy()
            values[11] += 1
        return values

    result = measure_units(
        Fake(on_decode=third), units(64), plan(min_rounds=5, verify_every_round=every_round)
    )
    assert result.verdict.violated == every_round
    if every_round:
        broken = result.verdict.violations[0]
        assert (broken.unit, broken.index, broken.round, broken.kind) == ("u0", 11, 3, "not bit-exact")
        assert result.rounds == 3
        assert any("broke its promise" in flag for flag in result.flags)


def test_lie_about_the_bound() -> None:
    codec = Fake(on_decode=lambda values: values + np.float32(0.5), absolute=0.25)
    result = measure_units(codec, units(64, 64), plan())
    assert result.verdict.violated
    assert result.rounds == 1
    assert len(result.verdict.violations) == 2
    assert result.verdict.share_beyond_bound == 1.0
    result.plain()


def test_changed_nan_payload() -> None:
    def quiet(values: Array) -> Array:
        values = values.copy()
        values.view(np.uint32)[3] ^= 1
        return values

    values = np.array([1, 2, 3, np.nan], np.float32)
    result = measure_units(Fake(on_decode=quiet, absolute=1e9), [Held("w", values)], plan())
    assert result.verdict.violations[0].kind == "non-finite changed"
    assert result.verdict.nonfinite_changed == 1


def test_orders_and_sink() -> None:
    order: list[str] = []

    @dataclass(frozen=True)
    class Noted(Held):
        def array(self) -> Array:
            order.append(self.key)
            return self.values

    items = [Noted(unit.key, unit.values) for unit in units(*range(20, 30))]
    blobs: list[tuple[str, bytes]] = []
    measure_units(
        get_codec("identity"), items, plan(), sink=lambda key, blob: blobs.append((key, bytes(blob)))
    )
    keys = [unit.key for unit in items]
    rounds = [order[at : at + 10] for at in range(0, 30, 10)]
    assert rounds[0] == keys
    assert all(sorted(r) == sorted(keys) for r in rounds)
    assert rounds[1] != keys
    assert rounds[1] != rounds[2]
    again = order.copy()
    order.clear()
    measure_units(get_codec("identity"), items, plan())
    assert order == again  # the seed decides
    assert [key for key, _ in blobs] == keys
    assert np.array_equal(get_codec("identity").decode(blobs[4][1]), items[4].values)


@pytest.mark.parametrize("output", ["fresh", "reused"])
def test_output_policy(output: str) -> None:
    outs: list[bool] = []

    @dataclass(frozen=True)
    class Looks(Fake):
        def decode(self, blob: Any, *, reference: Any = None, out: Any = None, threads: int = 1) -> Array:
            outs.append(out is not None)
            return super().decode(blob, reference=reference, out=out, threads=threads)

    result = measure_units(Looks(), units(10), plan(output=output))
    assert outs == [output == "reused"] * 3
    assert result.output == output
    assert not result.verdict.violated


def test_warmup_is_outside_and_once_per_kind() -> None:
    time = FakeClock()
    calls: list[int] = []

    def slow_at_first(values: Array) -> None:
        if values.shape not in seen:
            seen.add(values.shape)
            time.work(10**9)
        calls.append(values.nbytes)

    seen: set[tuple[int, ...]] = set()
    codec = Fake(time, 1000, 1000, on_encode=slow_at_first)
    result = measure_units(codec, units(1000, 1000, 4), plan(warmup=2), clock=time.clock())
    assert result.encode is not None
    assert result.encode.seconds.max < 1e-3
    assert len(calls) == 2 * 2 + 3 * 3
    assert result.spent["warmup"] > 1.9


def test_warmup_on_a_part() -> None:
    calls: list[int] = []
    codec = Fake(on_encode=lambda values: calls.append(values.size))
    big = Held("big", np.zeros((1000, 16), np.float32))
    measure_units(codec, [big], plan(min_rounds=1, warmup=1, warmup_bytes=6400))
    assert calls == [1600, 16000]


def test_memcpy_budget() -> None:
    result = measure_units(get_codec("identity"), units(1000, 1000, 1000), plan(memcpy_bytes=5000))
    copied = [unit.memcpy_fresh_seconds is not None for unit in result.units]
    assert sum(copied) >= 2
    one = measure_units(get_codec("identity"), units(1000, 1000), plan(min_rounds=1, memcpy_bytes=4000))
    assert [unit.memcpy_fresh_seconds is not None for unit in one.units] == [True, False]


def test_starved_and_greedy_codecs_are_flagged() -> None:
    time = FakeClock()

    def flags(cores: float) -> str:
        codec = Fake(on_encode=lambda _: time.work(20_000_000, cores))
        return " ".join(measure_units(codec, units(9), plan(), clock=time.clock()).flags)

    assert "50 % of a core" in flags(0.5)
    assert "used 2.0 cores" in flags(2.0)
    assert "core" not in flags(1.0).replace("usable cores", "").replace("took the core", "")


def test_collector_is_off_inside_and_on_again() -> None:
    states: list[bool] = []
    assert gc.isenabled()
    measure_units(Fake(on_encode=lambda _: states.append(gc.isenabled())), units(9), plan())
    assert states == [False] * 3
    assert gc.isenabled()

    def fails(values: Array) -> None:
        raise RuntimeError("broken codec")

    with pytest.raises(RuntimeError, match="broken codec"):
        measure_units(Fake(on_encode=fails), units(9), plan())
    assert gc.isenabled()


def test_delta_codec_gets_a_private_base() -> None:
    @dataclass(frozen=True)
    class Delta(DeltaCodec):
        name: ClassVar[str] = "test_delta"

        def _encode(self, values: Any, format: Any, reference: Any, threads: int) -> None:
            assert np.array_equal(reference, base.reshape(-1))
            assert not np.shares_memory(reference, base)

        def _decode(self, info: Any, reference: Any, out: Any, threads: int) -> Any:
            raise AssertionError("raw")

    base = np.ones(50, np.float32)
    result = measure_units(Delta(), units(50), plan(), references=lambda key: base)
    assert not result.verdict.violated


def test_no_units_and_empty_units() -> None:
    nothing = measure_units(get_codec("zstd"), [], plan())
    assert (nothing.rounds, nothing.encode, nothing.units) == (0, None, ())
    nothing.plain()
    empty = measure_units(get_codec("zstd"), [Held("e", np.zeros((0, 3), np.float32))], plan())
    assert empty.encode is not None
    assert empty.encode.mb_per_s is None
    assert empty.units[0].encode_mb_per_s is None
    empty.plain()


def test_repeated_keys_and_bad_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="'u0' comes twice"):
        measure_units(get_codec("identity"), [*units(3), *units(3)], plan())
    for bad in ({"min_rounds": 0}, {"threads": 0}, {"min_seconds": -1.0}, {"output": "old"}, {"warmup": -1}):
        with pytest.raises(ValueError, match="measure:"):
            plan(**bad)
    with pytest.raises(ValueError, match="pin_cores"):
        plan(threads=2, pin_cores=(0,))
    with pytest.raises(ValueError, match="not all among the usable"):
        measure_units(get_codec("identity"), units(3), plan(pin_cores=(100_000,)))


def test_progress_is_told() -> None:
    told: list[tuple[str, float, float, str]] = []
    measure_units(get_codec("identity"), units(3, 3), plan(min_rounds=2), progress=lambda *a: told.append(a))
    assert told[1] == ("measuring, round 1", 2, 2, "units")
    assert len(told) == 4
