"""Numba's cache on disk never serves a kernel that was compiled from other sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import weightcodecs.kernels.jit as jit

CALLER = "from inner import inner\nfrom jit import kernel\n\n@kernel\ndef outer(x):\n    return inner(x)\n"
INNER = "from jit import kernel\n\n@kernel\ndef inner(x):\n    return x + {}\n"
MAIN = "import outer, sys; print(outer.outer(1), sum(outer.outer.stats.cache_hits.values()))"


def test_a_changed_callee_is_compiled_again(tmp_path: Path) -> None:
    shutil.copy(jit.__file__, tmp_path / "jit.py")
    (tmp_path / "outer.py").write_text(CALLER)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def call(added: int) -> str:
        (tmp_path / "inner.py").write_text(INNER.format(added))
        return subprocess.check_output([sys.executable, "-c", MAIN], env=env, text=True).strip()

    assert call(1) == "2 0"
    assert call(1) == "2 1"  # from the cache
    assert call(5) == "6 0"
