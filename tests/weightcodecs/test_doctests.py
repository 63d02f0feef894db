"""The examples in weightcodecs' docstrings run as they stand."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import weightcodecs

MODULES = ["weightcodecs", *(m.name for m in pkgutil.walk_packages(weightcodecs.__path__, "weightcodecs."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    assert doctest.testmod(weightcodecs).attempted > 0
