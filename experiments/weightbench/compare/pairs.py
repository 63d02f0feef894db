"""Which row of one side stands beside which of the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weightbench.compare.sides import CompareError, Flat, Side

__all__ = ["IGNORED", "CompareError", "Pair", "Pairing", "pairs"]

IGNORED = ("cell.codec.version",)
"""What may differ in a pair unless said otherwise: how a newer version does is what one wants to know."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of each side with the same key."""

    a: Flat
    b: Flat


@dataclass(frozen=True, slots=True)
class Pairing:
    """The pairs, and how many rows of each side have no partner."""

    pairs: tuple[Pair, ...]
    only_a: int
    only_b: int


def pairs(a: Side, b: Side, ignore: Sequence[str] = ()) -> Pairing:
    """Pair rows whose cells are equal but for what is ignored.

    Ignored are `IGNORED`, what `ignore` names, and groups of columns in which both sides select, and not the
    same: of ``results@cell.codec.name=zstd`` and ``results@cell.codec.name=elf`` everything below
    ``cell.codec``. The environment is no part of a cell and never counts.

    Args:
        a, b: the sides.
        ignore: names of columns, or of groups of them (``cell.eval``).

    Raises:
        CompareError: no pair, or several rows of a side with the same key.
    """
    without = {*IGNORED, *ignore, *_contrasted(a, b)}
    keyed_a, keyed_b = _keyed(a, without), _keyed(b, without)
    both = [key for key in keyed_a if key in keyed_b]
    if not both:
        raise CompareError(
            f"no cell is in both {a.name} and {b.name}; --ignore COLUMN leaves out what differs"
        )
    found = tuple(Pair(keyed_a[key], keyed_b[key]) for key in sorted(both))
    return Pairing(found, len(keyed_a) - len(both), len(keyed_b) - len(both))


def _contrasted(a: Side, b: Side) -> set[str]:
    """The groups in which both sides select, each something else."""
    one, other = _selected(a), _selected(b)
    return {group for group in one.keys() & other.keys() if one[group] != other[group]}


def _selected(side: Side) -> dict[str, set[tuple[str, str]]]:
    groups: dict[str, set[tuple[str, str]]] = {}
    for column, value in side.selected:
        groups.setdefault(".".join(column.split(".")[:2]), set()).add((column, value))
    return groups


def _keyed(side: Side, without: Iterable[str]) -> dict[str, Flat]:
    keyed: dict[str, Flat] = {}
    for row in side.rows:
        key = _key(row, without)
        if key in keyed:
            one, other = keyed[key], row
            differ = [name for name in {**one, **other} if one.get(name) != other.get(name)]
            cells = sorted(name for name in differ if name.startswith("cell."))
            raise CompareError(
                f"{side.name} has several rows for one pair; they differ in {', '.join(cells)}: "
                f"choose with {side.name.partition('@')[0]}@COLUMN=VALUE"
            )
        keyed[key] = row
    return keyed


def _key(row: Flat, without: Iterable[str]) -> str:
    parts = {
        name: value
        for name, value in row.items()
        if name.startswith("cell.")
        and not any(name == left or name.startswith(f"{left}.") for left in without)
    }
    return json.dumps(parts, sort_keys=True)
