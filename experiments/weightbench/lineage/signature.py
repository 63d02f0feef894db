"""Architecture signatures: which models could be of one family at all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

from weightbench.models import Model
from weightcodecs.formats import get_format

__all__ = ["Signature", "bare_name", "signature"]

REPEATED = 3  # a shape that occurs as often belongs to the repeated blocks of a network


@dataclass(frozen=True, slots=True)
class Signature:
    """What is known of an architecture from headers alone.

    Attributes:
        exact: digest of the multiset of (name, format, shape).
        loose: digest of what stays when tensors are renamed or reordered, the vocabulary is resized, a head
            is added or dropped, or layers are left out: the set of formats and shapes of the matrices that
            occur at least three times. Without such matrices: formats and row lengths of all matrices;
            without matrices: formats and shapes of all tensors.
    """

    exact: str
    loose: str


def signature(model: Model) -> Signature:
    """Return the signatures of a model; weights are not read. Source: ours."""
    tensors = {bare_name(model, key): info for key, info in model.tensors.items()}
    exact = sorted((name, info.format, info.shape) for name, info in tensors.items())
    floats = [(i.format, i.shape) for i in tensors.values() if get_format(i.format).is_float]
    every = floats or [(info.format, info.shape) for info in tensors.values()]
    matrices = Counter(found for found in every if len(found[1]) > 1)
    loose: set[tuple[str, tuple[int, ...]]] = {found for found, n in matrices.items() if n >= REPEATED}
    if not loose:
        loose = {(format, shape[1:]) for format, shape in matrices} or set(every)
    return Signature(_digest(exact), _digest(sorted(loose)))


def bare_name(model: Model, key: str) -> str:
    """Return the name of a tensor in its file: the key, without the file that sets a second copy apart."""
    file, colon, name = key.partition(":")
    copied = colon and name and any(known.name == file for known in model.files)
    return name if copied else key


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
