"""Systems: dedup, a reference policy and a choice of codec per unit. A plain codec is the trivial one."""

from .coder import Coder

__all__ = ["Coder"]
