"""Dedup: the same content found again. Keys are hashes; a hit counts only after the bytes were compared."""

from .projection import projected_metadata_bytes
from .report import DedupReport, dedup_report
from .seen import SeenUnits, content_key

__all__ = ["DedupReport", "SeenUnits", "content_key", "dedup_report", "projected_metadata_bytes"]
