"""What a store of many rows costs: ``python benchmarks/store_scale.py [rows] [folder]`` (default 100000).

Runs a few real cells on the bundled model for patterns, writes as many rows like them (other model, other
ratio), and measures listing, building the tables, opening, filtering, drawing, adding a row and asking for
one: wall time and CPU time, the best of three where it is repeated. A loaded machine stretches wall time.
"""

import hashlib
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from weightbench import canonical
from weightbench.rows import from_json
from weightbench.store import Store
from weightbench.table import build_table

ROOT = Path(__file__).parents[1]
SWEEP = ("-m", "codec=zstd,lz4", "granularity=tensor,model", "model=llama", "measure=smoke", "eval=none")

OPEN = """
import sys, time
laps = [(time.perf_counter(), time.process_time())]
def lap():
    laps.append((time.perf_counter(), time.process_time()))
from weightbench import results
lap()
frame = results.cells(sys.argv[1]{columns})
lap()
chosen = frame[(frame["cell.codec.name"] == "zstd") & (frame["cell.granularity.kind"] == "tensor")]
lap()
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
lap()
figure, axes = plt.subplots()
axes.scatter(chosen["seconds"], chosen["result.sizes.ratio"], s=2)
figure.savefig(sys.argv[1] + "/scale.png")
lap()
print(len(frame), frame.shape[1], *[b[i] - a[i] for i in (0, 1) for a, b in zip(laps, laps[1:])])
"""
FEW = ', columns=["cell.codec.name", "cell.granularity.kind", "seconds", "result.sizes.ratio"]'


def patterns(folder: Path) -> list[str]:
    """Rows of a few real cells."""
    command = [sys.executable, str(ROOT / "run.py"), *SWEEP, f"results={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [path.read_text() for path in Store(folder).files()]


def rows(texts: list[str], number: int) -> Iterator[tuple[str, str]]:
    """Yield ids and texts of rows like the patterns: of another model each four, with another ratio."""
    rng = random.Random(0)
    for i in range(number):
        text = texts[i % len(texts)]
        row = json.loads(text)
        cell = json.dumps(row["cell"], sort_keys=True, separators=(",", ":"))
        revision = f"sha256:{i // len(texts):064x}"
        other = cell.replace(row["cell"]["model"]["revision"], revision)
        id_ = hashlib.sha256(other.encode()).hexdigest()
        ratio = f'"ratio":{row["result"]["sizes"]["ratio"]!r}'
        text = text.replace(cell, other).replace(row["id"], id_)
        yield id_, text.replace(ratio, f'"ratio":{rng.uniform(1.0, 2.0)!r}')


def write(store: Store, texts: list[str], number: int) -> None:
    """Write the rows, without the flush to the disk that a row by itself gets."""
    store.cells.mkdir(parents=True)
    for id_, text in rows(texts, number):
        store.path(id_).write_text(text)
    first = store.files()[0]
    row = from_json(first.read_bytes(), first.name)
    assert canonical.identity(row.cell) == first.stem
    store.put(row, force=True)  # makes what a store has beside its rows, such as the journal


def timed(what: str, do: Callable[[], object], repeats: int = 1) -> None:
    """Print the shortest wall time, and CPU time."""
    best = (math.inf, math.inf)
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        do()
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    print(f"{what:<58}{best[0]:9.3f} s, CPU {best[1]:8.3f} s", flush=True)


STEPS = ("importing", "opening", "filtering", "importing Matplotlib", "drawing")


def opened(root: Path, columns: str) -> None:
    """Print what a fresh process needs to open, filter and draw; of each step the best of three."""
    runs = []
    for _ in range(3):
        command = [sys.executable, "-c", OPEN.format(columns=columns), str(root)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        number, width, *seconds = done.stdout.split()
        runs.append([float(part) for part in seconds])
    best = [min(parts) for parts in zip(*runs, strict=True)]
    print(f"fresh process, {number} rows x {width} columns (wall, CPU):")
    for name, wall, cpu in zip(STEPS, best[: len(STEPS)], best[len(STEPS) :], strict=True):
        print(f"    {name:<24}{wall:8.3f} s{cpu:8.3f} s")
    print(f"    {'all':<24}{sum(best[: len(STEPS)]):8.3f} s{sum(best[len(STEPS) :]):8.3f} s", flush=True)


def main(number: int, folder: Path) -> None:
    """Measure a store of so many rows in a folder; rows that an earlier call left there are used again."""
    texts = patterns(folder / "patterns")
    store = Store(folder / "store")
    root = store.root
    nbytes = sum(len(text) for text in texts) / len(texts)
    if not store.cells.exists():
        timed(f"writing {number} rows of {nbytes / 1e3:.1f} kB", lambda: write(store, texts, number))
    timed("listing the folder", lambda: list(os.scandir(store.cells)), 3)
    timed("listing and asking for every file's time", lambda: [e.stat() for e in os.scandir(store.cells)], 3)
    for path in root.glob("*.parquet"):
        path.unlink()
    timed("building the tables from nothing", lambda: build_table(root))
    for name in ("cells", "tensors"):
        print(f"  {name}.parquet {(root / f'{name}.parquet').stat().st_size / 1e6:.1f} MB")
    timed("building again, nothing new", lambda: build_table(root), 3)
    opened(root, "")
    opened(root, FEW)
    wanted = store.files()[number // 2].stem
    timed("asking for one row", lambda: store.get(wanted), 3)
    extra = [from_json(text, id_) for id_, text in list(rows(texts, number + 3))[number:]]
    timed("adding a row (flushed to the disk)", lambda: store.put(extra.pop(), force=True), 3)
    print("three rows are not in the tables yet:")
    opened(root, "")
    opened(root, FEW)
    timed("building again, three rows new", lambda: build_table(root))
    opened(root, "")
    opened(root, FEW)
    print("a row of the large files is replaced:")
    again = store.get(wanted)
    assert again is not None
    store.put(again, force=True)
    opened(root, "")
    opened(root, FEW)
    timed("building again, a row replaced", lambda: build_table(root))
    print("a row is not in the journal:")
    stray = store.path(wanted)
    stray.replace(stray.with_suffix(".moved"))
    opened(root, "")
    opened(root, FEW)
    timed("building again, every file looked at", lambda: build_table(root))
    stray.with_suffix(".moved").replace(stray)
    print(f"largest memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000
    if len(sys.argv) > 2:
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(count, Path(made))
