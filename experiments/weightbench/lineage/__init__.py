"""Lineage: which model was fine-tuned from which, and which of its tensors came from where."""

from .base_values import BaseValues, Match, Span
from .comparing import bit_distance
from .distance import Distance
from .expected import expected_distance, expected_independent
from .inference import Lineage, Parent, infer
from .matching import match_tensors
from .model_card import Declaration, declared_base
from .signature import Signature, signature

__all__ = [
    "BaseValues",
    "Declaration",
    "Distance",
    "Lineage",
    "Match",
    "Parent",
    "Signature",
    "Span",
    "bit_distance",
    "declared_base",
    "expected_distance",
    "expected_independent",
    "infer",
    "match_tensors",
    "signature",
]
