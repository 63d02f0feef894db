"""The environment record: complete, plain, and silent about persons and machines."""

import getpass
import json
import os
import platform
import sys
from pathlib import Path

import pytest

from weightbench import canonical, environment, machine


def test_record_is_plain_and_complete() -> None:
    record = environment.record()
    assert canonical.loads(canonical.dumps(record)) == record
    cpu, libraries = record["cpu"], record["libraries"]
    assert isinstance(cpu, dict)
    assert isinstance(libraries, dict)
    assert 1 <= cpu["usable_cores"] <= cpu["cores"]
    assert libraries["numpy"] == sys.modules["numpy"].__version__ if "numpy" in sys.modules else True
    assert libraries["weightbench"]
    assert record["python"] == platform.python_version()


def test_record_names_nobody() -> None:
    text = json.dumps(environment.record())
    for secret in (platform.node(), str(Path.home()), str(Path.cwd()), f'"{getpass.getuser()}"'):
        assert len(secret) < 4 or secret not in text


def test_git_revision_is_of_this_checkout_or_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    git = environment.record()["git"]
    assert git is None or (
        isinstance(git, dict) and len(git["revision"]) == 40 and isinstance(git["dirty"], bool)
    )
    # Installed elsewhere: not the revision of whatever repository lies around it.
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert environment.record()["git"] is None
    monkeypatch.setenv("PATH", "")
    assert environment.record()["git"] is None


@pytest.mark.parametrize(("load", "busy"), [(0.1, False), (50.0, True)])
def test_load_warning(load: float, busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    warning = environment.load_warning()
    assert (warning is not None) is busy
    assert warning is None or "50.0" in warning


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/memory.max": "1000000\n",
    "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/a/cpu.max": "max 100000\n",
}
V1 = {
    "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
    "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}
FREE = {
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/fs/cgroup/memory.max": "max\n",
}


@pytest.mark.parametrize(
    ("files", "memory", "cores"),
    [(V2, 1000000, 1.5), (V1, 2000000, 0.5), (FREE, None, None), ({}, None, None)],
)
def test_control_groups(
    files: dict[str, str], memory: int | None, cores: float | None, tmp_path: Path
) -> None:
    root = _tree(tmp_path, files)
    assert machine.cgroup_memory_limit(root) == memory
    assert machine.cgroup_cpu_quota(root) == cores


def test_memory_ceiling() -> None:
    assert 0 < machine.memory_ceiling() <= machine.memory_total()
