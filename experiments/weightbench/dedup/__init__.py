"""Dedup: the same content found again. Keys are hashes; a hit counts only after the bytes were compared."""

from .projection import projected_metadata_bytes
from .seen import SeenUnits, content_key

__all__ = ["SeenUnits", "content_key", "projected_metadata_bytes"]
