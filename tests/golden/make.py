"""Writes the golden blobs that are missing: `python tests/golden/make.py`. Never touches one that is there.

A blob written once must decode for ever; a new codec version gets new files beside the old ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "weightcodecs"))

from golden import GOLDEN, encoded, recipe

import weightcodecs


def main() -> None:
    """Write what is missing and say so."""
    for golden in GOLDEN:
        if golden.path.exists():
            continue
        values = recipe(golden.format)
        codec = weightcodecs.get_codec(golden.codec, **golden.config)
        golden.path.write_bytes(encoded(codec, values, golden.low))
        print(f"wrote {golden.path.name}, {golden.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
