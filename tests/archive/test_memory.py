from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from weightbench.archive import open_archive, write_archive
from weightbench.granularity import Granularity
from weightbench.models import LocalSource, SyntheticSource, open_model
from weightcodecs import get_codec

made = open_model(SyntheticSource(shapes=[[1024, 8192]] * 30, dtype="bfloat16"))
folder, kind = sys.argv[1:]
write_archive(f"{folder}/made", made, get_codec("lz4"), Granularity(kind))
open_archive(f"{folder}/made").unpack(f"{folder}/files")
mapped = open_model(LocalSource(f"{folder}/files"))
write_archive(f"{folder}/mapped", mapped, get_codec("lz4"), Granularity(kind))
open_archive(f"{folder}/mapped").verify(deep=True)
largest = max(info.nbytes for info in mapped.tensors.values())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
assert mapped.nbytes > 5e8
assert peak <= 4 * largest + 500e6, (peak, largest)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensor", "chunk", "parameter"])
def test_memory_does_not_grow_with_the_model(tmp_path, kind):
    """A model of 500 MB, computed and mapped: written, unpacked and verified within the stated memory."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), kind]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
