"""Generated models: seeded random weights of real shapes, any size, made tensor by tensor when read.

Distributions (zero mean, standard deviation `std`):

- ``gaussian``: N(0, std²), a fair stand-in for the lossless ratios of language models.
- ``student_t``: Student's t with `df` degrees of freedom, scaled to `std` if df > 2 (else its
  variance is infinite).
- ``row_varying``: Gaussian whose rows have standard deviations std · exp(0.35 · N(0, 1)), as the channels of
  trained layers do.

Every block of 2^20 elements has a generator of its own, seeded by (seed, tensor name, block), so that any
part of any tensor can be made alone. Source: ours; the parameters are those of the project's test vectors.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import ml_dtypes
import numpy as np

from weightcodecs.formats import get_format

from .cast import FLOATS
from .computed import ComputedModel
from .errors import ModelError, UnknownModelError
from .llama_shapes import Shapes, llama_tensors
from .model import Array, Origin, TensorInfo
from .rounding import lost_values, round_to, saturated

__all__ = ["DISTRIBUTIONS", "SyntheticModel", "SyntheticSource", "open_synthetic"]

DISTRIBUTIONS = ("gaussian", "student_t", "row_varying")
BLOCK = 1 << 20
ROW_SPREAD = 0.35
FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """A generated model.

    Attributes:
        shapes: a name of `llama_shapes.LLAMA`, or a list of shapes.
        distribution, std, df, seed: see the module.
        dtype: the float format of all tensors.
        nbytes: upper limit of the bytes of all tensors, or None for the size of `shapes`.
        parameters: the same limit as a number of parameters; give one of the two.
        name: what the model is called.
    """

    shapes: str | Sequence[Sequence[int]] = "llama3_1b"
    distribution: str = "gaussian"
    std: float = 0.02
    df: float = 5.0
    seed: int = 0
    dtype: str = "bfloat16"
    nbytes: int | None = None
    parameters: int | None = None
    name: str = "synthetic"


def open_synthetic(source: SyntheticSource) -> SyntheticModel:
    """Return the model of a source; nothing is generated until it is read.

    Raises:
        UnknownModelError: an unknown shape, distribution or dtype.
        ModelError: a parameter that makes no sense.
    """
    if source.distribution not in DISTRIBUTIONS:
        raise UnknownModelError("distribution", source.distribution, DISTRIBUTIONS)
    if source.dtype not in FLOATS:
        raise UnknownModelError("dtype", source.dtype, FLOATS)
    if not (source.std > 0 and math.isfinite(source.std) and source.df > 0 and source.seed >= 0):
        raise ModelError("synthetic: std and df must be positive, seed not negative")
    if source.nbytes is not None and source.parameters is not None:
        raise ModelError("synthetic: give nbytes or parameters, not both")
    limit = source.parameters
    if source.nbytes is not None:
        limit = source.nbytes // get_format(source.dtype).nbytes
    if isinstance(source.shapes, str):
        shapes = llama_tensors(source.shapes, limit)
    elif limit is not None:
        raise ModelError("synthetic: a list of shapes has its own size; leave nbytes and parameters out")
    else:
        shapes = [(f"tensor.{i}", _checked(shape)) for i, shape in enumerate(source.shapes)]
    return SyntheticModel(source, shapes)


def _checked(shape: Sequence[int]) -> tuple[int, ...]:
    if any(size < 0 for size in shape) or math.prod(n for n in shape if n) > 2**58:
        raise ModelError(f"synthetic: {tuple(shape)} is not the shape of an array")
    return tuple(int(size) for size in shape)


class SyntheticModel(ComputedModel):
    """See `open_synthetic`."""

    def __init__(self, source: SyntheticSource, shapes: Shapes) -> None:
        self._source = source
        width = get_format(source.dtype).nbytes
        named = [(n, TensorInfo(n, source.dtype, s, math.prod(s) * width)) for n, s in shapes]
        note = f"generated weights ({source.distribution}), not a trained model: no accuracy tasks"
        super().__init__(Origin(source.name, note, family="synthetic"), {FILE: named})

    def revision(self) -> str:
        """Return the SHA-256 of configuration, shapes, and a sample of what this NumPy generates."""
        config = {k: v for k, v in asdict(self._source).items() if k not in {"name", "shapes"}}
        shapes = [(t.name, t.shape) for t in self.tensors.values()]
        identity = json.dumps(["synthetic-1", config, shapes, _generator_fingerprint()], sort_keys=True)
        return "sha256:" + hashlib.sha256(identity.encode()).hexdigest()

    def elements(self, name: str, start: int, stop: int) -> Array:
        """Return generated elements; only the blocks that they lie in are made."""
        info = self.info(name)
        result = np.empty(stop - start, get_format(info.format).dtype)
        for index in range(start // BLOCK, -(-stop // BLOCK)):
            base = index * BLOCK
            block = self._block(info, index)
            first, last = max(start, base), min(stop, base + BLOCK)
            result[first - start : last - start] = block[first - base : last - base]
        return result

    def _block(self, info: TensorInfo, index: int) -> Array:
        source, base = self._source, index * BLOCK
        size = min(BLOCK, math.prod(info.shape) - base)
        random = _generator(source.seed, info.name, index)
        exact: type[np.float64] | type[np.float32] = np.float64 if info.format == "float64" else np.float32
        values: Array
        if source.distribution == "student_t":
            spread = math.sqrt(source.df / (source.df - 2)) if source.df > 2 else 1.0
            values = random.standard_t(source.df, size) * (source.std / spread)
        else:
            values = random.standard_normal(size, dtype=exact) * np.asarray(source.std, exact)
        if source.distribution == "row_varying":
            length = info.shape[-1] if info.shape else 1
            first, last = base // length, (base + size - 1) // length
            scales = _row_scales(source.seed, info.name, math.prod(info.shape) // length)[first : last + 1]
            rows = np.arange(base, base + size) // length - first
            values = values * scales[rows].astype(values.dtype)
        rounded = round_to(values.astype(exact), info.format)
        lost = lost_values(values, rounded)
        return saturated(values, rounded, lost) if lost.any() else rounded


def _generator(seed: int, name: str, index: int) -> np.random.Generator:
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4").tolist()
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence([seed, *words, index])))


def _row_scales(seed: int, name: str, rows: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    normal = _generator(seed, f"{name}\0rows", 0).standard_normal(rows)
    scales: np.ndarray[tuple[int], np.dtype[np.float64]] = np.exp(ROW_SPREAD * normal)
    return scales


@cache
def _generator_fingerprint() -> str:
    # NumPy may change its streams between releases; models generated by two of them are two revisions.
    random = _generator(0, "fingerprint", 0)
    digest = hashlib.sha256(np.exp(random.standard_normal(512)).tobytes())
    digest.update(random.standard_normal(512, dtype=np.float32).tobytes())
    digest.update(random.standard_t(5.0, 512).astype(ml_dtypes.bfloat16).tobytes())
    return digest.hexdigest()
