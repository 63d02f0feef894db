"""Which rows of a sweep were timed on a machine that was not the same for the others."""

from __future__ import annotations

from collections.abc import Sequence

from weightbench.rows import Row, Status
from weightbench.sweep.drift import drifted


def row(before: float, after: float, memcpy: float = 10_000.0) -> Row:
    stick = {
        "before": {"zstd_mb_per_s": before, "memcpy_mb_per_s": memcpy},
        "after": {"zstd_mb_per_s": after, "memcpy_mb_per_s": memcpy},
        "change": max(before, after) / min(before, after) - 1,
    }
    return Row("0" * 64, {}, Status.OK, result={"speed": {"yardstick": stick}})


def old() -> Sequence[Row | None]:
    """No row at all, a failure, a single round, a row from before there was a yardstick."""
    single = Row("0" * 64, {}, Status.OK, result={"speed": {"yardstick": None}})
    before = Row("0" * 64, {}, Status.OK, result={"speed": {}})
    return [None, Row("0" * 64, {}, Status.FAILED), single, before]


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert drifted([]) == []
    assert drifted(old()) == ["", "", "", ""]


def test_equal_machines_are_equal() -> None:
    assert drifted([row(500, 510), *old(), row(490, 500), row(515, 505)]) == [""] * 7


def test_a_move_while_measuring_is_said() -> None:
    assert drifted([row(500, 400)]) == ["moved by 25% while it was measured"]


def test_a_cell_apart_from_the_others_is_said() -> None:
    rows = [row(500, 500), row(500, 510), row(400, 400), row(505, 500), row(500, 500, memcpy=15_000.0)]
    assert drifted(rows) == [
        "", "", "20% slower (zstd) than for the middle cell", "",
        "50% faster (memcpy) than for the middle cell",
    ]  # fmt: skip


def test_of_two_nobody_knows_which_one_is_off() -> None:
    assert drifted([row(500, 500), row(400, 400)]) == ["", ""]
