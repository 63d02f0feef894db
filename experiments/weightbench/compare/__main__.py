"""Compare two sets of rows: ``python -m weightbench.compare A B``.

A and B are results folders or cells.parquet files, or some of their rows: PATH@column=value,column=value.
Cells are paired when they are equal but for the codec's version, what --ignore names, and groups of columns
in which the two selections differ: results@cell.codec.name=zstd and results@cell.codec.name=elf pair any
options of the two codecs. Exit code: 0 no regression, 1 a regression, 2 wrong input.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from weightbench.compare.changes import Change, Thresholds, changes
from weightbench.compare.export import FORMATS, exported
from weightbench.compare.overall import overall
from weightbench.compare.pairs import pairs
from weightbench.compare.report import print_report
from weightbench.compare.sides import CompareError, Side, read_side
from weightbench.errors import WeightbenchError
from weightbench.store import write_atomically

__all__ = ["main"]

REGRESSION, WRONG_INPUT = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Compare, print or write; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _compare(options)
    except WeightbenchError as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    return WRONG_INPUT


def _compare(options: argparse.Namespace) -> int:
    if options.format == "parquet" and options.out is None:
        raise CompareError("--format parquet needs --out FILE")
    if options.format == "table" and options.out is not None:
        raise CompareError(f"--out needs a --format: {', '.join(FORMATS)}")
    a, b = read_side(options.a), read_side(options.b)
    pairing = pairs(a, b, options.ignore)
    thresholds = Thresholds(options.size_threshold, options.threshold, options.accuracy_threshold)
    found = [change for pair in pairing.pairs for change in changes(pair, thresholds)]
    means = overall(found)
    if options.format != "table":
        _write(exported(found, options.format), options.out)
    else:
        print_report(pairing, found, means, cpus=(_cpus(a), _cpus(b)))
    if options.mlflow is not None:
        from weightbench.compare.tracking import log_to_mlflow

        run = log_to_mlflow(options.mlflow, (a.name, b.name), found, means, thresholds)
        print(f"logged to MLflow as run {run}", file=sys.stderr)
    return REGRESSION if any(_is_regression(change) for change in found) else 0


def _is_regression(change: Change) -> bool:
    return change.verdict == "regression"


def _cpus(side: Side) -> set[str]:
    return {str(row.get("environment.cpu.model", "unknown")) for row in side.rows}


def _write(data: bytes, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(data.decode())
    else:
        write_atomically(path, data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m weightbench.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("a", metavar="A", help="before")
    parser.add_argument("b", metavar="B", help="after")
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="COLUMN",
        help="may differ in a pair: a column of the cell or a group (cell.eval); repeatable",
    )
    parser.add_argument(
        "--threshold",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="speeds: slower by more is a regression, if the interval agrees (default 0.05)",
    )
    parser.add_argument(
        "--size-threshold",
        type=_share,
        default=0.001,
        metavar="SHARE",
        help="size: larger by more is a regression (default 0.001)",
    )
    parser.add_argument(
        "--accuracy-threshold",
        type=_share,
        default=0.0,
        metavar="POINTS",
        help="accuracy: worse by more, if the interval agrees (default 0)",
    )
    parser.add_argument("--format", choices=["table", *FORMATS], default="table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of the screen")
    parser.add_argument("--mlflow", metavar="URI", help="also log to this MLflow tracking store")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("a share from 0 to 1 is meant")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
