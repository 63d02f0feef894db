"""Targets for the runner's tests: everything a native codec may do to its process.

NumPy is imported where it is used, so that most children start at once.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from weightbench.errors import Skip, Violated
from weightbench.runner import Task


def echo(argument: object, task: Task) -> object:
    return argument


def getenv(argument: list[str], task: Task) -> object:
    return [os.environ.get(name) for name in argument]


def measured(argument: object, task: Task) -> object:
    import numpy as np

    (task.workdir / "plots").mkdir()
    (task.workdir / "plots" / "a.txt").write_text("picture")
    (task.workdir / "rubbish.bin").write_bytes(b"x" * 1000)
    return {
        "result": {"ratio": np.float32(1.5), "n": np.int64(3), "psnr": float("inf"), "exact": np.bool_(True)},
        "tensors": [{"name": "w", "nbytes": 12}],
        "artifacts": ["plots/a.txt"],
    }


def count_runs(argument: dict[str, str], task: Task) -> object:
    with Path(argument["log"]).open("a") as file:
        file.write("run\n")
    return {"result": {"runs": len(Path(argument["log"]).read_text().split())}}


def progress(argument: object, task: Task) -> object:
    import numpy as np

    for i in range(1, 6):
        task.progress("encode", done=np.int64(i), total=5, unit="tensors")
        time.sleep(0.06)
    task.progress("schön")
    return None


def flood_progress(argument: object, task: Task) -> object:
    for i in range(200_000):
        task.progress(f"step {i}", i, 200_000)
    return "done"


def search_path(argument: object, task: Task) -> object:
    return {"path": sys.path, "variable": os.environ.get("PYTHONPATH")}


def segfault(argument: object, task: Task) -> object:
    ctypes.string_at(0)
    return None


def abort(argument: object, task: Task) -> object:
    os.abort()


def raise_error(argument: object, task: Task) -> object:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("the codec does not like this") from error


def raise_unprintable(argument: object, task: Task) -> object:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    raise RudeError


def skip(argument: object, task: Task) -> object:
    raise Skip("elf does not take bfloat16")


def skip_for_now(argument: object, task: Task) -> object:
    raise Skip("needs the hub", lasting=False)


def violate(argument: object, task: Task) -> object:
    raise Violated("not bit-exact", {"tensor": "w", "index": 3, "error": float("nan"), "odd": object()})


def garbage(argument: object, task: Task) -> object:
    os.write(1, b"\xff\xfe\x00garbage\n" * 100_000)
    os.write(2, b'{"progress": "what"}\n{"ended": 0}\n')
    print("the last words")
    return "fine"


def garbage_then_fail(argument: object, task: Task) -> object:
    garbage(argument, task)
    raise ValueError("after much noise")


def close_streams(argument: object, task: Task) -> object:
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)
    return "quiet"


def exit_quietly(argument: int, task: Task) -> object:
    os._exit(argument)


def sys_exit(argument: object, task: Task) -> object:
    sys.exit(3)


def not_plain(argument: object, task: Task) -> object:
    return {"result": {"array": object()}}


def wrong_shape(argument: object, task: Task) -> object:
    return argument


def sleep(argument: object, task: Task) -> object:
    time.sleep(600)
    return None


def spin_in_c(argument: object, task: Task) -> object:
    """A busy loop in C that holds the interpreter lock, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sum(range(10**15))


def memory_numpy(argument: object, task: Task) -> object:
    import numpy as np

    kept = []
    while True:
        kept.append(np.ones(8 << 20, np.uint8))


def memory_one_array(argument: object, task: Task) -> object:
    import numpy as np

    return int(np.ones(3 << 30, np.uint8).size)


def memory_threads(argument: object, task: Task) -> object:
    """Native allocations in two threads, without the interpreter's knowledge."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)

    def eat() -> None:
        while True:
            libc.memset(libc.malloc(ctypes.c_size_t(8 << 20)), 1, 8 << 20)

    threads = [threading.Thread(target=eat) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return None


def memory_grandchild(argument: object, task: Task) -> object:
    code = "x = []\nwhile True: x.append(bytearray(8 << 20))"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def memory_refused(argument: object, task: Task) -> object:
    import numpy as np

    np.empty(1 << 60, np.uint8)
    return None


def memory_mapped(argument: dict[str, int], task: Task) -> object:
    """Reads a mapped file larger than the limit; that is not memory the process owns."""
    import numpy as np

    path = task.workdir / "model.bin"
    with path.open("wb") as file:
        file.truncate(argument["nbytes"])
    return int(np.memmap(path, np.uint8, "r").sum())


def memory_reserved(argument: dict[str, int], task: Task) -> object:
    """Reserves address space far beyond the limit and touches none of it, as Numba and torch do."""
    import numpy as np

    return np.zeros(argument["nbytes"], np.uint8).size


def killed_from_outside(argument: object, task: Task) -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def fill_disk(argument: object, task: Task) -> object:
    with (task.workdir / "archive.bin").open("wb") as file:
        while True:
            file.write(b"x" * 4096)


def fill_disk_and_return(argument: object, task: Task) -> object:
    try:
        fill_disk(argument, task)
    except OSError:
        return {"result": {"much": "x" * 10_000}}


def dev_full(argument: object, task: Task) -> object:
    try:
        with Path("/dev/full").open("wb") as file:
            file.write(b"x" * (1 << 20))
    except OSError as error:
        raise RuntimeError("the archive could not be written") from error
    return None


def kill_guardian(argument: dict[str, str], task: Task) -> object:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(argument["pids"]).write_text(f"{os.getpid()} {child.pid}")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
    return None


def family(argument: dict[str, str], task: Task) -> object:
    """A grandchild in the group, one in a session of its own, and one that has lost its parent; all hang."""
    code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code += "print(os.getpid(), flush=True); time.sleep(600)"
    pids = [os.getpid()]
    for own_session in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=own_session
        )
        assert process.stdout is not None
        pids.append(int(process.stdout.readline()))
    shell = f"setsid {sys.executable} -c '{code}' & wait $(true)"
    orphan = subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE)
    assert orphan.stdout is not None
    pids.append(int(orphan.stdout.readline()))
    Path(argument["pids"]).write_text(" ".join(map(str, pids)))
    if argument["then"] == "hang":
        time.sleep(600)
    elif argument["then"] == "crash":
        ctypes.string_at(0)
    return pids
