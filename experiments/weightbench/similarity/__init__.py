"""Similarity detection: chunks that resemble an earlier one, and what a delta against it would save.

An analysis, as studies of pre-trained models make it; nothing is stored. Super-features find a candidate
(`weightcodecs.kernels.super_features`), a delta is coded, and kept where it is smaller than the chunk by
itself.
"""

from .analysis import SimilarityReport, analyse_similarity
from .delta import decode_delta, encode_delta

__all__ = ["SimilarityReport", "analyse_similarity", "decode_delta", "encode_delta"]
