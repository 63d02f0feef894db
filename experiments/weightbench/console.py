"""What a person sees on the screen: the cell, how far it is, and its row as a short table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from weightbench.rows import Row, Status, codec_title, granularity_title, title
from weightbench.runner import Progress

__all__ = ["duration", "print_cell", "print_plan", "print_row", "print_sweep", "progress", "size"]

LABEL = 15
NAME = 21
BAR = "  {desc:<34} {percentage:3.0f}%|{bar:24}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}]"
PARTS = ("payload", "side", "literals", "index")


def print_cell(cell: Mapping[str, Any], sweep: str = "") -> None:
    """Say what is about to run, and how far the sweep is that it is part of."""
    print(f"\n{title(cell)}" + (f"   [{sweep}]" if sweep else ""), flush=True)


def print_plan(cell: Mapping[str, Any], state: str, cost: str = "") -> None:
    """Say what would be done with a cell (dry run), and what that would take."""
    plan = f"measure {cell['measure']['name']}, eval {cell['eval']['mode']}"
    print(f"{state:<12} {title(cell)}; {plan}" + (f"; {cost}" if cost else ""))


def duration(seconds: float) -> str:
    """Say a time in words: ``4 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for length, unit in ((86_400, "days"), (3_600, "h")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"


def size(nbytes: float) -> str:
    """Say a number of bytes in words, in powers of ten: ``12 kB``, ``3.4 GB``."""
    for factor, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if nbytes >= factor:
            return f"{nbytes / factor:.3g} {unit}"
    return f"{nbytes:.0f} B"


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows progress: a bar on a terminal, a line for each step elsewhere."""
    terminal = sys.stderr.isatty()
    bar = tqdm(total=1, disable=not terminal, bar_format=BAR, leave=False)
    last = ""

    def show(step: Progress) -> None:
        nonlocal last
        if step.message != last:
            last = step.message
            if terminal:
                bar.unit = step.unit
                bar.set_description_str(step.message, refresh=False)
                bar.reset(total=step.total or 1)
            else:
                print(f"  … {step.message}", file=sys.stderr, flush=True)
        bar.total, bar.unit = step.total or 1, step.unit
        bar.n = min(step.done, bar.total)
        bar.refresh()

    try:
        yield show
    finally:
        bar.close()


def print_row(row: Row, root: Path, *, stored: bool = False) -> None:
    """Print a row as a table of a dozen lines, and where it is.

    Args:
        row: the row.
        root: the results folder.
        stored: whether it was there already.
    """
    where = f"{root / 'cells' / row.id}.json"
    if stored:
        where += "  (was there; force=true runs it again)"
    if row.status is not Status.OK:
        _line(row.status, row.reason)
        cause = f"{row.error.get('type')}: {row.error.get('message')}" if row.error else row.reason
        if row.status is Status.FAILED and " ".join(cause.split()) != row.reason:
            _line("", " ".join(cause.split()))
        _line("row", where)
        return
    for label, text in _lines(row):
        _line(label, text)
    _line("row", where)
    if error := row.result.get("picture_error"):
        _line("picture", f"none: {error}")
    for name in row.artifacts:
        _line("picture", str(root / name))


def print_sweep(rows: Sequence[Row]) -> None:
    """Print one line a cell."""
    speeds = "".join(f"{name:>9}" for name in ("encode", "decode", "memcpy"))
    print(f"\n{'model':<{NAME + 1}}{'granularity':<13}{'ratio':>8}{speeds} MB/s  codec")
    for row in rows:
        cell: Any = row.cell
        name = cell["model"]["name"]
        name = name if len(name) <= NAME else f"…{name[-NAME + 1 :]}"
        where = f"{name:<{NAME + 1}}{cell['granularity']['kind']:<13}"
        print(f"{where}{_figures(row)}{codec_title(cell['codec'])}")


def _figures(row: Row) -> str:
    if row.status is not Status.OK:
        return f"{row.status.upper() if row.status is not Status.SKIPPED else row.status:>35}       "
    result: Any = row.result
    spans = [result["speed"][what] for what in ("encode", "decode", "memcpy_fresh")]
    rates = [span["mb_per_s"] if span else None for span in spans]
    speeds = "".join(f"{_rate(rate['median']) if rate else '-':>9}" for rate in rates)
    return f"{result['sizes']['ratio']:>8.4f}{speeds}       "


def _rate(mb_per_s: float) -> str:
    return f"{mb_per_s:,.0f}" if mb_per_s >= 10 else f"{mb_per_s:.2g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _line(label: str, text: str) -> None:
    print(f"{label:<{LABEL}}{text}")


def _lines(row: Row) -> Iterator[tuple[str, str]]:
    result: Mapping[str, Any] = row.result
    model, sizes, speed, error = result["model"], result["sizes"], result["speed"], result["error"]
    formats = "".join(f", {f['parameters']:,} {name}" for name, f in model["formats"].items())
    yield "model", f"{model['name']}: {_count(model['tensors'], 'tensor')}{formats}"
    if model["note"]:
        yield "note", model["note"]
    yield "granularity", f"{granularity_title(row.cell)}, {_count(sizes['units'], 'unit')}"
    raw, stored = sizes["raw_bytes"], sizes["stored_bytes"]
    yield "size", f"raw {raw:,} B → stored {stored:,} B   ratio {sizes['ratio']:.4f}"
    yield (
        "",
        "   ".join(
            f"{part} {sizes[f'{part}_bytes']:,} B" for part in ("payload", "side", "literals", "index")
        ),
    )
    for name, reason in sizes["passed_through"].items():
        yield "", f"{name} stored raw: {reason}"
    if workload := result.get("workload"):
        yield from (_pair(workload) if workload["kind"] == "pair" else _set(workload))
    for what in ("encode", "decode", "memcpy_fresh", "memcpy_reused"):
        if speed[what]:
            yield what.replace("_", " "), _speed(speed[what], speed["single_round"])
    yield from _flags(speed)
    yield "error", _error(error)
    yield from _evaluation(result["evaluation"])


def _set(workload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What became of a family or hub: each model beside its base, repeats, the whole way's speed."""
    for model in workload["models"]:
        yield "" if model is not workload["models"][0] else workload["kind"], _member(model)
    text = f"with the base {workload['ratio_base_counted']:.4f}"
    if workload["ratio_base_not_counted"]:
        text += f"   fine-tunes alone {workload['ratio_base_not_counted']:.4f}"
    yield "ratio", text
    dedup = workload["dedup"]
    if dedup["unique_bytes"] < dedup["bytes"]:
        files, found = dedup["repeated_files"], dedup["units"] - dedup["entries"]
        yield (
            "repeats",
            f"{_count(files, 'file')} and {_count(found, 'unit')} were there already: "
            f"{1 - dedup['unique_bytes'] / dedup['bytes']:.1%} of the bytes",
        )
    for what in ("ingest", "restore"):
        yield what, f"{_rate(workload[what]['mb_per_s'])} MB/s (files to depot and back; disk included)"


def _member(model: Mapping[str, Any]) -> str:
    name = model["name"] if len(model["name"]) <= NAME else f"…{model['name'][-NAME + 1 :]}"
    text = f"{name:<{NAME}} {model['ratio']:8.4f}"
    if not model["base"]:
        return text
    used = "from" if model["units_against_base"] else "a relative, not used,"
    base = f"  {model['how']}: {used} {model['base']}"
    if model["bit_distance"] is not None:
        base += f", {model['bit_distance']:.2f} bits a weight apart"
    return text + base


def _pair(workload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What it takes to load the low checkpoint of a pair alone."""
    low = workload["low_alone"]
    high, raw = workload["high_raw_bytes"], workload["low_raw_bytes"]
    yield "pair", f"{_count(workload['pairs'], 'tensor')} in pairs; raw high {high:,} B, low {raw:,} B"
    if low["decode"]:
        yield "low alone", f"decode {_speed(low['decode'], low['single_round'])}"


def _flags(speed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What speaks against the speeds. One round is no measurement of speed, whatever else disturbed it."""
    if not speed["encode"] or not speed["flags"]:
        return
    if not speed["single_round"]:
        for flag in speed["flags"]:
            yield "", f"! {flag}"
    else:
        yield "", f"! {speed['flags'][0]}{_others(len(speed['flags']) - 1)}"


def _others(number: int) -> str:
    return f" ({_count(number, 'more remark')} in the row)" if number else ""


def _speed(speed: Mapping[str, Any], single: bool) -> str:
    if speed["mb_per_s"] is None:
        return "no bytes"
    rate = speed["mb_per_s"]
    text = f"{_rate(rate['median'])} MB/s"
    if single:
        text += "  (one round)"
    elif rate["ci_low"] is not None:
        text += f"  [{_rate(rate['ci_low'])}, {_rate(rate['ci_high'])}]"
    share = speed["share_of_memcpy_fresh"]
    return text + (f"   {share['median']:.3g} × memcpy" if share else "")


def _error(error: Mapping[str, Any]) -> str:
    if error["bit_exact"]:
        return "bit-exact, every round verified" if error["values"] else "no values"
    bounds = ", ".join(_bound(name, bound) for name, bound in error["bounds"].items())
    share = f" ({error['max_bound_share']:.1%} of the bound)" if error["max_bound_share"] is not None else ""
    return (
        f"largest {error['max_abs_error']:.3g}{share}; bound {bounds}; "
        f"RMSE {error['rmse']:.3g}; {error['exact_share']:.1%} of values exact"
    )


def _bound(name: str, bound: Mapping[str, float]) -> str:
    parts = [f"{kind} {value:.3g}" for kind, value in bound.items() if value]
    return f"{name} {' or '.join(parts) or 'exact'}"


def _evaluation(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if evaluation["status"] == "skipped":
        yield "accuracy", f"not evaluated: {evaluation['reason']}"
        return
    for change in evaluation["changes"]:
        yield "accuracy", _change(change)
    if divergence := evaluation["divergence"]:
        spread = f"p99 {divergence['p99']:.3g}, max {divergence['max']:.3g}"
        agreement = f"{divergence['top1_agreement']:.2%} of {divergence['tokens']:,} tokens"
        yield "KL", f"{divergence['mean']:.3g} nats/token ({spread}); same top choice {agreement}"
    if likelihood := evaluation["likelihood"]:
        change = f"{likelihood['difference']:+.2g}{_interval(likelihood['interval'])} nats/token"
        before, after = likelihood["perplexity_before"], likelihood["perplexity_after"]
        yield "perplexity", f"{before:.4f} → {after:.4f}; log-likelihood {change}"
    if tensors := evaluation["tensors"]:
        yield (
            "tensors",
            (
                f"max |error| {tensors['max_abs']:.3g}, RMSE {tensors['rmse']:.3g}, "
                f"{tensors['changed']:,} of {tensors['values']:,} values changed"
            ),
        )


def _change(change: Mapping[str, Any]) -> str:
    text = (
        f"{change['task']} {change['metric']}: {change['before']:.4f} → {change['after']:.4f}, "
        f"{change['difference']:+.4f}{_interval(change['interval'])} (n={change['n']}, paired"
    )
    if change["gained"] is not None:
        text += f"; {change['gained']} gained, {change['lost']} lost"
    return text + ")"


def _interval(interval: Mapping[str, Any] | None) -> str:
    return f" [{interval['low']:+.2g}, {interval['high']:+.2g}]" if interval else ""
