"""Laws of the bisection, and what it does where the loss does not grow steadily."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightbench.loss import Judgement
from weightbench.tuning.search import most_lossy_within, try_all

JUDGEMENTS: list[Judgement] = ["within", "unclear", "beyond", "failed"]


def judging(truth: list[Judgement]) -> tuple[Callable[[int], Judgement], list[int]]:
    """Return a judge that says the truth, and the list of what it was asked; it is asked once for each."""
    asked: list[int] = []

    def judge(position: int) -> Judgement:
        assert position not in asked
        asked.append(position)
        return truth[position]

    return judge, asked


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 3), st.sampled_from(JUDGEMENTS[1:]))
def test_finds_the_edge_with_few_probes(count: int, edge: int, checks: int, beyond: Judgement) -> None:
    edge = min(edge, count)
    truth: list[Judgement] = [*(["within"] * edge), *([beyond] * (count - edge))]  # type: ignore[list-item]
    judge, asked = judging(truth)
    found = most_lossy_within(count, judge, checks=checks)
    assert found.best == (edge - 1 if edge else None)
    assert found.above == ()
    assert len(asked) <= math.ceil(math.log2(count + 1)) + checks
    assert sorted(asked) == list(found.judged)


@given(st.lists(st.sampled_from(JUDGEMENTS), min_size=1, max_size=40), st.data())
def test_any_outcomes_and_anything_known(truth: list[Judgement], data: st.DataObject) -> None:
    known = {at: truth[at] for at in data.draw(st.sets(st.integers(0, len(truth) - 1)))}
    judge, asked = judging(truth)
    found = most_lossy_within(len(truth), judge, known, data.draw(st.integers(0, 2)))
    assert not known.keys() & {*asked}
    assert found.judged == {at: truth[at] for at in sorted({*asked, *known})}
    below = [said for at, said in found.judged.items() if found.best is not None and at <= found.best]
    assert set(below) <= {"within"}  # nothing that is known speaks against the answer
    assert all(truth[at] == "within" and at > (found.best or 0) for at in found.above)
    if found.best is not None and found.best + 1 < len(truth):
        assert found.judged[found.best + 1] != "within"


def test_what_is_within_again_is_reported_and_not_taken() -> None:
    judge, _ = judging(["within", "beyond", "within", "beyond"])
    found = most_lossy_within(4, judge, {1: "beyond"}, checks=1)
    assert (found.best, found.above) == (0, (2,))


def test_without_an_order_everything_is_tried() -> None:
    judge, asked = judging(["within", "beyond", "within"])
    assert try_all(3, judge, lambda at: -at).best == 0
    assert asked == [0, 1, 2]
    judge, _ = judging(["beyond", "failed"])
    assert try_all(2, judge, float).best is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_grids(count: int) -> None:
    judge, asked = judging(["within"] * count)
    assert most_lossy_within(count, judge).best == count - 1
    assert len(asked) <= count
