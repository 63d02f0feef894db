"""A comparison on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from weightbench.compare.changes import Change
from weightbench.compare.overall import Overall
from weightbench.compare.pairs import Pairing

__all__ = ["print_report"]

_MOST = 40


def print_report(
    pairing: Pairing, found: Sequence[Change], means: Sequence[Overall], *, cpus: tuple[set[str], set[str]]
) -> None:
    """Print the means over all pairs, then the changes that count, regressions first."""
    print(f"{len(pairing.pairs)} pairs; {pairing.only_a} cells only in A, {pairing.only_b} only in B")
    if cpus[0] != cpus[1]:
        print("! the machines differ: speeds as shares of memcpy hold between machines only roughly")
    print(f"\n{'B against A':<34}{'mean':>9}  {'95 % over pairs':<22}{'pairs':>6}  verdicts")
    for mean in means:
        verdicts = ", ".join(f"{count} {name}" for name, count in sorted(mean.verdicts.items()))
        interval = _interval(mean.low, mean.high)
        print(f"{mean.measure:<34}{_number(mean.mean):>9}  {interval:<22}{mean.pairs:>6}  {verdicts}")
    for verdict in ("regression", "improvement"):
        _print_changes(verdict, [change for change in found if change.verdict == verdict])
    unjudged = [change for change in found if change.verdict == "not judged"]
    if unjudged:
        reasons = ", ".join(sorted({change.note for change in unjudged}))
        print(f"\n{len(unjudged)} changes not judged ({reasons}): measure=timing gives intervals")


def _print_changes(verdict: str, found: Sequence[Change]) -> None:
    if not found:
        return
    print(f"\n{len(found)} {verdict}{'s' if len(found) > 1 else ''}")
    for change in found[:_MOST]:
        cell = f"{change.codec} on {change.model}{' as ' + change.dtype if change.dtype else ''}"
        print(f"  {change.measure:<10} {_words(change)}  {cell}, {change.granularity}")
    if len(found) > _MOST:
        print(f"  … and {len(found) - _MOST} more: --format csv has them all")


def _words(change: Change) -> str:
    if change.change is None:
        return change.note
    assert change.a is not None
    assert change.b is not None
    sign = "×" if change.measure in ("size", "encode", "decode") else "Δ"
    interval = _interval(change.low, change.high)
    return f"{sign} {_number(change.change)} {interval} ({_number(change.a)} → {_number(change.b)})"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
