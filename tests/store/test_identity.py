"""A cell's identity must never move: rows of earlier versions are found by it."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightbench import canonical
from weightbench.canonical import identity
from weightbench.errors import NotPlainError


def test_golden_values() -> None:
    # SHA-256 of canonical texts written by hand; a change here orphans every stored row.
    assert identity({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    cell = {"seed": 0, "model": "llama", "codec": {"name": "elf", "bound": 1e-3}}
    assert identity(cell) == "86cdb248f69c2aed31fe81dc16948c41b2f9751a46a6e375210e65e9afe47ca6"
    wide = {"é": [1, 1.0, -0.0, 1e22, True, None, "\ud800", []], "n": 2**70, "x": {"b": {}, "a": 5e-324}}
    assert identity(wide) == "3e56c7616c825a07cbe9462f425028d5775715ed600d573c1402e635a02dd5ba"


def test_key_order_and_container_types_do_not_matter() -> None:
    assert identity({"a": 1, "b": (1, 2)}) == identity({"b": [1, 2], "a": 1})
    assert identity({"a": np.int64(1), "b": np.float64(0.5)}) == identity({"a": 1, "b": 0.5})
    assert identity({"a": np.bool_(True)}) == identity({"a": True})


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1), (None, "null"), ([], {}), ("a", "A"), ("é", "e\u0301")],
)
def test_different_values_differ(one: object, other: object) -> None:
    assert identity({"v": one}) != identity({"v": other})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, b"x", {1}, object(), {1: 2}, np.zeros(2), 1j, {"__float__": "inf"}]
)
def test_values_without_canonical_text_are_refused(value: object) -> None:
    with pytest.raises(NotPlainError, match=r"cell\.a"):
        identity({"a": {"b": value}} if not isinstance(value, dict) else {"a": value})


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain_values)
def test_rows_come_back_as_they_were(value: object) -> None:
    text = canonical.dumps({"value": value})
    json.loads(text, parse_constant=pytest.fail)
    assert repr(canonical.loads(text)["value"]) == repr(_sorted(value))  # type: ignore[index]


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        '{"__float__": "one"}',
        '{"__float__": "nan", "b": 1}',
        "[" * 200_000,
        "{",
        b"\xff",
        '{"__float__": []}',
    ],
)
def test_foreign_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        canonical.loads(text)
