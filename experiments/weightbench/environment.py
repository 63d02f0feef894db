"""The environment record of a row: what a number depends on, and nothing that names a person or host.

No host name, no user name, no absolute path. Library versions come from package metadata, so nothing is
imported.
"""

import functools
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from weightbench import machine

LIBRARIES = (
    "weightbench", "numpy", "scipy", "numba", "llvmlite", "ml_dtypes", "xxhash", "zstandard", "lz4", "brotli",
    "safetensors", "gguf", "torch", "transformers", "lm-eval", "datasets", "hydra-core", "pyarrow", "zipnn",
    "openzl", "blosc2", "pcodec", "fpzip", "zfpy", "pysz",
)  # fmt: skip
"""Distributions whose versions are recorded; the codecs live in weightbench's own."""

# What codecs, Numba, OpenBLAS and torch choose their kernels by.
CPU_FLAGS = (
    "sse4_2", "avx2", "bmi2", "f16c", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "sve2", "bf16",
)  # fmt: skip

VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT", "MALLOC_ARENA_MAX", "PYTHONHASHSEED",
)  # fmt: skip
"""Environment variables that change speeds; recorded where they are set."""


def record() -> dict[str, object]:
    """Plain values that describe where a cell runs, taken now. About 20 ms, most of it git.

    What cannot be read (a frequency in a virtual machine, a revision outside a checkout) is None.
    """
    return {
        "cpu": {**_processor(), **_frequency(), **_cores()},
        "memory": {
            "total_bytes": machine.memory_total(),
            "available_bytes": _meminfo("MemAvailable"),
            "cgroup_limit_bytes": machine.cgroup_memory_limit(),
        },
        "system": _system(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "libraries": dict(_libraries()),
        "git": _git(),
        "constraints_sha256": _constraints_hash(),
        "load": _load(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def load_warning() -> str | None:
    """A sentence if the machine is too busy for timings that mean something, otherwise None.

    Busy: more than a quarter of the cores this process may use are taken, by the load average of the last
    minute.
    """
    load, cores = _load(), machine.usable_cores()
    if load is None or load["1min"] <= max(0.5, cores / 4):
        return None
    return (
        f"the machine is busy: load average {load['1min']:.1f} on {cores} usable cores; ratios are not "
        "touched by that, speeds are: wait until it is quiet, or read them as shares of memcpy only"
    )


def _load() -> dict[str, float] | None:
    try:
        return dict(zip(("1min", "5min", "15min"), os.getloadavg(), strict=True))
    except OSError:
        return None


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo."""
    text = _text(Path("/proc/cpuinfo")).split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _processor() -> dict[str, object]:
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "model": info.get("model name") or platform.processor() or None,
        "architecture": platform.machine(),
        "byte_order": sys.byteorder,
        "flags": [flag for flag in CPU_FLAGS if flag in flags],
        "cache": info.get("cache size"),
    }


def _frequency() -> dict[str, object]:
    folder = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    mhz = _text(folder / "scaling_cur_freq")
    # Read afresh: it moves.
    live = [
        line.partition(":")[2]
        for line in _text(Path("/proc/cpuinfo")).splitlines()
        if line.startswith("cpu MHz")
    ]
    return {
        "mhz": float(mhz) / 1000 if mhz.strip().isdigit() else float(live[0]) if live else None,
        "governor": _text(folder / "scaling_governor").strip() or None,
    }


def _cores() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "usable_cores": machine.usable_cores(),
        "cgroup_quota_cores": machine.cgroup_cpu_quota(),
    }


def _meminfo(key: str) -> int | None:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return None


@functools.cache
def _system() -> dict[str, object]:
    return {
        "name": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "virtual": "hypervisor" in _cpuinfo().get("flags", "").split(),
        "container": _container(),
    }


def _container() -> str | None:
    marks = {"docker": Path("/.dockerenv"), "podman": Path("/run/.containerenv")}
    named = next((name for name, path in marks.items() if path.exists()), None)
    words = _text(Path("/proc/1/cgroup"))
    kinds = ("kubepods", "docker", "lxc", "containerd")
    return named or os.environ.get("container") or next((kind for kind in kinds if kind in words), None)  # noqa: SIM112


@functools.cache
def _libraries() -> dict[str, str | None]:
    import importlib.metadata  # 30 ms that a child process need not pay

    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _git() -> dict[str, object] | None:
    """Revision and dirty flag of the checkout that holds this very file, or None: not in one, or no git."""
    here = Path(__file__).resolve()
    # A package installed into a user's own repository must not record that repository's revision.
    if _run_git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    revision, status = _run_git(here, "rev-parse", "HEAD"), _run_git(here, "status", "--porcelain")
    if revision is None or status is None:
        return None
    return {"revision": revision.strip(), "dirty": bool(status.strip())}


def _run_git(here: Path, *arguments: str) -> str | None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(here.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@functools.cache
def _constraints_hash() -> str | None:
    """SHA-256 of the checkout's constraints.txt, the lock of the tested versions."""
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
