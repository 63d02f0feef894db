"""Answers on the screen and in files: results/tuning/<id>.json, and a picture of all codecs on one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from weightbench import canonical
from weightbench.loss import Loss, units_of
from weightbench.store import store_error, write_atomically
from weightbench.tuning.probing import Probe, Tuning

__all__ = ["print_answers", "print_probe", "write_picture", "write_tuning"]

FOLDER = "tuning"


def print_probe(probe: Probe) -> None:
    """Print one line."""
    told = f"{'' if probe.value is None else _word(probe.value):<16}"
    if probe.loss is None or probe.ratio is None:
        print(f"  {told}{probe.status}: {probe.reason}", flush=True)
    else:
        print(f"  {told}ratio {probe.ratio:8.4f}   loss {_loss(probe.loss)}   {probe.judgement}", flush=True)


def print_answers(tunings: Sequence[Tuning]) -> None:
    """Print a table of answers, and whatever was odd on the way to them."""
    plan = tunings[0].plan
    print(
        f"\nlargest ratio at a loss of at most {plan.budget:g} {units_of(plan.metric)}, 95 % interval within:"
    )
    print(f"{'model':<22}{'codec':<14}{'option':<36}{'ratio':>9}   {'loss':<36}probes")
    for tuning in tunings:
        model, codec = tuning.cell["model"]["name"], tuning.cell["codec"]["name"]
        option, ratio, loss = "nothing is within the budget", "-", ""
        if (best := tuning.best) is not None:
            assert best.loss is not None
            option = "" if best.value is None else f"{tuning.knob.parameter}={_word(best.value)}"
            ratio, loss = f"{best.ratio:.4f}", _loss(best.loss)
        print(f"{model:<22}{codec:<14}{option:<36}{ratio:>9}   {loss:<36}{len(tuning.probes)}")
    for tuning in tunings:
        for remark in _remarks(tuning):
            print(f"! {tuning.cell['codec']['name']} on {tuning.cell['model']['name']}: {remark}")


def write_tuning(tuning: Tuning, root: Path) -> Path:
    """Write an answer, replacing an older one to the same question; raises `StoreError`."""
    path = root / FOLDER / f"{tuning.id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (canonical.dumps(tuning.plain()) + "\n").encode("ascii"))
    except OSError as error:
        raise store_error(error, f"{path} could not be written") from error
    return path


def write_picture(tunings: Sequence[Tuning], root: Path) -> Path:
    """Draw all codecs' answers for one model; the file is named after the questions."""
    from weightbench.figures.tuning import draw_tuning  # Matplotlib takes a while to import

    name = canonical.identity({"tunings": [tuning.id for tuning in tunings]})
    path = root / FOLDER / f"{name}.png"
    draw_tuning([tuning.plain() for tuning in tunings], path)
    return path


def _remarks(tuning: Tuning) -> Iterator[str]:
    if tuning.above:
        values = ", ".join(map(_word, tuning.above))
        yield f"within the budget again at {values}, beyond a value that is not: not taken for the answer"
    for first, second in tuning.unsteady:
        yield f"the loss falls from {tuning.knob.parameter}={_word(first)} to {_word(second)}"
    if tuning.ordered and tuning.best is not None and tuning.best.value == tuning.values[-1]:
        yield "the most lossy value of the grid is within the budget: widen it (tune.low, tune.high)"
    for probe in tuning.probes:
        if probe.judgement == "failed":
            yield f"{_word(probe.value)} counts as beyond, since its cell did not end well: {probe.reason}"
    unclear = [probe for probe in tuning.probes if probe.judgement == "unclear"]
    if unclear:
        values = ", ".join(_word(probe.value) for probe in unclear)
        yield f"unclear at {values}: the interval holds the budget (more documents make it narrower)"


def _loss(loss: Loss) -> str:
    if loss.low is None or loss.high is None:
        return f"{loss.value:.3g} (no interval)"
    return f"{loss.value:.3g} [{loss.low:.3g}, {loss.high:.3g}]"


def _word(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
