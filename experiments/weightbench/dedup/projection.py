"""What the metadata of dedup would weigh for a whole hub, as ZipLLM projects it (NSDI 2026)."""

from __future__ import annotations

__all__ = ["ENTRY_BYTES", "HUB_BYTES", "projected_metadata_bytes"]

ENTRY_BYTES = 64
HUB_BYTES = 17e15


def projected_metadata_bytes(
    entries: int, raw_bytes: int, *, hub_bytes: float = HUB_BYTES, entry_bytes: int = ENTRY_BYTES
) -> float:
    """Return the bytes that an index of a hub of `hub_bytes` would take.

    `entries` unique units were found in `raw_bytes`; as many in every further `raw_bytes`, at `entry_bytes`
    each (hash, place, size, reference count). Linear, as in the paper: what more models have in common would
    make it less.
    """
    return entries * entry_bytes * hub_bytes / raw_bytes if raw_bytes else 0.0
