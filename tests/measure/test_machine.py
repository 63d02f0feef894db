import os
from pathlib import Path

import pytest

from weightbench.measure import Clock, machine_noise
from weightbench.measure import noise as noise_module
from weightbench.measure.affinity import pinned
from weightbench.measure.noise import NoiseProbe


def test_noise_is_sentences() -> None:
    assert all(isinstance(line, str) and line for line in machine_noise())
    assert all(isinstance(line, str) for line in NoiseProbe.start().flags())


def test_counters_become_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "_PROC", tmp_path)

    def proc(user: int, steal: int, mhz: float) -> None:
        (tmp_path / "stat").write_text(f"cpu  {user} 0 0 0 0 0 0 {steal} 0 0\nprocs_running 99\n")
        (tmp_path / "cpuinfo").write_text(f"processor : 0\ncpu MHz\t\t: {mhz}\n")

    proc(1000, 0, 3000.0)
    probe = NoiseProbe.start()
    proc(1080, 20, 2000.0)
    flags = " ".join(probe.flags())
    assert "99 tasks want to run" in flags
    assert "hypervisor took 20 %" in flags
    assert "from 3000 to 2000 MHz" in flags


def test_pinned_and_restored() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with pinned((core,)):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
    with pinned(None):
        assert os.sched_getaffinity(0) == before


def test_real_clock_ticks() -> None:
    assert 1 <= Clock().tick() < 1_000_000
