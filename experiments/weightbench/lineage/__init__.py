"""Lineage: which model was fine-tuned from which, and which of its tensors came from where."""

from .base_values import BaseValues, Match, Span

__all__ = ["BaseValues", "Match", "Span"]
