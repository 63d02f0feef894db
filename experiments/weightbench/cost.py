"""What a cell would take, by what the most similar earlier cell took.

The rule (ours): among the store's ok rows with the same codec, measure, evaluation mode and kind of workload,
those with the same model come first, then those whose raw bytes are nearest (by ratio), then those with the
same granularity; of equals the latest. Its seconds and the size of its archive are scaled by raw bytes, up
and down; what it keeps (row and pictures) is taken as it is. Evaluation does not scale with bytes alone and
other machines are faster or slower, so this tells minutes from hours, no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from weightbench.console import duration, size
from weightbench.store import Store

__all__ = ["Cost", "estimate"]

_COLUMNS = (
    "id", "status", "seconds", "finished", "artifacts", "cell.codec.name", "cell.measure.name",
    "cell.eval.mode", "cell.workload.kind", "cell.model.revision", "cell.granularity.kind",
    "result.sizes.raw_bytes", "result.sizes.stored_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate.

    Attributes:
        seconds: wall time of the cell.
        scratch_bytes: size of its archive, which is there while it runs.
        kept_bytes: size of its row and pictures.
        like: identity of the row it goes by.
        scale: raw bytes of the cell by those of that row.
    """

    seconds: float
    scratch_bytes: int
    kept_bytes: int
    like: str
    scale: float

    def words(self) -> str:
        """Return the estimate in a few words, with the row it goes by."""
        by = f"by the row {self.like[:12]}" + (f", × {self.scale:.3g}" if self.scale != 1 else "")
        taken = f"about {duration(self.seconds)}, scratch {size(self.scratch_bytes)}"
        return f"{taken}, keeps {size(self.kept_bytes)} ({by})"


def estimate(cell: Mapping[str, Any], raw_bytes: int, root: Path) -> Cost | None:
    """Estimate what a cell would take; None if no earlier row is like it.

    Args:
        cell: the resolved cell.
        raw_bytes: bytes of its models' files.
        root: the results folder.

    Raises:
        StoreError: the store cannot be read.
    """
    same = [
        row
        for row in _rows(root)
        if row["cell.codec.name"] == cell["codec"]["name"]
        and row["cell.measure.name"] == cell["measure"]["name"]
        and row["cell.eval.mode"] == cell["eval"]["mode"]
        and row["cell.workload.kind"] == cell["workload"]["kind"]
    ]
    if not same or raw_bytes <= 0:
        return None

    def distance(row: Mapping[str, Any]) -> tuple[bool, float, bool]:
        return (
            row["cell.model.revision"] != cell["model"]["revision"],
            abs(math.log(raw_bytes / row["result.sizes.raw_bytes"])),
            row["cell.granularity.kind"] != cell["granularity"]["kind"],
        )

    latest_first = sorted(same, key=lambda row: str(row["finished"]), reverse=True)
    nearest = min(latest_first, key=distance)
    scale = raw_bytes / nearest["result.sizes.raw_bytes"]
    return Cost(
        seconds=nearest["seconds"] * scale,
        scratch_bytes=int(nearest["result.sizes.stored_bytes"] * scale),
        kept_bytes=_kept(Store(root), nearest),
        like=nearest["id"],
        scale=scale,
    )


@lru_cache(maxsize=1)
def _rows(root: Path) -> Sequence[Mapping[str, Any]]:
    """The ok rows of a store, once a process: a dry run changes none."""
    from weightbench.table import read_cells  # loads pyarrow, which a run can do without

    table = read_cells(root, _COLUMNS)
    found = [name for name in _COLUMNS if name in table.column_names]
    if len(found) < len(_COLUMNS):
        return []
    rows: list[dict[str, Any]] = table.select(found).to_pylist()
    return [row for row in rows if row["status"] == "ok" and row["result.sizes.raw_bytes"]]


def _kept(store: Store, row: Mapping[str, Any]) -> int:
    import json

    paths = [store.path(row["id"]), *(store.root / name for name in json.loads(row["artifacts"]))]
    return sum(path.stat().st_size for path in paths if path.is_file())
