"""The hard limits of a child process, and why memory is watched rather than capped with ``setrlimit``.

RLIMIT_AS and RLIMIT_DATA count address space: Numba's and torch's reservations, thread stacks, glibc arenas
and copy-on-write file mappings weigh gigabytes there before a byte is touched, so a cap that lets torch
import lets a bomb grow, and one that stops the bomb refuses a memory-mapped checkpoint. A cgroup needs
rights that users do not have. So the parent reads what the child's process tree has *touched* every 50 ms
(anonymous pages, shared memory and swap; pages of mapped files are the kernel's to drop and do not count)
and kills the tree when that passes the limit. One core touches fresh pages at 1-3 GB/s, so the overshoot is
some 100 MB a core; and the child raises its own ``oom_score_adj``, so that the kernel, should it be
quicker, takes the child and never the parent.
"""

from dataclasses import dataclass, field

from weightbench.machine import memory_ceiling


def default_memory_bytes() -> int:
    """Nine tenths of what this process may use: the machine's memory or its control group's limit."""
    return memory_ceiling() * 9 // 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cell may take.

    Attributes:
        timeout_s: wall-clock seconds from the start of the child, imports included.
        memory_bytes: touched memory of the child and all it started (see the module's text).
        grace_s: seconds between asking the child to end (SIGTERM; it prints where it was) and killing it.
    """

    timeout_s: float = 3600.0
    memory_bytes: int = field(default_factory=default_memory_bytes)
    grace_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.timeout_s > 0 or not self.memory_bytes > 0 or not self.grace_s >= 0:
            raise ValueError(f"limits must be positive: {self}")
