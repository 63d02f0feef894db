"""Our zstd figures against the zstd program's. Slow; speeds are judged on a quiet machine only."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from weightbench.measure import machine_noise

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd program is not installed"),
]


def test_agrees_with_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("zstd_cli", None)
    import zstd_cli  # type: ignore[import-not-found]

    path = tmp_path / "weights.bin"
    values = np.random.default_rng(0).standard_normal(4_000_000).astype(np.float32) * np.float32(0.02)
    path.write_bytes(values.tobytes())
    busy = machine_noise()
    theirs, mine = zstd_cli.compare(path, level=3, rounds=15)
    if zstd_cli.program_version() == zstd_cli.library_version():
        assert 0 <= mine[0].nbytes - theirs[0].nbytes < 100
    else:
        assert mine[0].nbytes == pytest.approx(theirs[0].nbytes, rel=0.01)
    compress, decompress = zstd_cli.shares(theirs, mine)
    busy += machine_noise()
    if busy:
        pytest.skip(f"sizes agree; speeds were not judged: {busy[0]}")
    assert compress.median == pytest.approx(1, abs=0.1)
    assert decompress.median == pytest.approx(1, abs=0.1)
