"""Figures of the two ZipNN papers (arXiv 2411.05239 and 2404.15198), a file a topic."""

from weightbench.figures.zipnn import deltas, fields, lossy, network, sizes, speeds, traffic

__all__ = ["SHEETS"]

SHEETS = (
    *fields.SHEETS,
    *sizes.SHEETS,
    *speeds.SHEETS,
    *lossy.SHEETS,
    *deltas.SHEETS,
    *network.SHEETS,
    *traffic.SHEETS,
)
"""What weights are made of, how small that makes them, how fast, at what loss, over a network."""
