"""A hub larger than the memory that a depot may take: peak memory, throughput, and what overlapping gains.

    python benchmarks/out_of_core.py GB [--codec zipnn] [--threads 2] [--memory-mib 512] [--folder FOLDER]
                                        [--rounds 3] [--keep]

Makes a hub of synthetic bfloat16 checkpoints of about 1 GB each as files, adds them to a depot and restores
them, each in a process that is watched from outside (/proc/PID/status, 50 times a second): VmHWM is the peak
of all resident pages, those of mapped files included, which the system takes back when it needs them;
RssAnon counts the pages that it cannot. Files leave the page cache before each step. Restored files must
have the SHA-256 of the originals.

The gain from overlapping is measured on the first checkpoint: added to an empty depot without overlapping
(one thread, one thing at a time), overlapped with one coding thread, and with `--threads`, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from weightbench.depot import create_depot, open_depot
from weightbench.granularity import Granularity
from weightbench.models import LocalSource, Model, SyntheticSource, open_model
from weightcodecs import get_codec

MODEL_BYTES = 1_000_000_000
RUN = 8 << 20  # values
Found = dict[str, Any]


def make_hub(folder: Path, nbytes: int) -> list[Path]:
    """Write checkpoints of `nbytes` in all, no two tensors of them alike, and return their folders.

    The first one is generated, which takes longer than coding it; the values of the others are its own,
    turned round by another number of places in each tensor.
    """
    size = min(nbytes, MODEL_BYTES)
    places = [folder / f"model{i}" for i in range(max(1, round(nbytes / MODEL_BYTES)))]
    first = places[0] / "model.safetensors"
    for i, place in enumerate(places):
        path = place / first.name
        if (place / "done").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        model = open_model(
            LocalSource(str(places[0]))
            if i
            else SyntheticSource("llama3_1b", "row_varying", seed=0, nbytes=size)
        )
        (file,) = model.files
        with path.open("wb") as out:
            for extent in file.extents:
                if extent.tensor is None:
                    out.write(model.read_range(file.name, extent.offset, extent.nbytes))
                else:
                    _write_turned(out, model, extent.tensor, i)
                    model.drop(extent.tensor)
            os.fsync(out.fileno())
        (place / "done").touch()
        print(f"made {place.name}: {file.nbytes / 1e9:.2f} GB", flush=True)
    return places


def _write_turned(out: BinaryIO, model: Model, name: str, number: int) -> None:
    count = prod(model.tensors[name].shape)
    cut = number * 1_000_003 % count if count else 0
    for begin, end in ((cut, count), (0, cut)):
        for start in range(begin, end, RUN):
            values = model.elements(name, start, min(start + RUN, end))
            out.write(np.ascontiguousarray(values).view(np.uint8).data)


def step(options: argparse.Namespace) -> None:
    """Do what the watched process does, and print what came of it as JSON."""
    begun, spent, stored = time.perf_counter(), dict.fromkeys(("read", "encode", "write", "hash"), 0.0), 0
    raw = 0
    memory = options.memory_mib << 20
    if options.step == "add":
        depot = open_depot(options.depot)
        codec = get_codec(options.codec)
        for place in options.places:
            model = open_model(LocalSource(place))
            model.name = Path(place).name
            added = depot.add(
                model,
                codec,
                Granularity(),
                dedup=True,
                threads=options.threads,
                memory_bytes=memory,
                overlap=not options.one_by_one,
            )
            raw, stored = raw + added.raw_bytes, stored + added.added_bytes
            spent = {what: seconds + added.spent[what] for what, seconds in spent.items()}
    else:
        depot = open_depot(options.depot)
        for place in options.places:
            name = Path(place).name
            model_out = depot.open(name, threads=options.threads, memory_bytes=memory)
            for restored in model_out.unpack(options.out):
                if not restored.identical:
                    raise SystemExit(f"{name}: {restored.path.name} did not come back")
                raw += restored.nbytes
                restored.path.unlink()
    seconds = time.perf_counter() - begun
    print(json.dumps({"raw": raw, "stored": stored, "seconds": seconds, "spent": spent}), flush=True)


def watched(arguments: list[str]) -> Found:
    """Run a step in a process of its own; return what it printed and its peaks of memory in bytes."""
    command = [sys.executable, __file__, *arguments]
    peaks = {"VmHWM": 0, "RssAnon": 0, "VmRSS": 0}
    # Nothing is remembered of earlier runs, so that files are hashed each time.
    with (
        tempfile.TemporaryDirectory() as cache,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "WEIGHTBENCH_CACHE": cache}, text=True
        ) as process,
    ):
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                lines = status.read_text().splitlines()
            except OSError:
                break
            for line in lines:
                what, _, rest = line.partition(":")
                if what in peaks:
                    peaks[what] = max(peaks[what], int(rest.split()[0]) * 1024)
            time.sleep(0.02)
        assert process.stdout is not None
        told = process.stdout.read()
        if process.wait():
            raise SystemExit(f"{' '.join(arguments[:4])} … failed")
    return {**json.loads(told.splitlines()[-1]), **peaks}


def forget(folder: Path) -> None:
    """Take the files under a folder out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(options: argparse.Namespace, folder: Path) -> None:
    """Make the hub, do the steps, and print what was measured."""
    places = make_hub(folder / "hub", int(options.gb * 1e9))
    common = ["--codec", options.codec, "--memory-mib", str(options.memory_mib)]
    modes = {
        "one by one": ["--threads", "1", "--one-by-one"],
        "overlapped, 1 thread": ["--threads", "1"],
        f"overlapped, {options.threads} threads": ["--threads", str(options.threads)],
    }
    taken: dict[str, list[float]] = {mode: [] for mode in modes}
    for turn in range(options.rounds + 1):
        for mode, extra in modes.items():
            depot = create_depot(folder / "small")
            forget(places[0])
            found = watched(
                [
                    "0",
                    *common,
                    "--step",
                    "add",
                    "--depot",
                    str(depot.path),
                    *extra,
                    "--places",
                    str(places[0]),
                ]
            )
            shutil.rmtree(depot.path)
            if turn:  # the first one compiles
                taken[mode].append(found["seconds"])
    first = taken["one by one"]
    for mode, seconds in taken.items():
        gains = [a / b for a, b in zip(first, seconds, strict=True)]
        print(
            f"{mode}: {statistics.median(seconds):.1f} s, {statistics.median(gains):.2f} times as fast",
            flush=True,
        )
    depot = create_depot(folder / "depot")
    extra = ["--depot", str(depot.path), "--threads", str(options.threads), "--places", *map(str, places)]
    forget(folder / "hub")
    _tell("add", watched(["0", *common, "--step", "add", *extra]))
    sizes = open_depot(depot.path).sizes()
    print(f"depot: {sizes.total / 1e9:.3f} GB in files, {sizes.disk / 1e9:.3f} GB on disk", flush=True)
    forget(depot.path)
    _tell("restore", watched(["0", *common, "--step", "restore", "--out", str(folder / "out"), *extra]))


def _tell(what: str, found: Found) -> None:
    spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found["spent"].items() if seconds)
    print(
        f"{what}: {found['raw'] / 1e9:.2f} GB in {found['seconds']:.1f} s, "
        f"{found['raw'] / 1e6 / found['seconds']:.0f} MB/s; VmHWM {found['VmHWM'] / 2**20:.0f} MiB, "
        f"RssAnon {found['RssAnon'] / 2**20:.0f} MiB"
        + (f" (seconds over all threads: {spent})" if spent else ""),
        flush=True,
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gb", type=float, help="size of the hub in GB (10^9 bytes)")
    parser.add_argument("--codec", default="zipnn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where hub and depot go; a temporary one if not given")
    parser.add_argument("--keep", action="store_true", help="keep the hub for the next time")
    for hidden in ("--step", "--depot", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--one-by-one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--places", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options)
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder)) if not options.keep else options.folder
    if folder is None:
        parser.error("--keep needs --folder")
    try:
        run(options, folder)
    finally:
        for part in ("small", "depot", "out", *(() if options.keep else ("hub",))):
            shutil.rmtree(folder / part, ignore_errors=True)
        if not options.keep:
            folder.rmdir()


if __name__ == "__main__":
    main()
