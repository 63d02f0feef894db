"""A hub larger than what may be in memory, watched from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import sys
from weightbench.depot import create_depot
from weightbench.granularity import Granularity
from weightbench.models import LocalSource, SyntheticSource, open_model
from weightcodecs import get_codec

folder, kind = sys.argv[1:]
depot = create_depot(f"{folder}/depot")
options = {"dedup": True, "threads": 2, "memory_bytes": 64 << 20}
for seed in range(2):
    source = SyntheticSource(shapes=[[1024, 8192]] * 40, dtype="bfloat16", seed=seed, name=f"made{seed}")
    depot.add(open_model(source), get_codec("lz4"), Granularity(kind), **options)
    depot.open(f"made{seed}", memory_bytes=64 << 20).unpack(f"{folder}/{seed}")
for seed in range(2):
    model = open_model(LocalSource(f"{folder}/{seed}"))
    model.name = f"mapped{seed}"
    added = depot.add(model, get_codec("zstd", level=1), Granularity(kind), **options)
    assert added.repeated_files and added.objects == 0
    depot.delete(f"made{seed}")
    depot.delete(f"mapped{seed}")
    depot.add(model, get_codec("lz4"), Granularity(kind), **options)
depot.verify(deep=True)
assert depot.sizes().models == 2
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensor", "chunk", "parameter"])
def test_memory_does_not_grow_with_the_hub(tmp_path, kind):
    """1.3 GB, computed and mapped: added, restored, deleted and verified."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), kind]
    peak = 0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
            time.sleep(0.02)
        assert process.stderr is not None
        assert process.wait() == 0, process.stderr.read()
    # An interpreter with Numba has 250 MB, a segment of parameter granularity needs as much for its splits.
    assert peak <= 700e6, peak
