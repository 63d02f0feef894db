"""Granularity: what a codec sees at once.

A model is cut into units by `units`: all values of a format (model), those of a block (layer), a tensor, a
piece of a tensor (chunk), or distinct values and references to them (parameter). `assemble` is the way back.
"""

from .assemble import assemble
from .cutting import units
from .kinds import KINDS, Granularity
from .layers import layer_of
from .parameters import SEGMENT, Distinct, ParameterUnit, expand, reference_bytes, split
from .source import Piece, TensorSource
from .unit import Unit

__all__ = [
    "KINDS",
    "SEGMENT",
    "Distinct",
    "Granularity",
    "ParameterUnit",
    "Piece",
    "TensorSource",
    "Unit",
    "assemble",
    "expand",
    "layer_of",
    "reference_bytes",
    "split",
    "units",
]
