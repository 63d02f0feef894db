"""Guards of the layout: two source roots that shadow nothing, and imports that go one way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = {"codecs": "weightcodecs", "experiments": "weightbench"}

ORDER = [
    # what everybody may use
    *("errors", "canonical", "machine", "environment", "zoo"),
    # the way of the data
    *("models", "pairing", "granularity", "lineage", "dedup", "similarity", "distributions"),
    *("systems", "workload"),
    *("archive", "depot"),
    *("verify", "measure", "evaluate"),
    # rows, and what is made of them
    *(
        "rows",
        "journal",
        "store",
        "columns",
        "frozen",
        "segments",
        "table",
        "results",
        "reference",
        "loss",
        "objectives",
    ),
    *("pareto", "figures", "compare", "report"),
    # what knows the whole line
    *("request", "runner", "cells", "console", "arguments", "grids", "cost", "launchers"),
    *("sweep", "search", "command"),
    *("tuning", "study"),
]
"""The modules of weightbench; each imports only those before it."""


@pytest.mark.parametrize("places", [".", "codecs:experiments", "codecs:experiments:."])
def test_standard_library_is_not_shadowed(places: str) -> None:
    path = os.pathsep.join(str(ROOT / place) for place in places.split(":"))
    code = (
        "import codecs, os; assert codecs.lookup('utf-8').name == 'utf-8';"
        "assert os.path.dirname(codecs.__file__) == os.path.dirname(os.__file__); import weightcodecs"
    )
    env = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(("root", "package"), SOURCE_ROOTS.items())
def test_source_roots_hold_a_package_and_a_readme(root: str, package: str) -> None:
    found = {path.name for path in (ROOT / root).iterdir()} - {"__pycache__"}
    assert found == {package, "README.md"}
    lines = (ROOT / root / "README.md").read_text().splitlines()
    assert 5 <= len(lines) <= 20
    assert (ROOT / root / package / "__init__.py").exists()


def imported(path: Path, root: Path) -> Iterator[str]:
    """Yield the full dotted names that a file imports, wherever in it."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def files(root: str) -> list[Path]:
    return sorted((ROOT / root / SOURCE_ROOTS[root]).rglob("*.py"))


@pytest.mark.parametrize("path", files("codecs"), ids=lambda path: path.stem)
def test_codecs_know_nothing_of_the_harness(path: Path) -> None:
    strangers = {
        "weightbench",
        "torch",
        "transformers",
        "hydra",
        "omegaconf",
        "pandas",
        "matplotlib",
        "lm_eval",
    }
    assert strangers.isdisjoint(name.partition(".")[0] for name in imported(path, ROOT / "codecs"))


def top_module(path: Path) -> str:
    return path.relative_to(ROOT / "experiments/weightbench").parts[0].removesuffix(".py")


def test_every_module_has_its_place() -> None:
    found = {top_module(path) for path in files("experiments")} - {"__init__"}
    assert found - set(ORDER) == set(), "say in ORDER where these stand"


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_one_way(module: str) -> None:
    allowed = {*ORDER[: ORDER.index(module) + 1], "__init__", "__version__"}
    for path in files("experiments"):
        if (
            top_module(path) != module or path.name == "__main__.py"
        ):  # what `python -m` starts knows everything
            continue
        for name in imported(path, ROOT / "experiments"):
            parts = name.split(".")
            if parts[0] == "weightbench" and len(parts) > 1:
                assert parts[1] in allowed, f"{path.relative_to(ROOT)} imports {name}"
