"""What this process may use of the machine: cores and memory, control groups (containers) counted in."""

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def _cgroup_folders(controller: str, root: Path) -> Iterator[Path]:
    """Folders of this process's control group and its parents, version 2 and version 1, innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        # In a container the path may be the host's, which is not visible; the mounted root is then the
        # group itself.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:depth])


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().split()
    except OSError:
        return None
    return int(text[0]) if text and text[0].lstrip("-").isdigit() else None


def cgroup_memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes this process's control groups allow it, the tightest of them, or None without a limit."""
    found = [
        limit
        for folder in _cgroup_folders("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
        # Version 1 says "no limit" with a number near 2**63.
        if (limit := _number(folder / name)) is not None and 0 < limit < 1 << 60
    ]
    return min(found, default=None)


def cgroup_cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores' worth of time this process's control groups allow it, or None without a limit."""
    found = []
    for folder in _cgroup_folders("cpu", root):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is None and (folder / "cpu.max").exists():
            words = (folder / "cpu.max").read_text().split()
            quota, period = (int(words[0]), int(words[1])) if words[0] != "max" else (-1, None)
        if quota is not None and period and quota > 0:
            found.append(quota / period)
    return min(found, default=None)


def memory_total() -> int:
    """Bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_ceiling() -> int:
    """Bytes of memory this process may use: the machine's, or its control group's limit if that is lower."""
    return min(memory_total(), cgroup_memory_limit() or memory_total())


def usable_cores() -> int:
    """Cores this process may run on (its affinity), before any quota."""
    return len(os.sched_getaffinity(0))
