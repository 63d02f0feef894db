"""Fixed work before and after: the same numbers on the same machine, and said when they are not."""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightbench.measure import Clock, MeasurePlan, Yardstick, measure_units, take_mark
from weightbench.measure import noise as noise_module
from weightbench.measure.noise import core_mhz
from weightbench.measure.yardstick import DRIFT, Mark, change
from weightcodecs import get_codec

SPEEDS = st.floats(1.0, 1e6)


@dataclass(frozen=True)
class Unit:
    key: str
    values: Any

    def array(self) -> Any:
        return self.values


class Steps:
    """A machine on which everything takes one step of the clock, and the step may change."""

    def __init__(self) -> None:
        self.now, self.step = 0, 1_000_000

    def clock(self) -> Clock:
        return Clock(wall=self.read, cpu=self.read, sleep=lambda _: None)

    def read(self) -> int:
        self.now += self.step
        return self.now


def mark(zstd: float, memcpy: float) -> Mark:
    return Mark("2026-01-01T00:00:00.000+00:00", zstd, memcpy, None)


@given(SPEEDS, SPEEDS, SPEEDS, SPEEDS)
def test_change_has_no_direction(a: float, b: float, c: float, d: float) -> None:
    there, back = change((a, b), (c, d)), change((c, d), (a, b))
    assert math.isclose(there, back) or max(there, back) < 1e-9
    assert there >= 0
    assert change((a, b), (a, b)) == 0
    moved = Yardstick.between(mark(a, b), mark(c, d))
    assert bool(moved.flags()) == (there > DRIFT)


def test_a_mark_has_a_time_and_speeds_and_keeps_no_memory() -> None:
    take_mark()
    before = resident_bytes()
    first, second = take_mark(), take_mark()
    assert resident_bytes() - before < 8 << 20
    assert first.at < second.at
    assert all(each.zstd_mb_per_s > 0 and each.memcpy_mb_per_s > 0 for each in (first, second))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


ALLOCATOR = """
import ctypes
from weightbench.measure import take_mark

libc = ctypes.CDLL(None)
class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]
libc.mallinfo2.restype, libc.malloc.restype = Counts, ctypes.c_void_p

def smallest_mapped():
    for kib in (64, 130, 200, 300, 500, 800, 1500, 3000, 9000, 20000, 40000):
        before = libc.mallinfo2().d
        libc.malloc(kib << 10)
        if libc.mallinfo2().d > before:
            return kib

before = smallest_mapped()
take_mark()
take_mark()
assert smallest_mapped() == before, (before, smallest_mapped())
"""


def test_the_allocator_serves_the_codec_as_it_would_have() -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("the C library is not a recent glibc")
    ran = subprocess.run([sys.executable, "-c", ALLOCATOR], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_same_machine_has_the_same_marks() -> None:
    clock = Steps().clock()
    assert take_mark(clock).zstd_mb_per_s == take_mark(clock).zstd_mb_per_s


@pytest.mark.parametrize("factor", [1, 2])
def test_a_machine_that_slows_down_is_said_in_the_measurement(factor: int) -> None:
    steps, plan = Steps(), MeasurePlan(min_rounds=2, min_seconds=0.0, min_timed_seconds=0.0)
    values = np.arange(1000, dtype=np.float32)

    def slow_down(*_: object) -> None:
        steps.step = factor * 1_000_000

    measured = measure_units(
        get_codec("zstd"), [Unit("u", values)], plan, clock=steps.clock(), progress=slow_down, yardstick=True
    )
    assert measured.yardstick is not None
    assert measured.yardstick.change == pytest.approx(factor - 1)
    said = [flag for flag in measured.flags if "yardstick moved by 100%" in flag]
    assert len(said) == factor - 1
    section: Any = measured.plain()["yardstick"]
    assert section["before"].keys() == section["after"].keys()


def test_without_a_yardstick_there_is_none() -> None:
    measured = measure_units(
        get_codec("zstd"), [Unit("u", np.ones(9))], MeasurePlan(min_rounds=1, min_seconds=0)
    )
    assert measured.yardstick is None
    assert measured.plain()["yardstick"] is None


def test_the_frequency_is_that_of_the_core_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "_PROC", tmp_path)
    monkeypatch.setattr(noise_module, "_CPUS", tmp_path / "cpus")
    assert core_mhz() is None
    (tmp_path / "thread-self").mkdir()
    (tmp_path / "thread-self" / "stat").write_text(f"7 (a ) b) R {'0 ' * 35}11 0")
    blocks = "processor : 1\ncpu MHz : 1000.5\n\nprocessor\t: 11\ncpu MHz\t\t: 2000.5\n"
    (tmp_path / "cpuinfo").write_text(blocks)
    assert core_mhz() == 2000.5
    (tmp_path / "cpus" / "cpu11" / "cpufreq").mkdir(parents=True)
    (tmp_path / "cpus" / "cpu11" / "cpufreq" / "scaling_cur_freq").write_text("3000000\n")
    assert core_mhz() == 3000
