"""Canonical JSON: the one text of a value, whose SHA-256 is a cell's identity, and the text of a stored row.

The identity of a cell is SHA-256 over its canonical JSON: keys sorted by code point, no white space, ASCII
only, integers as integers, floats by ``repr`` (the shortest text that reads back the same), so ``1`` and
``1.0`` differ and ``-0.0`` differs from ``0.0``; NaN and infinities are refused, because a NaN is not equal
to itself. (ours)

Rows may hold non-finite numbers (the PSNR of a lossless codec is infinite). JSON has none, so they are
written as ``{"__float__": "inf"}`` and read back as floats.
"""

import hashlib
import json
import math
import numbers
from collections.abc import Mapping, Sequence

from weightbench.errors import NotPlainError

_TAG = "__float__"
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(value: object, *, finite: bool = False, where: str = "value") -> object:
    """Return ``value`` made of dict, list, str, int, float, bool and None; NumPy scalars become numbers.

    Args:
        value: anything a cell or a row may hold.
        finite: refuse NaN and infinities (a cell), instead of tagging them (a row).
        where: the path named in errors, such as ``cell.codec.level``.

    Raises:
        NotPlainError: for other types, for keys that are not strings and, with ``finite``, for NaN or
        infinity.
    """
    if value is None or isinstance(value, bool | str):
        # str() and bool() take subclasses (enum.StrEnum) back to the plain type.
        return str(value) if isinstance(value, str) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _plain_float(float(value), finite, where)
    if isinstance(value, Mapping):
        return _plain_mapping(value, finite, where)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(item, finite=finite, where=f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise NotPlainError(
        f"{where} is a {type(value).__name__}; only numbers, strings, booleans, None, lists and "
        "mappings can be stored"
    )


def _plain_float(value: float, finite: bool, where: str) -> object:
    if math.isfinite(value):
        return value
    if finite:
        raise NotPlainError(
            f"{where} is {value}; a cell must hold finite numbers, or its identity is not stable"
        )
    return {_TAG: repr(value)}


def _plain_mapping(value: Mapping[object, object], finite: bool, where: str) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotPlainError(f"{where} has the key {key!r}; keys must be strings")
        if key == _TAG:
            raise NotPlainError(f"{where} has the key {_TAG!r}, which stands for a number")
        result[str(key)] = plain(item, finite=finite, where=f"{where}.{key}")
    return result


def identity(cell: Mapping[str, object]) -> str:
    """SHA-256 (64 hexadecimal digits) of the canonical JSON of a resolved cell.

    Raises:
        NotPlainError: the cell holds something that has no canonical text.
    """
    text = json.dumps(
        plain(cell, finite=True, where="cell"), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def dumps(value: object) -> str:
    """JSON text of a row or a message: strict JSON, keys sorted, non-finite numbers tagged.

    Raises:
        NotPlainError: for a value JSON cannot hold.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(text: str | bytes) -> object:
    """Read what :func:`dumps` wrote.

    Raises:
        ValueError: not JSON, or JSON that ``dumps`` never writes (NaN literals, a bad tag, absurd nesting).
    """
    try:
        return json.loads(text, object_hook=_untag, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _untag(value: dict[str, object]) -> object:
    if _TAG not in value:
        return value
    word = value[_TAG]
    if len(value) != 1 or not isinstance(word, str) or word not in _NON_FINITE:
        raise ValueError(f"not a number: {value!r:.100}")
    return _NON_FINITE[word]


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
