"""Draw the zoo's two figures from the CSV files in ``zoo/curves``; computes nothing.

python -m weightbench.zoo.train.figures --curves zoo/curves
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from weightbench.zoo import ZOO
from weightbench.zoo.train.coarsen import WAYS
from weightbench.zoo.train.corpus import DOMAINS

__all__ = ["main"]

COLOURS = dict(zip(DOMAINS, ("#0072b2", "#009e73", "#d55e00", "#cc79a7"), strict=True))
DASHES = {1e-6: ":", 3e-6: ":", 1e-5: "--", 3e-5: "--", 1e-4: "-"}


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)


def training(curves: Path) -> None:
    """``training.png``: the base's held-out bits per byte, and the fine-tunes' gain and loss."""
    figure, (base, own, other) = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    rows = _read(curves / "llama.heldout.csv")
    for domain, colour in COLOURS.items():
        values = [float(row[f"bits_per_byte_{domain}"]) for row in rows]
        style = "-" if domain in ZOO["llama"].trained_on else "--"
        label = domain if style == "-" else f"{domain} (not trained on)"
        base.plot([int(row["tokens"]) / 1e6 for row in rows], values, style, color=colour, label=label)
    base.set(title="Base model: held-out text", xlabel="tokens seen (millions)", ylabel="bits per byte")
    base.legend(frameon=False)
    for name, entry in ZOO.items():
        if entry.base is None:
            continue
        rows = _read(curves / f"{name}.heldout.csv")
        steps = [int(row["step"]) for row in rows]
        domain = entry.trained_on[0]
        for axes, measured in ((own, domain), (other, "pydoc")):
            values = [float(row[f"bits_per_byte_{measured}"]) for row in rows]
            axes.plot(
                steps,
                [value - values[0] for value in values],
                DASHES[entry.learning_rate],
                color=COLOURS[domain],
                label=f"{domain}, {entry.learning_rate:.0e}".replace("e-0", "e-"),
            )
    own.set(title="Fine-tunes: their own domain", xlabel="step", ylabel="change of bits per byte")
    other.set(title="Fine-tunes: the base's domain (pydoc)", xlabel="step", ylabel="change of bits per byte")
    other.legend(frameon=False, title="domain, learning rate", loc="center right")
    for axes in (base, own, other):
        _plain(axes)
    figure.savefig(curves / "training.png", dpi=130)


def _points(rows: list[dict[str, str]], task: str, metric: str) -> tuple[list[int], list[float], list[float]]:
    """Bits, values and standard errors of one curve; 23 bits is the original, which is drawn as a line."""
    kept = [row for row in rows if (row["task"], row["metric"]) == (task, metric)]
    kept = [row for row in kept if row["bits"] != "23"]
    return (
        [int(row["bits"]) for row in kept],
        [float(row["value"]) for row in kept],
        [float(row["standard_error"]) for row in kept],
    )


def coarsening(curves: Path) -> None:
    """``coarsen.png``: accuracy and bits per byte against the precision of the weights."""
    rows = {way: _read(curves / f"coarsen_{way}.csv") for way in WAYS}
    original = [row for row in rows["mantissa"] if row["bits"] == "23"]
    full = {(row["task"], row["metric"]): float(row["value"]) for row in original}
    figure, grid = pyplot.subplots(2, 2, figsize=(10, 6.5), layout="constrained", sharex="col", sharey="row")
    labels = {"mantissa": "explicit mantissa bits kept", "uniform": "bits of the uniform grid per tensor"}
    for column, way in enumerate(labels):
        accuracy, density = grid[0, column], grid[1, column]
        for metric, colour in (("acc", "#0072b2"), ("acc_norm", "#e69f00")):
            bits, values, errors = _points(rows[way], "wb_continuation", metric)
            accuracy.errorbar(bits, values, errors, fmt="o-", color=colour, ms=4, capsize=2, label=metric)
            accuracy.axhline(full["wb_continuation", metric], color=colour, lw=0.8, ls="--")
        accuracy.axhline(0.25, color="0.5", lw=0.8, ls=":")
        accuracy.annotate("chance", (10, 0.25), color="0.4", va="bottom", fontsize=8)
        for task in ("wb_bpb_pydoc", "wb_bpb_wordnet"):
            colour = COLOURS[task.removeprefix("wb_bpb_")]
            bits, values, _ = _points(rows[way], task, "bits_per_byte")
            density.plot(bits, values, "o-", color=colour, ms=4, label=task)
            density.axhline(full[task, "bits_per_byte"], color=colour, lw=0.8, ls="--")
        grid[1, column].set_xlabel(labels[way])
    grid[1, 0].set_yscale("log")
    grid[1, 0].set_yticks([1.5, 2, 3, 4, 5], labels=["1.5", "2", "3", "4", "5"])
    grid[1, 0].minorticks_off()
    grid[0, 0].set_ylabel("wb_continuation")
    grid[1, 0].set_ylabel("bits per byte")
    grid[0, 0].legend(frameon=False, loc="lower right")
    grid[1, 0].legend(frameon=False, loc="upper right")
    grid[0, 0].invert_xaxis()
    grid[0, 1].invert_xaxis()
    for axes in grid.flat:
        _plain(axes)
    figure.suptitle("llama with coarsened weights (dashed: the fp32 original; bars: one standard error)")
    figure.savefig(curves / "coarsen.png", dpi=130)


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, required=True)
    curves: Path = parser.parse_args().curves
    training(curves)
    coarsening(curves)


if __name__ == "__main__":
    main()
