"""Is the machine quiet enough for timings? Before a measurement, and what happened during one."""

from __future__ import annotations

import os
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from weightbench import machine
from weightbench.environment import load_warning

__all__ = ["NoiseProbe", "core_mhz", "lasting_noise", "machine_noise"]

_PROC = Path("/proc")
_CPUS = Path("/sys/devices/system/cpu")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_SWITCHES_PER_SECOND = 50.0
_STEAL = 0.02
_DRIFT = 0.05
_SWAPPED_PAGES = 256
_OTHERS = 0.1  # cores
_OTHERS_SECONDS = 0.05  # ticks are 10 ms: fewer than five may be anybody's


def machine_noise() -> list[str]:
    """Return sentences about what would disturb timings now; empty on a quiet machine. Takes no time.

    Looked at: load average (of this very process's last minute too), tasks running now, and what
    `lasting_noise` says. What cannot be read says nothing.
    """
    warning = load_warning()
    return ([warning] if warning else []) + _running() + lasting_noise()


def lasting_noise() -> list[str]:
    """Return what disturbs timings and does not pass by waiting: CPU frequency governor and quota."""
    found = []
    governor = _text(_CPUS / "cpu0" / "cpufreq" / "scaling_governor").strip()
    if governor and governor != "performance":
        found.append(f"the CPU frequency governor is {governor!r}; 'performance' keeps the frequency steady")
    quota, cores = machine.cgroup_cpu_quota(), machine.usable_cores()
    if quota is not None and quota < cores:
        found.append(
            f"the control group allows {quota:g} cores' worth of time on {cores} cores: it throttles"
        )
    return found


def _running() -> list[str]:
    running, cores = _stat("procs_running"), machine.usable_cores()
    if running is None or running <= cores:
        return []
    return [f"{running} tasks want to run now on {cores} usable cores"]


@dataclass(frozen=True, slots=True)
class NoiseProbe:
    """The machine's counters at one moment; `start()` one before, ask `flags()` afterwards.

    Attributes:
        at: seconds of the monotonic clock.
        switches: involuntary context switches of this process.
        steal, total: ticks that the hypervisor took, and all ticks.
        busy: CPU seconds that anybody used of the cores this process may use.
        own: CPU seconds of this process and its ended children.
        swapped: pages brought in from swap and out to it.
        mhz: mean frequency over the cores.
        before: what disturbed at that moment.
    """

    at: float
    switches: int
    steal: int
    total: int
    busy: float
    own: float
    swapped: int
    mhz: float | None
    before: tuple[str, ...]

    @classmethod
    def start(cls) -> NoiseProbe:
        """Read the counters."""
        usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(
            time.perf_counter(),
            usage[0].ru_nivcsw,
            *_steal(),
            _busy(os.sched_getaffinity(0)),
            sum(each.ru_utime + each.ru_stime for each in usage),
            _swapped(),
            _mhz(),
            tuple(_running() + lasting_noise()),
        )

    def flags(self) -> list[str]:
        """Return what disturbed this process since `start()`, and what was noisy then (or is now)."""
        now = NoiseProbe.start()
        found = list(self.before or now.before) + self.happened(now)
        if self.mhz and now.mhz and abs(now.mhz / self.mhz - 1) > _DRIFT:
            found.append(f"the CPU frequency went from {self.mhz:.0f} to {now.mhz:.0f} MHz")
        return found

    def happened(self, now: NoiseProbe) -> list[str]:
        """Return what others did between this moment and `now`."""
        found = []
        seconds = max(now.at - self.at, 1e-3)
        others = (now.busy - self.busy) - (now.own - self.own)
        cores = machine.usable_cores()
        if others > _OTHERS_SECONDS and others / seconds > max(_OTHERS, cores / 32):
            found.append(f"other processes used {others / seconds:.1f} of {cores} usable cores")
        switches = now.switches - self.switches
        # Two in a short measurement are nothing; a rate needs a count behind it.
        if switches > 20 and switches / seconds > _SWITCHES_PER_SECOND:
            found.append(f"{switches} involuntary context switches in {seconds:.1f} s: others took the core")
        ticks = now.total - self.total
        if ticks > 0 and (now.steal - self.steal) / ticks > _STEAL:
            found.append(
                f"the hypervisor took {100 * (now.steal - self.steal) / ticks:.0f} % of the CPU time"
            )
        if now.swapped - self.swapped > _SWAPPED_PAGES:
            found.append(f"{now.swapped - self.swapped} pages went to swap and back: memory is short")
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


def _busy(cores: set[int]) -> float:
    """CPU seconds that were used of some cores since the machine started; 0 where unknown."""
    names, ticks = {f"cpu{core}" for core in cores}, 0
    for line in _text(_PROC / "stat").splitlines():
        words = line.split()
        if words and words[0] in names:
            user, nice, system, _idle, _iowait, irq, softirq = map(int, words[1:8])
            ticks += user + nice + system + irq + softirq
    return ticks / _TICKS_PER_SECOND


def _swapped() -> int:
    pairs = (line.split() for line in _text(_PROC / "vmstat").splitlines())
    return sum(int(pair[1]) for pair in pairs if pair[0] in ("pswpin", "pswpout"))


def _mhz() -> float | None:
    """Mean frequency over the cores."""
    lines = [line for line in _text(_PROC / "cpuinfo").splitlines() if line.startswith("cpu MHz")]
    readings = [float(line.partition(":")[2]) for line in lines]
    return sum(readings) / len(readings) if readings else None


def core_mhz() -> float | None:
    """Frequency of the core that this thread runs on; None if it cannot be read (as in most containers)."""
    stat = _text(_PROC / "thread-self" / "stat").rpartition(")")[2].split()
    core = stat[36] if len(stat) > 36 else "0"
    text = _text(_CPUS / f"cpu{core}" / "cpufreq" / "scaling_cur_freq").strip()
    if text.isdigit():
        return int(text) / 1000
    blocks = _text(_PROC / "cpuinfo").split("\n\n")
    mine = next((block for block in blocks if re.search(rf"^processor\s*:\s*{core}$", block, re.M)), "")
    found = re.search(r"^cpu MHz\s*:\s*([\d.]+)$", mine, re.M)
    return float(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
