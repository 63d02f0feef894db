"""What a cell spends outside codec and disk: ``python benchmarks/harness.py [bytes] [codec ...]``.

Writes a float32 safetensors file of Gaussian weights (GPT-2's shapes, repeated), then measures it into an
archive as a cell with measure=ratio eval=none does, in this process, and prints the split in wall seconds. A
loaded machine stretches all parts alike: read the shares.
"""

import json
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from weightbench.archive import archive_writing, open_archive
from weightbench.granularity import Granularity, units
from weightbench.measure import MeasurePlan, measure_units
from weightbench.models import LocalSource, open_model
from weightcodecs import Blob, get_codec

PLAN = MeasurePlan(
    "ratio", min_rounds=1, min_seconds=0, warmup_bytes=1 << 20, min_timed_seconds=0, memcpy_bytes=64 << 20
)


def write_model(folder: Path, nbytes: int) -> None:
    """Write about `nbytes` of float32 weights, a matrix of 9 MB at a time."""
    shape, size = [768, 3072], 768 * 3072 * 4
    names = [f"h.{i}.mlp.c_fc.weight" for i in range(max(nbytes // size, 1))]
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in names:
            file.write((rng.standard_normal(size // 4, np.float32) * np.float32(0.02)).tobytes())


def measure(folder: Path, codec_name: str) -> None:
    """Print the split of one cell."""
    model = open_model(LocalSource(str(folder)))
    known = model.known_sha256()  # the parent of a cell has hashed the files for its identity
    codec = get_codec(codec_name)
    granularity = Granularity()
    path = folder / f"{codec_name}.wba"
    start = time.perf_counter()
    left = units(model, granularity)
    with archive_writing(path, model, codec, granularity, known_sha256=known) as writing:

        def store(key: str, blob: Blob) -> None:
            unit = next(left)
            assert unit.key == key
            writing.add(unit, blob)

        measured = measure_units(codec, list(units(model, granularity)), PLAN, sink=store)
    written = time.perf_counter()
    open_archive(path).verify()
    end = time.perf_counter()
    assert not measured.verdict.violated
    spent = dict(measured.spent)
    total = end - start
    disk = writing.spent["write"] + spent["read"]
    parts = {
        "codec": spent["codec"],
        "reading, private copies, writing": disk,
        "sync and index": written - start - sum(spent.values()),
        "memcpy beside": spent["memcpy"],
        "hashing": writing.spent["hash"],
        "verifying values": spent["verify"],
        "warm-up": spent["warmup"],
        "verifying the archive": end - written,
    }
    parts["rest"] = total - sum(parts.values())
    print(f"{codec_name}: {model.nbytes / 1e6:.0f} MB in {total:.2f} s")
    for name, seconds in parts.items():
        print(f"  {name:34s} {seconds:7.3f} s  {100 * seconds / total:5.1f} %")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        write_model(Path(made), int(float(sys.argv[1])) if len(sys.argv) > 1 else 500_000_000)
        for codec_name in sys.argv[2:] or ["zstd", "elf"]:
            measure(Path(made), codec_name)
