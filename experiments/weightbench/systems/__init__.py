"""Systems: dedup, a reference policy and a choice of codec per unit. A plain codec is the trivial one.

`get_system_or_codec` makes one from what `codec=` names; `System.coder` is what codes the units of a model.
"""

from .coder import Coder
from .dedup_only import DedupOnly
from .elves import Elves
from .plain import PlainSystem
from .registry import SYSTEMS, get_system, get_system_or_codec
from .system import System, decode_unit
from .zipllm import ZipLlm

__all__ = [
    "SYSTEMS",
    "Coder",
    "DedupOnly",
    "Elves",
    "PlainSystem",
    "System",
    "ZipLlm",
    "decode_unit",
    "get_system",
    "get_system_or_codec",
]
