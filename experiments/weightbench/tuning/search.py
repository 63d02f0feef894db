"""Bisection: the most lossy value that is still within the budget, with few probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from weightbench.loss import Judgement

__all__ = ["Search", "most_lossy_within", "try_all"]

Judge = Callable[[int], Judgement]


@dataclass(frozen=True, slots=True)
class Search:
    """What a search over positions 0 (mildest) to n−1 found.

    Attributes:
        best: the answer; None if nothing was found within the budget.
        judged: what is known of positions, in their order.
        above: positions above the first one that is not within which are within all the same: the loss does
            not grow steadily there. They are not the answer.
    """

    best: int | None
    judged: Mapping[int, Judgement]
    above: tuple[int, ...]


def most_lossy_within(
    count: int, judge: Judge, known: Mapping[int, Judgement] | None = None, checks: int = 1
) -> Search:
    """Find the largest position below which nothing that is known is beyond the budget.

    Bisection takes it that a position is within if a larger one is. It starts from what is known: the
    smallest position that is not within, and the largest one below it that is. It probes at most
    ⌈log2(count + 1)⌉ positions, and `checks` more next above the first that is not within.

    Args:
        count: number of positions.
        judge: probes a position; called at most once for each.
        known: what need not be probed.
        checks: see above.
    """
    judged = dict(known or {})

    def probed(position: int) -> Judgement:
        if position not in judged:
            judged[position] = judge(position)
        return judged[position]

    beyond = min((at for at, said in judged.items() if said != "within"), default=count)
    best = max((at for at, said in judged.items() if said == "within" and at < beyond), default=-1)
    while beyond - best > 1:
        middle = (best + beyond) // 2
        if probed(middle) == "within":
            best = middle
        else:
            beyond = middle
    for position in range(beyond + 1, min(beyond + 1 + checks, count)):
        probed(position)
    above = tuple(sorted(at for at, said in judged.items() if said == "within" and at > beyond))
    return Search(None if best < 0 else best, dict(sorted(judged.items())), above)


def try_all(count: int, judge: Judge, gain: Callable[[int], float]) -> Search:
    """Probe every position, for values without an order; the answer is the one with the largest gain."""
    judged = {position: judge(position) for position in range(count)}
    within = [position for position, said in judged.items() if said == "within"]
    return Search(max(within, key=gain, default=None), judged, ())
