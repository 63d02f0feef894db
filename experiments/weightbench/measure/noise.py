"""Is the machine quiet enough for timings? Before a measurement, and what happened during one."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

from weightbench import machine
from weightbench.environment import load_warning

__all__ = ["NoiseProbe", "machine_noise"]

_PROC = Path("/proc")
_SWITCHES_PER_SECOND = 50.0
_STEAL = 0.02
_DRIFT = 0.05


def machine_noise() -> list[str]:
    """Return sentences about what would disturb timings now; empty on a quiet machine. Takes no time.

    Looked at: load average, tasks running now, the CPU frequency governor, whether the control group's CPU
    quota throttles, swapping. What cannot be read says nothing.
    """
    warning = load_warning()
    found = [warning] if warning else []
    running = _stat("procs_running")
    cores = machine.usable_cores()
    if running is not None and running > cores:
        found.append(f"{running} tasks want to run now on {cores} usable cores")
    governor = _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")).strip()
    if governor and governor != "performance":
        found.append(f"the CPU frequency governor is {governor!r}; 'performance' keeps the frequency steady")
    quota = machine.cgroup_cpu_quota()
    if quota is not None and quota < cores:
        found.append(
            f"the control group allows {quota:g} cores' worth of time on {cores} cores: it throttles"
        )
    return found


@dataclass(frozen=True, slots=True)
class NoiseProbe:
    """The machine's counters at one moment; `start()` one before, ask `flags()` afterwards."""

    at: float
    switches: int
    steal: int
    total: int
    mhz: float | None
    before: tuple[str, ...]

    @classmethod
    def start(cls) -> NoiseProbe:
        """Read the counters."""
        steal, total = _steal()
        return cls(
            time.perf_counter(),
            resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
            steal,
            total,
            _mhz(),
            tuple(machine_noise()),
        )

    def flags(self) -> list[str]:
        """Return what disturbed this process since `start()`, and what was noisy then (or is now)."""
        now = NoiseProbe.start()
        found = list(self.before or now.before)
        seconds = max(now.at - self.at, 1e-3)
        switches = now.switches - self.switches
        # Two in a short measurement are nothing; a rate needs a count behind it.
        if switches > 20 and switches / seconds > _SWITCHES_PER_SECOND:
            found.append(f"{switches} involuntary context switches in {seconds:.1f} s: others took the core")
        ticks = now.total - self.total
        if ticks > 0 and (now.steal - self.steal) / ticks > _STEAL:
            found.append(
                f"the hypervisor took {100 * (now.steal - self.steal) / ticks:.0f} % of the CPU time"
            )
        if self.mhz and now.mhz and abs(now.mhz / self.mhz - 1) > _DRIFT:
            found.append(f"the CPU frequency went from {self.mhz:.0f} to {now.mhz:.0f} MHz")
        return found


def _stat(key: str) -> int | None:
    for line in _text(_PROC / "stat").splitlines():
        words = line.split()
        if words[:1] == [key]:
            return int(words[1])
    return None


def _steal() -> tuple[int, int]:
    """Ticks stolen by the hypervisor and all ticks of all cores; (0, 0) where unknown."""
    words = _text(_PROC / "stat").split("\n", 1)[0].split()
    ticks = [int(word) for word in words[1:9]] if words[:1] == ["cpu"] else []
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else (0, 0)


def _mhz() -> float | None:
    """Mean frequency over the cores."""
    lines = [line for line in _text(_PROC / "cpuinfo").splitlines() if line.startswith("cpu MHz")]
    readings = [float(line.partition(":")[2]) for line in lines]
    return sum(readings) / len(readings) if readings else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
