"""Our zstd figures beside those of the zstd program's own benchmark (`zstd -b`), on the same file.

    python benchmarks/zstd_cli.py model.safetensors --level 3 --rounds 5

Rounds of the two alternate, so that both see the same neighbours. `zstd -b` reports its fastest run, so ours
is compared by its fastest round; speeds are 10^6 original bytes a second on one thread. Our numbers hold
more: the checksum of the blob, and a new output array for every decode, where the program reuses one buffer.
Sizes agree to the blob's footer if the program has our version of libzstd, else within a percent.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from weightbench.measure import MeasurePlan, machine_noise, measure_units
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


def program(path: Path, level: int, seconds: int = 1) -> Figures:
    """Run `zstd -b` once; raises `FileNotFoundError` without the program, `ValueError` if it says nothing."""
    command = shutil.which("zstd")
    if command is None:
        raise FileNotFoundError("the zstd program is not installed (Debian package: zstd)")
    done = subprocess.run(
        [command, f"-b{level}", f"-i{seconds}", str(path)], capture_output=True, check=True, timeout=600
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


def ours(path: Path, level: int, seconds: float = 1.0) -> Figures:
    """Measure our zstd codec on the file's bytes; the fastest round counts."""
    plan = MeasurePlan("zstd_cli", 3, seconds)
    result = measure_units(
        get_codec("zstd", level=level), [File(path.name, np.memmap(path, np.uint8, "r"))], plan
    )
    if result.verdict.violated:
        raise AssertionError(result.verdict.message())
    if result.encode is None or result.encode.mb_per_s is None:
        raise ValueError(f"{path} is empty")
    if result.decode is None or result.decode.mb_per_s is None:
        raise ValueError(f"{path} is empty")
    return Figures(result.blob_bytes, result.encode.mb_per_s.max, result.decode.mb_per_s.max)


def compare(path: Path, level: int, rounds: int, seconds: int = 1) -> tuple[Figures, Figures]:
    """Return (program's, ours): the fastest of `rounds` alternating runs."""
    pairs = [(program(path, level, seconds), ours(path, level, seconds)) for _ in range(rounds)]
    theirs, mine = ([pair[side] for pair in pairs] for side in (0, 1))
    best = [
        Figures(runs[0].nbytes, max(run.compress for run in runs), max(run.decompress for run in runs))
        for runs in (theirs, mine)
    ]
    return best[0], best[1]


def main() -> int:
    """Print the table; 1 if a speed is more than 10 % off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    theirs, mine = compare(arguments.file, arguments.level, arguments.rounds)
    print(
        f"{arguments.file.name}, level {arguments.level}; "
        f"libzstd {program_version()}, ours {library_version()}"
    )
    for line in machine_noise():
        print(f"note: {line}")
    print(f"{'':14}{'bytes':>14}{'compress':>12}{'decompress':>12}   MB/s")
    for name, figures in (("zstd -b", theirs), ("weightbench", mine)):
        print(f"{name:14}{figures.nbytes:14}{figures.compress:12.1f}{figures.decompress:12.1f}")
    shares = mine.compress / theirs.compress, mine.decompress / theirs.decompress
    print(f"{'ours / theirs':14}{mine.nbytes / theirs.nbytes:14.5f}{shares[0]:12.3f}{shares[1]:12.3f}")
    return 0 if all(0.9 <= share <= 1.1 for share in shares) else 1


if __name__ == "__main__":
    sys.exit(main())
