"""Our zstd figures beside those of the zstd program's own benchmark (`zstd -b`), on the same file.

    python benchmarks/zstd_cli.py model.safetensors --level 3 --rounds 25

Rounds of the two alternate, one pass each (`zstd -b -i0`), and the median of the paired ratios is what
counts: on a shared machine the fastest of a few runs is luck. Speeds are 10^6 original bytes a second on one
thread. The program writes into buffers it has used before; so that we do too, the C library is told to keep
freed memory. Our numbers hold the checksum of the blob besides. Sizes agree to the blob's footer if the
program has our version of libzstd, else within a percent.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import zstandard
from numpy.typing import NDArray

from weightbench.measure import MeasurePlan, Summary, machine_noise, measure_units, summarize
from weightcodecs import get_codec

_LINE = re.compile(rb"(\d+) -> +(\d+) \(x?[\d.]+\),\s+([\d.]+) MB/s\s*,\s+([\d.]+) MB/s")


@dataclass(frozen=True, slots=True)
class Figures:
    """Bytes of the compressed file, and 10^6 original bytes per second."""

    nbytes: int
    compress: float
    decompress: float


@dataclass(frozen=True, slots=True)
class File:
    """A file as one unit of bytes."""

    key: str
    data: NDArray[np.uint8]

    def array(self) -> NDArray[np.uint8]:
        """Return the bytes, mapped."""
        return self.data


def program(path: Path, level: int) -> Figures:
    """Run `zstd -b` for one pass.

    Raises:
        FileNotFoundError: the program is not installed.
        ValueError: its output cannot be read.
    """
    command = shutil.which("zstd")
    if command is None:
        raise FileNotFoundError("the zstd program is not installed (Debian package: zstd)")
    done = subprocess.run(
        [command, f"-b{level}", "-i0", str(path)], capture_output=True, check=True, timeout=600
    )
    # Progress lines end in carriage returns; the last match holds the final numbers.
    found = _LINE.findall(done.stdout + done.stderr)
    if not found:
        raise ValueError(f"cannot read the output of zstd -b: {done.stdout[-200:]!r}")
    _, nbytes, compress, decompress = found[-1]
    return Figures(int(nbytes), float(compress), float(decompress))


def program_version() -> str:
    """Return the version of the program's libzstd, such as "1.5.7"."""
    done = subprocess.run(["zstd", "--version"], capture_output=True, check=True, text=True, timeout=60)
    found = re.search(r"v(\d+\.\d+\.\d+)", done.stdout)
    return found[1] if found else ""


def library_version() -> str:
    """Return the version of the libzstd that our codec calls."""
    return ".".join(map(str, zstandard.ZSTD_VERSION))


def ours(path: Path, level: int) -> Figures:
    """Measure one round of our zstd codec on the file's bytes."""
    data = np.memmap(path, np.uint8, "r")
    result = measure_units(
        get_codec("zstd", level=level), [File(path.name, data)], MeasurePlan("zstd", 1, 0.0)
    )
    if result.verdict.violated:
        raise AssertionError(result.verdict.message())
    speeds = [speed.mb_per_s for speed in (result.encode, result.decode) if speed is not None]
    compress, decompress = (speed.median for speed in speeds if speed is not None)
    return Figures(result.blob_bytes, compress, decompress)


def keep_freed_memory() -> None:
    """Tell glibc not to give memory back, so that large outputs land on pages touched before."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def compare(path: Path, level: int, rounds: int) -> tuple[list[Figures], list[Figures]]:
    """Return (program's, ours) of `rounds` alternating rounds."""
    keep_freed_memory()
    ours(path, level)
    pairs = [(program(path, level), ours(path, level)) for _ in range(rounds)]
    return [theirs for theirs, _ in pairs], [mine for _, mine in pairs]


def shares(theirs: list[Figures], mine: list[Figures]) -> tuple[Summary, Summary]:
    """Return our speed over the program's, compressing and decompressing, paired by round."""
    compress = summarize([a.compress / b.compress for a, b in zip(mine, theirs, strict=True)])
    decompress = summarize([a.decompress / b.decompress for a, b in zip(mine, theirs, strict=True)])
    if compress is None or decompress is None:
        raise ValueError("at least one round is needed")
    return compress, decompress


def main() -> int:
    """Print the table; 1 if a speed is more than 10 % off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    for line in machine_noise():
        print(f"note: {line}")
    theirs, mine = compare(arguments.file, arguments.level, arguments.rounds)
    print(f"{arguments.file.name}, level {arguments.level}, medians of {arguments.rounds} rounds, MB/s")
    print(f"{'':24}{'bytes':>14}{'compress':>12}{'decompress':>12}")
    for name, version, runs in (
        ("zstd -b", program_version(), theirs),
        ("weightbench", library_version(), mine),
    ):
        speeds = [median(run.compress for run in runs), median(run.decompress for run in runs)]
        print(f"{name + ' ' + version:24}{runs[0].nbytes:14}{speeds[0]:12.1f}{speeds[1]:12.1f}")
    ratios = shares(theirs, mine)
    sizes = mine[0].nbytes / theirs[0].nbytes
    print(f"{'ours / theirs, paired':24}{sizes:14.5f}{ratios[0].median:12.3f}{ratios[1].median:12.3f}")
    for what, ratio in zip(("compress", "decompress"), ratios, strict=True):
        if ratio.ci_low is not None and ratio.ci_high is not None:
            print(f"  {what}: interval of the median [{ratio.ci_low:.3f}, {ratio.ci_high:.3f}]")
    return 0 if all(0.9 <= ratio.median <= 1.1 for ratio in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
