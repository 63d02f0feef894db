"""Write a report: ``python -m weightbench.report [RESULTS …] [--out report.html] [--where COLUMN=VALUE]``.

One HTML file that needs no network: every cell in a table to sort and filter, pictures of size against speed
and accuracy, each cell with its tensors, environment and the command that runs it again, and what failed.
Exit code: 0 written, 2 wrong input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weightbench.errors import WeightbenchError
from weightbench.report.details import MAX_TENSORS
from weightbench.report.write import write_report
from weightbench.results import default_root

__all__ = ["main"]

WRONG_INPUT = 2


def main(arguments: Sequence[str]) -> int:
    """Write the report; return the exit code."""
    options = _parser().parse_args(arguments)
    stores = options.stores or [default_root()]
    try:
        cells = write_report(stores, options.out, options.where, options.max_tensors)
    except (WeightbenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: {cells:,} cell{'s' * (cells != 1)}, {size:.1f} MB; open it in a browser")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m weightbench.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "stores", nargs="*", type=Path, metavar="RESULTS", help="results folders (default: results)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE",
        help="only rows like that, such as system=elf or cell.measure.name=timing; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--max-tensors", type=int, default=MAX_TENSORS, metavar="N",
        help=f"tensor records in the file; cells beyond are without theirs (default: {MAX_TENSORS:,})",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
