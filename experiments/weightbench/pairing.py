"""Which tensors of a checkpoint and of its low-precision version belong together.

A tensor of the low checkpoint belongs to the one of the same name in the high checkpoint if it can be its
codes:

- INT8: int8 of the same shape. Its scales are the float32 tensor ``X.SCB`` (``X`` is the name without
  ``.weight``) with one value a row, as LLM.int8() checkpoints have it; without one the pair has no scales.
- NF4: uint8 with half as many bytes as the other has values, two codes to a byte. Its scales are the float32
  tensor ``<name>.absmax`` with one value for 64 weights. Scales that were quantised again ("double
  quantisation") or stand for other block sizes are not taken; a checkpoint that says fp4 has no pairs there.

Scales of other conventions (``X.weight_scale``, a step rather than a largest magnitude) are left alone: they
are stored as any tensor is. Source: the names are those of transformers and bitsandbytes; the rest is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from weightbench.models import Model, TensorInfo
from weightbench.models.model import Array
from weightcodecs import get_format
from weightcodecs.quantised import BLOCK, quantisable

__all__ = ["PairOf", "pair_arrays", "pair_tensors"]

_FP4 = ".quant_state.bitsandbytes__fp4"


@dataclass(frozen=True, slots=True)
class PairOf:
    """Keys of tensors that belong together.

    Attributes:
        high: in the high checkpoint, float16, bfloat16 or float32.
        low: in the low checkpoint, int8 or (NF4) uint8.
        scales: in the low checkpoint, float32; None if there are none, or none that can be used.
    """

    high: str
    low: str
    scales: str | None


def pair_tensors(high: Model, low: Model) -> tuple[PairOf, ...]:
    """Return the pairs of two checkpoints in the order of `high`'s tensors; empty if nothing fits."""
    pairs = []
    for key, info in high.tensors.items():
        codes = low.tensors.get(key)
        if codes is None or not info.nbytes or quantisable(get_format(info.format)):
            continue
        if codes.format == "int8" and codes.shape == info.shape:
            pairs.append(PairOf(key, key, _int8_scales(low, key, info)))
        elif _are_nf4(low, key, info, codes):
            pairs.append(PairOf(key, key, _scales(low, f"{key}.absmax", -(-prod(info.shape) // BLOCK))))
    return tuple(pairs)


def pair_arrays(high: Model, low: Model, pair: PairOf) -> tuple[Array, Array, Array | None]:
    """Return the arrays of a pair as `PairCodec.encode_pair` takes them: NF4's codes and all scales flat."""
    codes = low.read(pair.low)
    if codes.dtype.name == "uint8":
        codes = codes.reshape(-1)
    scales = None if pair.scales is None else low.read(pair.scales).reshape(-1)
    return high.read(pair.high), codes, scales


def _int8_scales(low: Model, key: str, info: TensorInfo) -> str | None:
    rows = info.shape[0] if len(info.shape) > 1 else 1
    return _scales(low, f"{key.removesuffix('.weight')}.SCB", rows)


def _are_nf4(low: Model, key: str, info: TensorInfo, codes: TensorInfo) -> bool:
    halved = codes.format == "uint8" and codes.nbytes == -(-prod(info.shape) // 2)
    return halved and f"{key}{_FP4}" not in low.tensors


def _scales(low: Model, key: str, count: int) -> str | None:
    info = low.tensors.get(key)
    return key if info is not None and info.format == "float32" and prod(info.shape) == count else None
