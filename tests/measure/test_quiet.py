"""Before timings: what disturbs is seen, said once, and waited for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from weightbench import machine
from weightbench.measure import noise as noise_module
from weightbench.measure import quiet
from weightbench.measure.noise import NoiseProbe
from weightbench.measure.quiet import passing_noise, settle


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_looked", False)
    monkeypatch.setattr(quiet, "_warned", False)


@pytest.fixture
def neighbours() -> Iterator[list[int]]:
    """A busy process for every core."""
    spin = "print(flush=True)\nwhile True: pass"
    command = [sys.executable, "-c", spin]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(machine.usable_cores())
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    yield [process.pid for process in running]
    for process in running:
        process.kill()
        process.communicate()


def test_busy_neighbours_are_seen(
    neighbours: list[int], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "_SHOWN", 1000)  # others may be busier
    monkeypatch.setattr(quiet, "_TICKS", 0)
    probe = NoiseProbe.start()
    assert any("other processes used" in line for line in passing_noise())
    assert any("other processes used" in line for line in probe.flags())
    assert settle(0.0)
    said = capfd.readouterr().err
    assert "warning: this machine is not quiet" in said
    assert "other processes used" in said
    assert "quiet_wait_s" in said
    assert all(f"(process {pid})" in said for pid in neighbours)


def test_what_this_process_uses_itself_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_module, "_PROC", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1})
    fields = "cpu1 {} 0 0 {} 0 0 0 0 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n"
    (tmp_path / "stat").write_text(fields.format(0, 0))
    (tmp_path / "vmstat").write_text("pswpin 10\npswpout 0\nother 5\n")
    before = NoiseProbe.start()
    (tmp_path / "stat").write_text(fields.format(500, 500))
    (tmp_path / "vmstat").write_text("pswpin 300\npswpout 700\nother 5\n")
    now = NoiseProbe.start()
    # Five seconds of ticks: all this process's own, and all but one second of them.
    for own, expected in ((5.0, []), (4.0, ["other processes used 0.1 of 1 usable cores"])):
        here = replace(now, at=before.at + 8.0, own=before.own + own, switches=before.switches)
        assert [line for line in before.happened(here) if "processes" in line] == expected
        assert any("990 pages went to swap and back" in line for line in before.happened(here))


def test_a_quiet_machine_is_passed_over_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    assert settle(100.0, look=list, lasting=list) == []
    assert settle(0.0, look=list, lasting=list) == []
    assert capfd.readouterr().err == ""


def test_it_waits_until_the_machine_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    looks, slept = [["busy"], ["busy"], ["busy"], []], list[float]()
    assert settle(60.0, look=lambda: looks.pop(0), lasting=list, sleep=slept.append) == []
    assert len(slept) == 3
    said = capfd.readouterr().err.splitlines()
    assert said == ["waiting up to 60 s for a quiet machine: busy"]


def test_it_waits_no_longer_than_it_may_and_warns_once(capfd: pytest.CaptureFixture[str]) -> None:
    slept = list[float]()
    for _ in range(2):
        assert settle(10.0, look=lambda: ["busy"], lasting=lambda: ["slow"], sleep=slept.append)
    assert sum(slept) == 20.0
    said = capfd.readouterr().err
    assert said.count("waiting up to 10 s") == 2
    assert said.count("warning: this machine") == 1
    assert "  - busy\n  - slow\n" in said


def test_without_waiting_it_looks_once() -> None:
    looks = [["busy"]]
    assert settle(0.0, look=looks.pop, lasting=list) == ["busy"]
    assert settle(0.0, look=looks.pop, lasting=list) == []


def test_what_does_not_pass_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    slept = list[float]()
    assert settle(60.0, look=list, lasting=lambda: ["governor"], sleep=slept.append) == ["governor"]
    assert slept == []
    assert "  - governor\n" in capfd.readouterr().err
