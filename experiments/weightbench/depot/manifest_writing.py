"""Writing the manifest of a model; its layout: `manifest`."""

from __future__ import annotations

from weightbench.archive.atomic import AtomicFile
from weightbench.archive.records import RecordWriter

from .manifest import MANIFEST, Manifest, manifest_bytes
from .manifest_reading import parse_manifest

__all__ = ["write_manifest"]


def write_manifest(out: AtomicFile, manifest: Manifest) -> None:
    """Write a manifest into its file."""
    raw = manifest_bytes(manifest)
    parse_manifest(raw)  # what cannot be opened is not written
    RecordWriter(out, MANIFEST).finish(raw)
