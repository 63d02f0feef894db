"""Figures after ZipLLM (NSDI 2026, arXiv 2505.06252): hubs of models, a file a topic."""

from weightbench.figures.zipllm import bits, dedup, distances, growth, throughput

__all__ = ["SHEETS"]

SHEETS = (*throughput.SHEETS, *bits.SHEETS, *distances.SHEETS, *dedup.SHEETS, *growth.SHEETS)
"""Size against speed, bits that differ, families by distance, levels of dedup, each model and step."""
