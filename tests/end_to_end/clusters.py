"""A real Slurm, and a Ray head, on this machine's loopback for the time of a test."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "sinfo")
START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def daemon(command: list[str], log: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the foreground; ended with all it started."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=env, cwd=log.parent, start_new_session=True
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until(ready: Callable[[], bool], what: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def require_slurm() -> None:
    """Skip the test if there is no Slurm, and none can be installed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("Slurm's daemons are started as root, on Linux")
    if all(map(shutil.which, PROGRAMS)):
        return
    if shutil.which("apt-get") is None:
        pytest.skip(f"no Slurm here, and no apt-get to install {' and '.join(PACKAGES)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=env, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")


@contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd; yield the variables that Slurm's commands need."""
    require_slurm()
    with tempfile.TemporaryDirectory(prefix="slurm") as name, ExitStack() as daemons:
        folder, host = Path(name), socket.gethostname().split(".")[0]
        folder.chmod(0o755)  # munged asks for that
        for part in ("state", "spool"):
            (folder / part).mkdir()
        key, gate = folder / "key", folder / "munge.socket"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        configuration = folder / "slurm.conf"
        configuration.write_text(slurm_conf(folder, gate, host))
        env = {**os.environ, "SLURM_CONF": str(configuration)}
        files = [f"--{part}-file={folder / part}" for part in ("pid", "log", "seed")]
        munged = ["munged", "--foreground", f"--socket={gate}", f"--key-file={key}", *files]
        log = folder / "munged.out"
        daemons.enter_context(daemon(munged, log, env))
        wait_until(gate.exists, "munged", log)
        log = folder / "slurmctld.out"
        daemons.enter_context(daemon(["slurmctld", "-D", "-f", str(configuration)], log, env))
        daemons.enter_context(
            daemon(["slurmd", "-D", "-f", str(configuration), "-N", host], folder / "slurmd.out", env)
        )

        def idle() -> bool:
            asked = subprocess.run(["sinfo", "-h", "-o", "%t"], env=env, capture_output=True, text=True)
            return asked.stdout.strip() == "idle"

        wait_until(idle, "Slurm", log)
        yield {"SLURM_CONF": str(configuration)}

        def empty() -> bool:
            return not subprocess.run(["squeue", "-h"], env=env, capture_output=True, check=True).stdout

        # What runs a job's script outlives daemons that it cannot tell of the job's end.
        wait_until(empty, "an empty queue", log)


def slurm_conf(folder: Path, gate: Path, host: str) -> str:
    return f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={gate}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def ray_head() -> Iterator[dict[str, str]]:
    """Start a Ray head that asks for a token; yield the variables that a driver needs."""
    program = Path(sys.executable).with_name("ray")
    if not program.exists():
        pytest.skip("Ray is not installed: pip install -c constraints.txt -e '.[ray]'")
    with tempfile.TemporaryDirectory(prefix="ray") as name:
        folder, port = Path(name), free_port()
        token, log = folder / "token", folder / "head.out"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        lock = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        command = [str(program), "start", "--head", "--block", f"--port={port}", f"--temp-dir={folder / 't'}"]
        command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"]
        env = {**os.environ, **LOOPBACK, **lock}
        with daemon(command, log, env) as process:
            wait_until(lambda: b"Ray runtime started" in log.read_bytes(), "Ray", log)
            assert process.poll() is None
            yield {**lock, **LOOPBACK, "RAY_ADDRESS": f"127.0.0.1:{port}"}


# Ray otherwise takes the machine's network address for its own, whatever it is told.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
