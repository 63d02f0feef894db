"""`python -m weightbench.lineage MODEL…`: the lineage of models, as a table, CSV files and a picture."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from weightbench import zoo
from weightbench.models import LocalSource, Model, ModelError, ZooSource, open_model
from weightbench.workload import repositories
from weightcodecs.errors import WeightCodecsError

from .clusters import STRANGERS, linkage_of, nearness_matrix
from .comparer import Comparer
from .comparing import SAMPLES
from .inference import infer_from
from .tables import MODEL_COLUMNS, PAIR_COLUMNS, model_rows, pair_rows, text_table, write_csv


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m weightbench.lineage", description=__doc__)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a folder (also of repositories), a file, or a zoo model",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for models.csv, pairs.csv, lineage.png and lineage.pdf"
    )
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="values of each model (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the places of the samples")
    options = parser.parse_args(arguments)
    if options.samples < 1 or options.seed < 0:
        parser.error("--samples must be positive, --seed not negative")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        comparer = Comparer(_open(options.models), samples=options.samples, seed=options.seed)
        lineage = infer_from(comparer)
        print(text_table(lineage))
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            write_csv(options.out / "models.csv", MODEL_COLUMNS, model_rows(lineage))
            _compare_all(comparer, options.out)
    except (ModelError, WeightCodecsError, OSError) as error:
        print(f"lineage: {error}", file=sys.stderr)
        return 2
    return 0


def _open(places: Sequence[str]) -> list[Model]:
    """Open models by what was typed; folders are called by their last part, where no two share it.

    A folder without weights of its own stands for the folders with weights below it.
    """
    bundled = set(zoo.names())
    last = Counter(Path(place).resolve().name for place in places)
    models = []
    for place in dict.fromkeys(places):
        if place in bundled and not Path(place).exists():
            models.append(open_model(ZooSource(place)))
            continue
        name = Path(place).resolve().name
        one = LocalSource(place, name=name if last[name] == 1 else place)
        models += [open_model(source) for source in repositories(LocalSource(place)) or [one]]
    return models


def _compare_all(comparer: Comparer, out: Path) -> None:
    """Measure every pair that could be of one family; write the distances, and draw them."""
    names = list(comparer.models)
    if len(names) < 2:
        return
    nearness = nearness_matrix(comparer, names)
    write_csv(out / "pairs.csv", PAIR_COLUMNS, pair_rows(comparer.known()))
    distances = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(distances, 0.0)
    known = comparer.known()
    for i, j in combinations(range(len(names)), 2):
        found = known.get((names[i], names[j]))
        if found is not None:
            distances[i, j] = distances[j, i] = found.bits
    from weightbench.figures import style
    from weightbench.figures.lineage import lineage_figure

    with style.styled():
        figure = lineage_figure(names, distances, nearness < STRANGERS, linkage_of(nearness), STRANGERS)
        for kind in ("png", "pdf"):
            figure.savefig(
                out / f"lineage.{kind}", metadata={"CreationDate": None} if kind == "pdf" else None
            )


if __name__ == "__main__":
    sys.exit(main())
